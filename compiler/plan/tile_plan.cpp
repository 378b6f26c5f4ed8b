// SPDX-License-Identifier: Apache-2.0
#include "compiler/plan/tile_plan.h"

#include <algorithm>

#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::plan {
namespace {

std::string_view dtype_name(DType dtype) { return name(dtype); }

void check_problem(const Problem& problem) {
  if (problem.dtype != DType::f32 && problem.dtype != DType::f16 && problem.dtype != DType::bf16) {
    throw Error(ErrorCode::unsupported,
                attnc::format("attnc: dtype = {}: GPU kernels take f32, f16 and bf16", name(problem.dtype)));
  }
  for (const int dim : {problem.head_dim_qk, problem.head_dim_v}) {
    if (dim < 1 || dim > 256) {
      throw Error(ErrorCode::unsupported, attnc::format("attnc: head_dim = {}: GPU kernels take 1 to 256", dim));
    }
  }
}

}  // namespace

std::string print(const TilePlan& plan) {
  if (plan.family == KernelFamily::sm80) {
    return attnc::format(
        "TilePlan(family=sm80, dtype={}, head_dim_qk={}, head_dim_v={}, block_table={}, tile_q={}, tile_kv={}, "
        "step_kv={}, "
        "stages={}, warps={}, rows_per_warp={}, min_blocks={}, vector_bytes={}, "
        "{}threads={}, smem_bytes={})",
        dtype_name(plan.dtype), plan.head_dim_qk, plan.head_dim_v, plan.block_table, plan.tile_q, plan.tile_kv,
        plan.step_kv, plan.stages, plan.warps, plan.rows_per_warp, plan.min_blocks, plan.vector_bytes,
        plan.packs_groups ? "packs_groups=true, " : "", plan.threads, plan.smem_bytes);
  }
  return attnc::format(
      "TilePlan(family=sm90, dtype={}, head_dim_qk={}, head_dim_v={}, block_table={}, tile_q={}, tile_kv={}, "
      "stages={}, "
      "consumer_warpgroups={}, q_stages={}, ping_pong={}, speculative={}, exp2_polynomial_eighths={}, "
      "consumer_registers={}, producer_registers={}, classify_tiles={}, "
      "longest_first={}, bit_mask={}, bias_product={}, threads={}, smem_bytes={})",
      dtype_name(plan.dtype), plan.head_dim_qk, plan.head_dim_v, plan.block_table, plan.tile_q, plan.tile_kv,
      plan.stages, plan.consumer_warpgroups, plan.q_stages, plan.ping_pong, plan.speculative,
      plan.exp2_polynomial_eighths, plan.consumer_registers, plan.producer_registers, plan.classify_tiles,
      plan.longest_first, plan.bit_mask, plan.bias_product, plan.threads, plan.smem_bytes);
}

TilePlan make_plan(const Problem& problem, const Target& target) {
  check_problem(problem);
  if (!problem.packs_groups && can_run_sm90(problem, target)) return make_sm90_plan(problem, target);
  return make_sm80_plan(problem, target);
}

}  // namespace attnc::plan
