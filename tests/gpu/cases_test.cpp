// SPDX-License-Identifier: Apache-2.0
// Every named mod and mask, in every dtype, with and without a block mask, on the GPU against the fp64 oracle.
#include <gtest/gtest.h>

#include "tests/gpu/gpu_runner.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

class GpuCase : public ::testing::TestWithParam<std::tuple<int, DType>> {};

TEST_P(GpuCase, MatchesTheOracle) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  const auto [index, dtype] = GetParam();
  EXPECT_EQ(judge_named_case(runner, index, dtype, {{128, 128}, {64, 64}}), "");
}

/// Blocks that are no multiple of any tile, once per dtype: these are kernels of their own.
TEST(GpuBlocks, OddBlockSizes) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const ProblemSpec spec{.dtype = dtype, .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 300, .kv_len = 520};
    const Attention attention = make_attention(capped_window_case(), spec, runner.device());
    for (const auto& [q, kv] : {std::pair(48, 48), std::pair(32, 96), std::pair(512, 256), std::pair(16, 32)}) {
      EXPECT_EQ(run_and_judge(runner, attention, capped_window_case(), spec, 48, q, kv), "") << q << "x" << kv;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuCase,
                         ::testing::Combine(::testing::Range(0, static_cast<int>(all_cases().size())),
                                            ::testing::Values(DType::f32, DType::f16, DType::bf16)),
                         [](const auto& info) {
                           return named_case_name(std::get<0>(info.param), std::get<1>(info.param));
                         });

}  // namespace
}  // namespace attnc::testing
