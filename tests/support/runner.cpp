// SPDX-License-Identifier: Apache-2.0
#include "tests/support/runner.h"

#include "compiler/ir/lower.h"

#include "dsl/format.h"

namespace attnc::testing {

void CpuRunner::forward(const Attention& attention, Problem& problem, const ModCase& mods,
                        const BlockMask* block_mask) {
  const ir::Program program = ir::lower(mods.score, mods.mask);
  const auto buffers = problem.buffer_values(program);
  const auto params = problem.param_values(program);
  ForwardOptions options;
  options.lse = problem.lse.view;
  options.scale = problem.scale;
  options.params = params;
  options.buffers = buffers;
  options.block_mask = block_mask;
  attention.forward(problem.q.view, problem.k.view, problem.v.view, problem.out.view, options);
}

Attention make_attention(const ModCase& mods, const ProblemSpec& spec, Device device) {
  AttentionOptions options;
  options.score_mod = mods.score;
  options.mask_mod = mods.mask;
  options.dtype = spec.dtype;
  options.head_dim = spec.head_dim;
  options.head_dim_v = spec.head_dim_v;
  options.device = device;
  return Attention(options);
}

std::string run_and_judge(Runner& runner, const Attention& attention, const ModCase& mods, const ProblemSpec& spec,
                          int row_limit, int block_q, int block_kv) {
  Problem problem(spec);
  if (mods.bind) mods.bind(problem);
  BlockMask block_mask;
  if (block_q > 0) {
    const ir::Program mask_program = ir::lower({}, mods.mask);
    const auto buffers = problem.buffer_values(mask_program);
    const auto params = problem.param_values(mask_program);
    BlockMaskOptions options;
    options.block_size = {block_q, block_kv};
    options.device = runner.device();
    options.buffers = buffers;
    options.params = params;
    block_mask = BlockMask::create(mods.mask, spec.batch, spec.q_heads, spec.q_len, spec.kv_len, options);
  }
  runner.forward(attention, problem, mods, block_q > 0 ? &block_mask : nullptr);
  const std::string verdict = problem.check(mods.score, mods.mask, row_limit);
  return verdict.empty() ? "" : attnc::format("{} [{}]: {}", mods.name, spec.describe(), verdict);
}

}  // namespace attnc::testing
