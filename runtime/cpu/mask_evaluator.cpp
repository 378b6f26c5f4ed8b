// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/mask_evaluator.h"

#include <llvm/IR/LLVMContext.h>

#include <algorithm>
#include <vector>

#include "compiler/cpu/codegen.h"
#include "compiler/cpu/emit.h"
#include "compiler/cpu/kernel_abi.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "runtime/cache/kernel_cache.h"
#include "runtime/cpu/bindings_abi.h"
#include "runtime/cpu/loaded_object.h"

namespace attnc::cpu {
struct MaskEvaluator::State {
  ir::Program program;  ///< the mask alone, numbered as the program given
  SlotCounts slots;
  std::shared_ptr<const LoadedObject> object;
  MaskFunction* function = nullptr;
};

struct MaskEvaluator::Bound::State {
  const MaskEvaluator::State& mask;
  BindingsAbi bindings;
  std::vector<std::int64_t> slots;  // 8 bytes each
};

MaskEvaluator::MaskEvaluator(const ir::Program& program, const std::string& cache_dir) {
  auto state = std::make_unique<State>();
  state->program = program;
  state->program.score = ir::no_value;
  state->slots = slot_counts(state->program);
  const CpuTarget target = CpuTarget::host();
  KernelCacheOptions options;
  options.directory = cache_dir;
  KernelCache cache(std::move(options));
  const std::string signature =
      attnc::format("attnc cpu mask, emitter {}\n{}\n{} {} {} {}-bit\n{}", ATTNC_EMITTER_DIGEST, llvm_version(),
                    target.triple, target.cpu, target.features, target.vector_bits, ir::print(state->program, true));
  const BuildFunction build = [&] {
    llvm::LLVMContext context;
    return BuiltKernel{compile_object(*emit_mask(context, state->program, target), target),
                       ir::print(state->program, true)};
  };
  const CachedKernelPtr cached = cache.get_or_build(signature, build);
  try {
    state->object = LoadedObject::load(cached->binary);
    state->function = state->object->function<MaskFunction>(mask_symbol);
  } catch (const Error&) {
    const CachedKernelPtr fresh = cache.replace_rejected(signature, cached, build);
    if (fresh == nullptr) throw;
    state->object = LoadedObject::load(fresh->binary);
    state->function = state->object->function<MaskFunction>(mask_symbol);
  }
  state_ = std::move(state);
}

MaskEvaluator::~MaskEvaluator() = default;

MaskEvaluator::Bound MaskEvaluator::bind(const ir::Bindings& bindings) const {
  const auto slots =
      static_cast<std::size_t>(state_->slots.uniform) + static_cast<std::size_t>(state_->slots.row) * max_mask_rows;
  return Bound(std::unique_ptr<Bound::State>(
      new Bound::State{*state_, BindingsAbi(state_->program, BindingOrder(state_->program, state_->program), bindings),
                       std::vector<std::int64_t>(slots + 1)}));
}

std::unique_ptr<BlockJudge> MaskEvaluator::judge(const ir::Bindings& bindings) const {
  return std::make_unique<Bound>(bind(bindings));
}

MaskEvaluator::Bound::Bound(std::unique_ptr<State> state) : state_(std::move(state)) {}
MaskEvaluator::Bound::Bound(Bound&&) noexcept = default;
MaskEvaluator::Bound::~Bound() = default;

bounds::Verdict MaskEvaluator::Bound::evaluate(int b, int h, int q0, int q1, int kv0, int kv1, int q_len, int kv_len) {
  MaskTaskAbi task{};
  task.params = state_->bindings.params();
  task.buffers = state_->bindings.buffers();
  task.b = b;
  task.h = h;
  task.q_len = q_len;
  task.kv_len = kv_len;
  task.kv0 = kv0;
  task.keys = kv1 - kv0;
  task.uniform_slots = reinterpret_cast<char*>(state_->slots.data());
  task.row_slots = reinterpret_cast<char*>(state_->slots.data() + state_->mask.slots.uniform);
  bool any = false, all = true;
  for (int first = q0; first < q1 && !(any && !all); first += max_mask_rows) {
    task.q0 = first;
    task.rows = std::min(q1 - first, max_mask_rows);
    const std::int32_t found = state_->mask.function(&task);
    any = any || (found & mask_any) != 0;
    all = all && (found & mask_all) != 0;
  }
  return all ? bounds::Verdict::full : any ? bounds::Verdict::partial : bounds::Verdict::empty;
}

bounds::Verdict MaskEvaluator::Bound::verdict(const bounds::Box& block, int q_len, int kv_len) {
  return evaluate(block.b_first, block.h_first, block.q_first, block.q_last + 1, block.kv_first, block.kv_last + 1,
                  q_len, kv_len);
}

}  // namespace attnc::cpu
