// SPDX-License-Identifier: Apache-2.0
// Plans of the Hopper kernel (templates/sm90).

#include <algorithm>

#include "compiler/plan/tile_plan.h"
#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::plan {
namespace {

constexpr int rows_per_warpgroup = 64;

int ceil_div(int a, int b) { return (a + b - 1) / b; }
/// Chunks of 64 columns, each row of a chunk one 128-byte line of the swizzle.
int tile_bytes(int rows, int columns) { return ceil_div(columns, 64) * rows * 128; }

struct Tile {
  int consumer_warpgroups, tile_kv, stages, q_stages;
  bool speculative;
};

/// The table of templates/sm90/README.md, measured on H200. A table's blocks of keys are to be whole tiles of 128 or
/// 64; three warpgroups walk two block rows of a table at once, which pays where neighbouring rows keep nearly the same
/// keys.
Tile preferred_tile(const Problem& problem, int columns, bool bias_product) {
  const cuda::ModsTraits& mods = problem.mods;
  const bool heavy = mods.score_cost + (problem.bit_mask ? 0 : mods.keep_cost) >= 24;
  const bool table = problem.block_table;
  // Consumers have fewer registers then (split_registers).
  const bool busy_producer = !table && mods.mask_kind != cuda::MaskKind::none && mods.reads_extrema;
  const bool like_neighbours = mods.mask_kind != cuda::MaskKind::none && mods.has_classifier;
  // Every score of a thread gets its own copy of the mods, on each path through a tile. Where their arithmetic takes
  // most of the time anyway, small tiles on one path cost little and save many seconds of compilation.
  const int tile_kv_of_very_heavy = mods.score_cost >= 128 || (problem.small_tiles && columns > 128) ? 32 : 64;
  if (mods.score_cost >= 64 || problem.small_tiles)
    return {2, tile_kv_of_very_heavy, columns <= 128 ? 3 : 2, columns <= 64 ? 2 : 1, false};
  if (columns <= 64) {
    if (mods.score_cost >= 32 && !table) return {2, 96, 3, 2, true};
    if (heavy || busy_producer || (table && !like_neighbours)) return {2, 128, 3, 2, true};
    // Score and mask together want registers that 128 keys do not leave (up to 12 spilled words).
    const bool both = mods.has_score_mod && mods.mask_kind != cuda::MaskKind::none;
    if (mods.has_score_mod && !bias_product) return {3, both && !table ? 112 : 128, 3, 2, true};
    return {3, 128, 4, 2, true};
  }
  if (columns <= 128) {
    if (heavy) return {2, table ? 64 : 96, 2, 2, true};
    // Mods::keep that reads several values a key leaves no registers for 128 keys.
    const bool wide_keep = mods.keep_cost >= 6 && mods.column_words > 0 && !problem.bit_mask;
    if (wide_keep && !table) return {2, 112, 2, 2, true};
    return {2, 128, 2, 2, true};
  }
  if (columns <= 192) return {2, table ? 64 : 96, 2, 1, true};
  return {2, table || busy_producer ? 64 : 80, 2, 1, false};
}

}  // namespace

bool can_run_sm90(const Problem& problem, const Target& target) {
  const auto fits = [](int dim) { return dim % 8 == 0 && dim >= 8 && dim <= 256; };
  return target.arch == 90 && target.arch_specific && problem.dtype != DType::f32 && problem.tensor_maps &&
         problem.vector_bytes >= 16 && fits(problem.head_dim_qk) && fits(problem.head_dim_v) &&
         (!problem.block_table || problem.kv_block % 64 == 0);
}

