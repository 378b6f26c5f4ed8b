// SPDX-License-Identifier: Apache-2.0
// NaN, infinities, rows without keys: the corners of semantics.md on the GPU.
#include <gtest/gtest.h>

#include "tests/gpu/gpu_runner.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

class GpuSpecialValues : public ::testing::TestWithParam<std::tuple<int, DType, int>> {};

TEST_P(GpuSpecialValues, MatchTheOracle) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  const auto [index, dtype, dim] = GetParam();
  EXPECT_EQ(judge_special_case(runner, special_cases()[static_cast<std::size_t>(index)],
                               {.dtype = dtype, .head_dim = dim, .head_dim_v = dim}),
            "");
}

INSTANTIATE_TEST_SUITE_P(All, GpuSpecialValues,
                         ::testing::Combine(::testing::Range(0, static_cast<int>(special_cases().size())),
                                            ::testing::Values(DType::f32, DType::f16, DType::bf16),
                                            ::testing::Values(64, 128)),
                         [](const auto& info) {
                           return special_cases()[static_cast<std::size_t>(std::get<0>(info.param))].name + "_" +
                                  std::string(name(std::get<1>(info.param))) + "_d" +
                                  std::to_string(std::get<2>(info.param));
                         });

}  // namespace
}  // namespace attnc::testing
