// SPDX-License-Identifier: Apache-2.0
// Plans of the portable kernel (templates/sm80): the best tile known for each head dimension, made smaller until it
// fits the device's shared memory.

#include <algorithm>
#include <bit>

#include "compiler/plan/tile_plan.h"
#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::plan {
namespace {

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

int element_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

/// A row of a tile in shared memory: swizzled whole 128-byte lines, or padded to an odd number of 16-byte chunks.
int row_bytes(int columns, int element) {
  const int chunks = columns * element / 16;
  return (chunks % 8 == 0 ? chunks : chunks | 1) * 16;
}

struct Tile {
  int warps, rows_per_warp, tile_kv, step_kv, stages, min_blocks;
};

/// How many registers of its own the mods' work on a score needs: with more of it, a warp holds fewer scores at a time.
enum class ModLoad { light, medium, heavy, extreme };

/// Heavy: the longest steps would spill. Extreme: so would half of them (a load for each score, with its address).
/// Medium: the longest steps spill on some architectures.
ModLoad load_of(const cuda::ModsTraits& mods) {
  if (mods.score_cost >= 12) return ModLoad::extreme;
  if (mods.keep_cost >= 16) return ModLoad::heavy;
  return mods.score_cost >= 3 ? ModLoad::medium : ModLoad::light;
}

/// The fastest tiles found by measurement on H200 and by resource reports elsewhere.
Tile preferred_f32_tile(int columns) {
  if (columns <= 64) return {4, 16, 32, 16, 2, 2};
  if (columns <= 128) return {4, 16, 32, 16, 2, 1};
  if (columns <= 192) return {4, 16, 16, 16, 2, 1};
  return {4, 16, 16, 16, 1, 1};
}

/// What a tile of a 16-bit type is chosen by. Columns are the head dimensions, padded to 16.
struct Needs {
  int qk_columns, v_columns;
  bool is_f16, block_table;
  cuda::ModsTraits mods;
  ModLoad load;

  bool heavy() const { return load == ModLoad::heavy || load == ModLoad::extreme; }
};

/// With more than 128 columns, where two blocks of 113 KB fit a multiprocessor. Warps of 32 rows read K and V from
/// shared memory half as often as warps of 16, and shared memory is the limit there; so one stage, which leaves room
/// for a second block, is faster than two. Up to 192 columns of the output fit beside such rows, and little else.
Tile preferred_wide_tile(const Needs& needs) {
  if (needs.qk_columns <= 192 && needs.load != ModLoad::extreme) {
    if (needs.v_columns <= 128) return {4, 32, 64, needs.heavy() || needs.mods.has_score_mod ? 32 : 64, 1, 2};
    const bool dear_mask = needs.mods.keep_cost >= 6;
    if (needs.v_columns <= 144 && !dear_mask) return {4, 32, 64, 32, 1, 2};
    if (needs.v_columns <= (needs.block_table ? 160 : 192) && !dear_mask) return {4, 32, 64, 16, 1, 2};
  }
  return {8, 16, 64, needs.heavy() ? 32 : 64, 2, 1};
}

/// With 227 KB of shared memory: SM90, and SM100, for which the assembler finds fewer registers.
Tile preferred_large_tile(const Needs& needs, bool is_sm100) {
  const int columns = std::max(needs.qk_columns, needs.v_columns);
  const bool heavy = needs.heavy();
  const bool band = needs.mods.mask_kind == cuda::MaskKind::band;
  if (columns <= 64) {
    if (needs.load == ModLoad::extreme) return {4, 32, 128, 32, 2, 2};
    const bool tight =
        (is_sm100 && (band || needs.load == ModLoad::medium)) || (needs.is_f16 && needs.mods.has_score_mod);
    return {4, 32, 128, heavy || tight ? 64 : 128, 2, 2};
  }
  if (columns <= 96) {
    const bool tight = is_sm100 && needs.mods.has_score_mod;
    if (!heavy && !tight) return {4, 32, 96, 96, 2, 2};
    return {4, 32, 64, heavy ? 32 : 64, 2, 2};
  }
  if (columns <= 128) {
    if (is_sm100 && needs.load == ModLoad::extreme) return {8, 16, 64, 32, 2, 1};
    const bool tight = is_sm100 && ((band && (needs.mods.has_score_mod || needs.mods.uniform_words > 0)) ||
                                    (needs.block_table && needs.mods.keep_cost >= 6));
    return {4, 32, 64, heavy || tight ? 32 : 64, 2, 2};
  }
  return preferred_wide_tile(needs);
}

/// With 163 KB (SM80) or 99 KB.
Tile preferred_small_tile(const Needs& needs, bool is_sm80) {
  const int columns = std::max(needs.qk_columns, needs.v_columns);
  const bool heavy = needs.load != ModLoad::light;
  if (columns <= 64) {
    if (needs.load == ModLoad::extreme) return {4, 32, is_sm80 ? 128 : 64, 32, 2, 2};
    return is_sm80 ? Tile{4, 32, 128, heavy ? 64 : 128, 2, 2} : Tile{4, 32, 64, 64, 2, 2};
  }
  if (columns <= 96) return {4, 32, 64, heavy ? 32 : 64, 2, is_sm80 ? 2 : 1};
  if (columns <= 128) return {4, 32, 32, 32, is_sm80 ? 2 : 1, 2};
  if (columns <= 192) return {8, 16, is_sm80 ? 64 : 32, is_sm80 && !heavy ? 64 : 32, 2, 1};
  if (is_sm80) return {8, 16, 32, 32, 2, 1};
  return {4, 16, 32, 32, 2, 1};
}

/// Of the kernel that packs no groups.
Tile preferred_tile(const Problem& problem, const Target& target, int qk_columns, int v_columns) {
  if (problem.dtype == DType::f32) return preferred_f32_tile(std::max(qk_columns, v_columns));
  const Needs needs{qk_columns,          v_columns,    problem.dtype == DType::f16,
                    problem.block_table, problem.mods, load_of(problem.mods)};
  if (target.smem_limit_bytes >= 227 * 1024) return preferred_large_tile(needs, target.arch >= 100);
  return preferred_small_tile(needs, target.smem_limit_bytes >= 163 * 1024);
}

/// With packed groups: four warps of 16 rows, a quarter of a tile's keys each where there are no more rows. Two or
/// three blocks a multiprocessor keep 64 KB of keys and values on their way; registers allow for as many.
Tile group_tile(int columns) {
  if (columns <= 64) return {4, 16, 128, 32, 2, 3};
  if (columns <= 128) return {4, 16, 64, 16, 2, 3};
  return {4, 16, 32, 16, 2, 2};
}

/// The largest power of two below, which steps of 16 and 32 keys divide.
int smaller_tile_kv(int tile_kv) { return static_cast<int>(std::bit_floor(static_cast<unsigned>(tile_kv - 1))); }

/// The next smaller tile, giving up first what costs least; false when there is none.
bool shrink(TilePlan& plan) {
  if (plan.tile_kv > 32) {
    plan.tile_kv = smaller_tile_kv(plan.tile_kv);
  } else if (plan.stages > 1) {
    plan.stages = 1;
  } else if (plan.warps > 4) {
    plan.warps /= 2;
  } else if (plan.tile_kv > 16) {
    plan.tile_kv = smaller_tile_kv(plan.tile_kv);
  } else if (plan.rows_per_warp > 16) {
    plan.rows_per_warp = 16;
  } else if (plan.warps > 1) {
    plan.warps /= 2;
  } else {
    return false;
  }
  plan.step_kv = std::min(plan.step_kv, plan.tile_kv);
  return true;
}

}  // namespace

