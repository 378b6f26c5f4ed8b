// SPDX-License-Identifier: Apache-2.0
// Every named mod and mask, in every dtype, with and without a block mask, on the GPU against the fp64 oracle.
#include <gtest/gtest.h>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {
namespace {

class GpuCase : public ::testing::TestWithParam<std::tuple<int, DType>> {};

TEST_P(GpuCase, MatchesTheOracle) {
  ATTNC_REQUIRE_GPU();
  const auto [index, dtype] = GetParam();
  const ModCase mods = all_cases()[static_cast<std::size_t>(index)];
  GpuRunner runner;
  ProblemSpec spec{.dtype = dtype,
                   .batch = 2,
                   .q_heads = 4,
                   .kv_heads = 2,
                   .q_len = 243,
                   .kv_len = 257,
                   .seed = 11u + static_cast<unsigned>(index)};
  const Attention attention = make_attention(mods, spec, runner.device());
  EXPECT_EQ(run_and_judge(runner, attention, mods, spec), "");
  spec.q_len = 256, spec.kv_len = 129;
  EXPECT_EQ(run_and_judge(runner, attention, mods, spec), "");
  spec.q_len = 1, spec.kv_len = 1500;  // the keys are split among blocks
  EXPECT_EQ(run_and_judge(runner, attention, mods, spec), "");
  if (!mods.mask.is_everything()) {
    spec.q_len = 300, spec.kv_len = 520;
    EXPECT_EQ(run_and_judge(runner, attention, mods, spec, 48, 128, 128), "");
    EXPECT_EQ(run_and_judge(runner, attention, mods, spec, 48, 64, 64), "");
  }
}

/// Blocks that are no multiple of any tile, once per dtype: these are kernels of their own.
TEST(GpuBlocks, OddBlockSizes) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  const ModCase mods{"capped_window", stock::soft_cap(30.0f), stock::sliding_window(100), {}};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const ProblemSpec spec{.dtype = dtype, .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 300, .kv_len = 520};
    const Attention attention = make_attention(mods, spec, runner.device());
    for (const auto& [q, kv] : {std::pair(48, 48), std::pair(32, 96), std::pair(512, 256), std::pair(16, 32)}) {
      EXPECT_EQ(run_and_judge(runner, attention, mods, spec, 48, q, kv), "") << q << "x" << kv;
    }
  }
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<int, DType>>& info) {
  return all_cases()[static_cast<std::size_t>(std::get<0>(info.param))].name + "_" +
         std::string(name(std::get<1>(info.param)));
}

INSTANTIATE_TEST_SUITE_P(All, GpuCase,
                         ::testing::Combine(::testing::Range(0, static_cast<int>(all_cases().size())),
                                            ::testing::Values(DType::f32, DType::f16, DType::bf16)),
                         case_name);

}  // namespace
}  // namespace attnc::testing