int sm90_smem_bytes(const TilePlan& plan, const cuda::ModsTraits& mods) {
  constexpr int work_notice_bytes = 16, stage_notice_bytes = 8, barrier_bytes = 8, alignment_bytes = 1024;
  constexpr int mask_row_bytes = 16;
  const int tile_q = plan.consumer_warpgroups * rows_per_warpgroup;
  const int kv_bytes = tile_bytes(plan.tile_kv, plan.head_dim_qk) + tile_bytes(plan.tile_kv, plan.head_dim_v);
  // With masks as bits nobody asks for the values that only Mods::keep reads.
  const bool side_values = mods.has_score_mod || !plan.bit_mask;
  const int side_bytes =
      side_values ? 4 * (mods.column_words * plan.tile_kv + mods.diagonal_words * (tile_q + plan.tile_kv)) : 0;
  const int mask_bytes = plan.bit_mask ? tile_q * mask_row_bytes : 0;
  const int bias_bytes = plan.bias_product ? tile_bytes(plan.tile_kv + 8 * plan.q_stages, 16) : 0;
  return plan.q_stages * (tile_bytes(tile_q, plan.head_dim_qk) + work_notice_bytes) +
         plan.stages * (kv_bytes + mask_bytes + side_bytes + stage_notice_bytes) + bias_bytes + 16 +
         barrier_bytes * (2 * plan.q_stages + 6 * plan.stages) + alignment_bytes;
}

void split_registers(TilePlan& plan, const cuda::ModsTraits& mods) {
  // The classifier wants more than a producer that only copies, most of all its loads and 64-bit offsets, and it must
  // not spill. Wide heads and three consumer warpgroups leave little to give.
  const bool wide = std::max(plan.head_dim_qk, plan.head_dim_v) > 192;
  const bool loads = plan.classify_tiles && mods.reads_extrema;
  if (plan.consumer_warpgroups == 3) {
    plan.producer_registers = loads ? 56 : 32;
    plan.consumer_registers = (512 - plan.producer_registers) / 3;
    return;
  }
  plan.producer_registers = 24;
  if (plan.classify_tiles && !wide) plan.producer_registers = 40;
  if (loads) plan.producer_registers = wide ? 40 : 56;
  plan.consumer_registers = (504 - plan.producer_registers) / 2;
}

TilePlan make_sm90_plan(const Problem& problem, const Target& target) {
  const int columns = std::max(problem.head_dim_qk, problem.head_dim_v);
  TilePlan plan;
  plan.family = KernelFamily::sm90;
  plan.dtype = problem.dtype;
  plan.head_dim_qk = problem.head_dim_qk;
  plan.head_dim_v = problem.head_dim_v;
  plan.block_table = problem.block_table;
  plan.classify_tiles =
      !problem.block_table && problem.mods.mask_kind != cuda::MaskKind::none && problem.mods.has_classifier;
  plan.longest_first = plan.block_table || plan.classify_tiles;
  plan.bit_mask = problem.bit_mask && problem.block_table && problem.kv_block == 128 &&
                  problem.mods.mask_kind != cuda::MaskKind::none;
  // A step more of 16 columns costs less than an addition for each score only where head_dim is small.
  plan.bias_product = problem.mods.has_linear_bias && problem.dtype == DType::bf16 && columns <= 64;
  const Tile tile = preferred_tile(problem, columns, plan.bias_product);
  plan.consumer_warpgroups = tile.consumer_warpgroups;
  plan.tile_kv = tile.tile_kv;
  plan.stages = tile.stages;
  plan.q_stages = tile.q_stages;
  plan.speculative = tile.speculative;
  while (problem.block_table && problem.kv_block % plan.tile_kv != 0) plan.tile_kv /= 2;
  plan.ping_pong = true;
  split_registers(plan, problem.mods);
  plan.threads = (plan.consumer_warpgroups + 1) * 128;
  plan.tile_q = plan.consumer_warpgroups * rows_per_warpgroup;
  while (sm90_smem_bytes(plan, problem.mods) > target.smem_limit_bytes) {
    if (plan.stages > 2) {
      --plan.stages;
    } else if (plan.q_stages > 1) {
      plan.q_stages = 1;
    } else if (plan.tile_kv > 64 && !problem.block_table) {
      plan.tile_kv -= 16;
    } else if (plan.tile_kv > 16) {
      plan.tile_kv /= 2;
    } else {
      return make_sm80_plan(problem, target);  // hundreds of words a column: the portable kernel has smaller tiles
    }
  }
  plan.smem_bytes = sm90_smem_bytes(plan, problem.mods);
  return plan;
}

}  // namespace attnc::plan
