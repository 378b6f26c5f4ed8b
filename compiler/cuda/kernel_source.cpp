// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/kernel_source.h"

#include "compiler/bounds/bounds.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"

#include "dsl/format.h"

namespace attnc::cuda {
namespace {

/// Raise when a signature's text changes its meaning.
constexpr int signature_schema = 1;

/// Without values that every call proves constant: `everything()` costs nothing.
ir::Program simplified(const ir::Program& program) { return passes::canonicalize(bounds::drop_dead_mods(program)); }

bool uses_approximations(const KernelRequest& request) {
  // The approximations' errors are far below the rounding of 16-bit types, and far above that of f32.
  return !request.precise && request.dtype != DType::f32;
}

/// Whether the mask depends on the query head.
bool mask_reads_head(const ir::Program& program) {
  if (program.mask == ir::no_value) return false;
  std::vector<bool> reads(program.insts.size(), false);
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const ir::Inst& inst = program.insts[id];
    reads[id] = inst.op == Op::input && inst.input == Input::h;
    for (std::size_t i = 0; i < inst.operand_count; ++i)
      reads[id] = reads[id] || reads[static_cast<std::size_t>(inst.operands[i])];
  }
  return reads[static_cast<std::size_t>(program.mask)];
}

struct Planned {
  PrintedMods mods;
  plan::TilePlan plan;
};

Planned print_and_plan(const ir::Program& natural, const ir::Program& program, const KernelRequest& request,
                       PrintOptions options) {
  Planned planned;
  // Without a maximum no exponential is exactly 1, which shows where P or its sum is rounded coarsely (bf16 in the
  // portable kernel) or judged finely (f32): a row with one key then misses its lse by P's rounding.
  options.use_score_bound = request.dtype != DType::f32;
  options.natural_units = request.dtype == DType::f32;
  // Without a table the kernel decides tiles by itself, documents too.
  options.use_extrema = !request.block_table;
  options.packs_groups = request.packs_groups;
  planned.mods = print_mods(natural, program, options);
  planned.plan =
      request.plan ? *request.plan : plan::make_plan(problem_of(request, planned.mods.traits), request.target);
  if (planned.plan.family == plan::KernelFamily::sm80 && request.dtype == DType::bf16 &&
      planned.mods.traits.score_bound_log2 > 0) {
    options.use_score_bound = false;
    planned.mods = print_mods(natural, program, options);
  }
  return planned;
}

}  // namespace

plan::Problem problem_of(const KernelRequest& request, const ModsTraits& mods) {
  plan::Problem problem;
  problem.dtype = request.dtype;
  problem.head_dim_qk = request.head_dim_qk;
  problem.head_dim_v = request.head_dim_v;
  problem.block_table = request.block_table;
  problem.bit_mask = request.bit_mask;
  problem.kv_block = request.kv_block;
  problem.vector_bytes = request.vector_bytes;
  problem.tensor_maps = request.tensor_maps;
  problem.small_tiles = request.small_tiles;
  problem.packs_groups = request.packs_groups;
  problem.mods = mods;
  return problem;
}

std::string_view why_no_groups(const ir::Program& program, const KernelRequest& request) {
  if (request.dtype == DType::f32) return "f32 needs the registers for its products";
  if (request.block_table) return "a block mask lists blocks by head";
  // Blocks of keys are judged for all rows of a tile at once.
  if (mask_reads_head(simplified(program))) return "the mask reads h";
  return "";
}

KernelSource make_kernel_source(const ir::Program& program, const KernelRequest& request, bool line_directives) {
  PrintOptions options;
  options.precise = !uses_approximations(request);
  options.line_directives = line_directives;
  const Planned planned = print_and_plan(program, simplified(program), request, options);
  return {planned.plan, planned.mods.traits, planned.mods.layout, stitch(planned.mods, planned.plan)};
}

std::string make_signature(const ir::Program& program, const KernelRequest& request, std::string_view toolchain,
                           const std::vector<std::string>& flags) {
  PrintOptions options;
  options.precise = !uses_approximations(request);
  options.canonical_names = true;
  const Planned planned = print_and_plan(program, simplified(program), request, options);
  // The printed mods stand in the signature whole: a change of any pass or printer then changes the key, and no version
  // number has to be remembered.
  return attnc::format(
      "attnc cuda kernel, schema {}\ntarget {}\nnvrtc {}\nflags {}\ntemplates {}\nplan {}\nprogram\n{}mods\n{}",
      signature_schema, request.target.name(), toolchain, attnc::join(flags, " "), templates_digest(planned.plan),
      plan::print(planned.plan), ir::print(program, true), planned.mods.text);
}

}  // namespace attnc::cuda
