// SPDX-License-Identifier: Apache-2.0
// Every named mod and mask, in every dtype, with and without a block mask, against the fp64 oracle.
#include <gtest/gtest.h>

#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

class NamedCase : public ::testing::TestWithParam<std::tuple<int, DType>> {};

TEST_P(NamedCase, MatchesTheOracle) {
  CpuRunner runner;
  const auto [index, dtype] = GetParam();
  EXPECT_EQ(judge_named_case(runner, index, dtype, {{64, 64}, {128, 32}, {128, 128}}), "");
}

INSTANTIATE_TEST_SUITE_P(All, NamedCase,
                         ::testing::Combine(::testing::Range(0, static_cast<int>(all_cases().size())),
                                            ::testing::Values(DType::f32, DType::f16, DType::bf16)),
                         [](const auto& info) {
                           return named_case_name(std::get<0>(info.param), std::get<1>(info.param));
                         });

}  // namespace
}  // namespace attnc::testing
