// SPDX-License-Identifier: Apache-2.0
// Plans of the portable kernel where the preferred tile does not do: mods that stage much, and blocks of a table.
#include <gtest/gtest.h>

#include "compiler/plan/tile_plan.h"

namespace attnc::testing {
namespace {

plan::Problem problem_of(DType dtype, int head_dim) {
  plan::Problem problem;
  problem.dtype = dtype;
  problem.head_dim_qk = problem.head_dim_v = head_dim;
  problem.tensor_maps = false;
  return problem;
}

void expect_valid(const plan::TilePlan& plan, const plan::Target& target) {
  EXPECT_EQ(plan.step_kv % 16, 0) << plan::print(plan);
  EXPECT_EQ(plan.tile_kv % plan.step_kv, 0) << plan::print(plan);
  EXPECT_LE(plan.smem_bytes, target.smem_limit_bytes) << plan::print(plan);
}

template <class Body>
void for_all_variants(Body&& body) {
  for (const char* name : {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"})
    for (const DType dtype : {DType::bf16, DType::f16, DType::f32})
      for (const int head_dim : {16, 40, 64, 80, 96, 128, 144, 160, 192, 256})
        body(problem_of(dtype, head_dim), plan::target_from_name(name));
}

TEST(PortablePlan, ShrinksUntilStagedValuesFit) {
  int shrunk = 0;
  for_all_variants([&](plan::Problem problem, const plan::Target& target) {
    const plan::TilePlan preferred = plan::make_plan(problem, target);
    // The last makes tiles of 32 keys of the largest; elsewhere nothing would fit.
    for (const int words : {1, 10, 40, 100, 450}) {
      if (words > 100 && target.smem_limit_bytes < 227 * 1024) continue;
      problem.mods.column_words = words;
      const plan::TilePlan plan = plan::make_plan(problem, target);
      expect_valid(plan, target);
      shrunk += plan.tile_kv < preferred.tile_kv;
    }
  });
  EXPECT_GT(shrunk, 0);
}

TEST(PortablePlan, BlocksOfATableAreWholeTiles) {
  for_all_variants([](plan::Problem problem, const plan::Target& target) {
    problem.block_table = true;
    for (const int kv_block : {16, 32, 64, 128}) {
      problem.kv_block = kv_block;
      const plan::TilePlan plan = plan::make_plan(problem, target);
      expect_valid(plan, target);
      EXPECT_EQ(kv_block % plan.tile_kv, 0) << plan::print(plan);
    }
  });
}

}  // namespace
}  // namespace attnc::testing
