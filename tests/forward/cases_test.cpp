// SPDX-License-Identifier: Apache-2.0
// Every named mod and mask, in every dtype, with and without a block mask, against the fp64 oracle.
#include <gtest/gtest.h>

#include "tests/support/runner.h"

namespace attnc::testing {
namespace {

class NamedCase : public ::testing::TestWithParam<std::tuple<int, DType>> {};

TEST_P(NamedCase, MatchesTheOracle) {
  const auto [index, dtype] = GetParam();
  const ModCase mods = all_cases()[static_cast<std::size_t>(index)];
  CpuRunner runner;
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
  if (!mods.mask.is_everything()) {
    EXPECT_EQ(run_and_judge(runner, attention, mods, spec, 64, 64, 64), "");
    EXPECT_EQ(run_and_judge(runner, attention, mods, spec, 64, 128, 32), "");
    spec.q_len = 300, spec.kv_len = 520;
    EXPECT_EQ(run_and_judge(runner, attention, mods, spec, 48, 128, 128), "");
  }
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<int, DType>>& info) {
  return all_cases()[static_cast<std::size_t>(std::get<0>(info.param))].name + "_" +
         std::string(name(std::get<1>(info.param)));
}

INSTANTIATE_TEST_SUITE_P(All, NamedCase,
                         ::testing::Combine(::testing::Range(0, static_cast<int>(all_cases().size())),
                                            ::testing::Values(DType::f32, DType::f16, DType::bf16)),
                         case_name);

}  // namespace
}  // namespace attnc::testing