int sm80_smem_bytes(const TilePlan& plan, const cuda::ModsTraits& mods) {
  constexpr int cursor_bytes = 640;
  const int element = element_bytes(plan.dtype);
  const int qk_row = row_bytes(round_up(plan.head_dim_qk, 16), element);
  const int v_row = row_bytes(round_up(plan.head_dim_v, 16), element);
  const int tile_q = plan.warps * plan.rows_per_warp;
  const bool stages_output = plan.dtype != DType::f32 && plan.vector_bytes == 16;
  const int kv_bytes = plan.stages * plan.tile_kv * (qk_row + v_row);
  const int level_words = plan.tile_kv * mods.column_words + (tile_q + plan.tile_kv) * mods.diagonal_words;
  const int kv_and_levels = kv_bytes + 2 * level_words * 4;
  if (plan.packs_groups) {
    // Q passes through a stage of K on its way to registers where those hold it; results are merged over all of this.
    constexpr int padding_columns = 8, origin_and_sum = 2;
    const bool q_in_stage = round_up(plan.head_dim_qk, 16) <= 128 && plan.stages == 2 && plan.tile_kv >= tile_q;
    const int merge_bytes = tile_q * (round_up(plan.head_dim_v, 16) + padding_columns + origin_and_sum) * 4;
    return std::max((q_in_stage ? 0 : tile_q * qk_row) + kv_and_levels, merge_bytes) + cursor_bytes;
  }
  const int q_bytes = std::max(tile_q * qk_row, stages_output ? tile_q * v_row : 0);
  return q_bytes + kv_and_levels + cursor_bytes;
}

TilePlan make_sm80_plan(const Problem& problem, const Target& target) {
  const int qk_columns = round_up(problem.head_dim_qk, 16), v_columns = round_up(problem.head_dim_v, 16);
  const int columns = std::max(qk_columns, v_columns);
  const Tile tile = problem.packs_groups ? group_tile(columns) : preferred_tile(problem, target, qk_columns, v_columns);
  TilePlan plan;
  plan.family = KernelFamily::sm80;
  plan.dtype = problem.dtype;
  plan.head_dim_qk = problem.head_dim_qk;
  plan.head_dim_v = problem.head_dim_v;
  plan.block_table = problem.block_table;
  plan.packs_groups = problem.packs_groups;
  plan.vector_bytes = std::max(problem.vector_bytes, element_bytes(problem.dtype));
  plan.warps = tile.warps;
  plan.rows_per_warp = tile.rows_per_warp;
  plan.tile_kv = tile.tile_kv;
  plan.step_kv = tile.step_kv;
  plan.stages = tile.stages;
  plan.min_blocks = tile.min_blocks;
  // A block is visited as whole tiles.
  while (problem.block_table && problem.kv_block % plan.tile_kv != 0) plan.tile_kv = smaller_tile_kv(plan.tile_kv);
  plan.step_kv = std::min(plan.step_kv, plan.tile_kv);
  while (sm80_smem_bytes(plan, problem.mods) > target.smem_limit_bytes) {
    if (!shrink(plan)) {
      throw Error(
          ErrorCode::internal,
          attnc::format("attnc: no tile of {} fits the {} bytes of shared memory of {}. Please report it with the "
                        "expression.",
                        print(plan), target.smem_limit_bytes, target.name()));
    }
  }
  plan.tile_q = plan.warps * plan.rows_per_warp;
  plan.threads = plan.warps * 32;
  plan.smem_bytes = sm80_smem_bytes(plan, problem.mods);
  return plan;
}

}  // namespace attnc::plan
