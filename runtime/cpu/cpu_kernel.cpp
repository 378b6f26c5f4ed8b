// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/cpu_kernel.h"

#include <llvm/IR/LLVMContext.h>

#include <chrono>

#include "compiler/cpu/codegen.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"

namespace attnc::cpu {
namespace {

CpuKernel link(const CachedKernelPtr& cached) {
  CpuKernel kernel;
  kernel.object = LoadedObject::load(cached->binary);
  kernel.begin = kernel.object->function<BeginFunction>(begin_symbol);
  kernel.tile = kernel.object->function<TileFunction>(tile_symbol);
  kernel.finish = kernel.object->function<FinishFunction>(finish_symbol);
  return kernel;
}

}  // namespace

CpuRecipe CpuRecipe::make(const VariantSpec& spec, const CpuTarget& target) {
  CpuRecipe recipe;
  recipe.target = target;
  recipe.plan = CpuPlan::choose(target, spec.dtype, spec.head_dim_qk, spec.head_dim_v);
  recipe.kernel_program = passes::kernel_form(spec.program, passes::ScoreUnits::natural);
  recipe.slots = slot_counts(recipe.kernel_program);
  return recipe;
}

std::string CpuRecipe::signature() const {
  return attnc::format("attnc cpu attention, emitter {}\n{}\n{} {} {} {}-bit\n{}\n{}", ATTNC_EMITTER_DIGEST,
                       llvm_version(), target.triple, target.cpu, target.features, target.vector_bits, plan.to_string(),
                       ir::print(kernel_program, true));
}

BuiltKernel CpuRecipe::build() const {
  llvm::LLVMContext context;
  const auto module = emit_attention(context, kernel_program, target, plan);
  BuiltKernel built;
  built.source = ir::print(kernel_program, true);
  built.binary = compile_object(*module, target);
  return built;
}

std::string CpuRecipe::llvm_text() const {
  llvm::LLVMContext context;
  return print_module(*emit_attention(context, kernel_program, target, plan));
}

std::string CpuRecipe::assembly_text() const {
  llvm::LLVMContext context;
  return compile_assembly(*emit_attention(context, kernel_program, target, plan), target);
}

CpuKernel CpuKernel::get(const CpuRecipe& recipe, KernelCache& cache, const LogCallback& log) {
  const std::string signature = recipe.signature();
  const BuildFunction build = [&] {
    const auto start = std::chrono::steady_clock::now();
    BuiltKernel built = recipe.build();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    if (log)
      log("compile", attnc::format("{}, {}-bit vectors, in {:.0f} ms with {}: {}", recipe.target.cpu,
                                   recipe.target.vector_bits, time.count(), llvm_version(), recipe.plan.to_string()));
    return built;
  };
  const CachedKernelPtr cached = cache.get_or_build(signature, build);
  try {
    return link(cached);
  } catch (const Error&) {
    const CachedKernelPtr fresh = cache.replace_rejected(signature, cached, build);
    if (fresh == nullptr) throw;
    return link(fresh);
  }
}

}  // namespace attnc::cpu
