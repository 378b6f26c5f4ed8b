// SPDX-License-Identifier: Apache-2.0
#include "compiler/plan/candidates.h"

#include <algorithm>

namespace attnc::plan {
namespace {

constexpr int rows_per_warpgroup = 64;

bool divides_blocks(const Problem& problem, int tile_kv) {
  return !problem.block_table || problem.kv_block % tile_kv == 0;
}

/// Tiles that the table of templates/sm90/README.md was chosen from.
struct HopperTile {
  int consumer_warpgroups, tile_kv, stages, q_stages;
};

std::vector<HopperTile> hopper_tiles(int columns) {
  if (columns <= 64)
    return {{3, 128, 4, 2}, {3, 128, 2, 2}, {3, 112, 2, 2}, {3, 96, 2, 2},
            {2, 176, 2, 2}, {2, 128, 3, 2}, {2, 128, 2, 2}, {2, 64, 4, 2}};
  if (columns <= 128)
    return {{3, 64, 3, 1}, {2, 128, 2, 2}, {2, 128, 2, 1}, {2, 112, 2, 2}, {2, 96, 2, 2}, {2, 64, 3, 2}};
  if (columns <= 192) return {{2, 96, 2, 1}, {2, 80, 2, 1}, {2, 64, 2, 1}, {2, 64, 2, 2}};
  return {{2, 80, 2, 1}, {2, 64, 2, 1}, {2, 48, 2, 1}, {2, 32, 3, 1}};
}

void add_sm90(const Problem& problem, const Target& target, std::vector<TilePlan>& plans) {
  const TilePlan chosen = plans.front();
  for (const HopperTile& tile : hopper_tiles(std::max(problem.head_dim_qk, problem.head_dim_v))) {
    TilePlan plan = chosen;
    plan.consumer_warpgroups = tile.consumer_warpgroups;
    plan.tile_kv = tile.tile_kv;
    plan.stages = tile.stages;
    plan.q_stages = tile.q_stages;
    split_registers(plan, problem.mods);
    if (plan.consumer_warpgroups == 3 && plan.producer_registers > 32) continue;  // its consumers would spill
    plan.threads = (plan.consumer_warpgroups + 1) * 128;
    plan.tile_q = plan.consumer_warpgroups * rows_per_warpgroup;
    // A table's blocks of q, multiples of 128, are to be whole tiles.
    if (problem.block_table && (plan.tile_q != 128 || !divides_blocks(problem, plan.tile_kv))) continue;
    plan.smem_bytes = sm90_smem_bytes(plan, problem.mods);
    if (plan.smem_bytes <= target.smem_limit_bytes) plans.push_back(plan);
  }
}

struct PortableTile {
  int warps, rows_per_warp, tile_kv, step_kv, stages, min_blocks;
};

std::vector<PortableTile> group_tiles(int columns) {
  if (columns <= 64) return {{4, 16, 128, 32, 2, 3}, {4, 16, 64, 16, 2, 4}};
  if (columns <= 128) return {{4, 16, 64, 16, 2, 3}, {4, 16, 64, 16, 2, 2}, {4, 16, 128, 32, 2, 1}};
  return {{4, 16, 32, 16, 2, 2}, {4, 16, 64, 16, 2, 1}};
}

std::vector<PortableTile> portable_tiles(DType dtype, int columns, int v_columns) {
  if (dtype == DType::f32) {
    if (columns <= 64) return {{4, 16, 32, 16, 2, 2}, {4, 16, 64, 16, 2, 2}, {8, 16, 32, 16, 2, 1}};
    return {{4, 16, 32, 16, 2, 1}, {4, 16, 16, 16, 2, 1}, {8, 16, 16, 16, 2, 1}};
  }
  if (columns <= 64)
    return {{4, 32, 128, 128, 2, 2}, {4, 32, 128, 64, 2, 2}, {4, 32, 64, 64, 2, 2},
            {4, 16, 64, 64, 2, 2},   {4, 16, 128, 64, 2, 3}, {8, 16, 64, 64, 2, 1}};
  if (columns <= 96)
    return {{4, 32, 96, 96, 2, 2}, {4, 32, 64, 64, 2, 2}, {4, 32, 64, 32, 2, 2},
            {4, 32, 32, 32, 2, 2}, {4, 16, 64, 64, 2, 2}, {8, 16, 64, 64, 2, 1}};
  if (columns <= 128)
    return {{4, 32, 64, 64, 2, 2}, {4, 32, 64, 32, 2, 2}, {4, 32, 32, 32, 2, 2},
            {4, 16, 64, 64, 2, 2}, {4, 16, 64, 32, 2, 3}, {8, 16, 64, 64, 2, 1}};
  if (columns <= 192 && v_columns <= 128)
    return {{4, 32, 64, 64, 1, 2}, {4, 32, 64, 32, 1, 2}, {4, 32, 32, 32, 2, 2},
            {8, 16, 64, 64, 2, 1}, {8, 16, 64, 32, 2, 1}, {8, 16, 32, 32, 2, 1}};
  if (columns <= 192)
    return {{4, 32, 64, 16, 1, 2}, {8, 16, 64, 64, 2, 1}, {8, 16, 64, 32, 2, 1},
            {8, 16, 32, 32, 2, 1}, {4, 16, 64, 64, 1, 2}, {4, 16, 32, 32, 2, 2}};
  return {{8, 16, 64, 64, 2, 1}, {8, 16, 64, 32, 2, 1}, {8, 16, 32, 32, 2, 1},
          {4, 16, 64, 32, 2, 1}, {4, 16, 32, 32, 2, 2}, {4, 16, 32, 16, 2, 1}};
}

void add_sm80(const Problem& problem, const Target& target, std::vector<TilePlan>& plans) {
  const TilePlan chosen = plans.front();
  const int columns = std::max(problem.head_dim_qk, problem.head_dim_v);
  for (const PortableTile& tile :
       problem.packs_groups ? group_tiles(columns) : portable_tiles(problem.dtype, columns, problem.head_dim_v)) {
    TilePlan plan = chosen;
    plan.warps = tile.warps;
    plan.rows_per_warp = tile.rows_per_warp;
    plan.tile_kv = tile.tile_kv;
    plan.step_kv = tile.step_kv;
    plan.stages = tile.stages;
    plan.min_blocks = tile.min_blocks;
    plan.tile_q = plan.warps * plan.rows_per_warp;
    plan.threads = plan.warps * 32;
    if (!divides_blocks(problem, plan.tile_kv)) continue;
    plan.smem_bytes = sm80_smem_bytes(plan, problem.mods);
    if (plan.smem_bytes <= target.smem_limit_bytes) plans.push_back(plan);
  }
}

}  // namespace

std::vector<TilePlan> candidates(const Problem& problem, const Target& target) {
  std::vector<TilePlan> plans{make_plan(problem, target)};
  if (plans.front().family == KernelFamily::sm90)
    add_sm90(problem, target, plans);
  else
    add_sm80(problem, target, plans);
  std::vector<TilePlan> different;
  for (const TilePlan& plan : plans)
    if (std::find(different.begin(), different.end(), plan) == different.end()) different.push_back(plan);
  return different;
}

}  // namespace attnc::plan
