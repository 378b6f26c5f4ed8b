// SPDX-License-Identifier: Apache-2.0
// NaN, infinities, rows without keys, unaligned heads: the corners of semantics.md.
#include <gtest/gtest.h>

#include <thread>

#include "dsl/stock.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

class SpecialValues : public ::testing::TestWithParam<std::tuple<int, DType>> {};

TEST_P(SpecialValues, MatchTheOracle) {
  CpuRunner runner;
  const auto [index, dtype] = GetParam();
  EXPECT_EQ(judge_special_case(runner, special_cases()[static_cast<std::size_t>(index)], {.dtype = dtype}), "");
}

INSTANTIATE_TEST_SUITE_P(All, SpecialValues,
                         ::testing::Combine(::testing::Range(0, static_cast<int>(special_cases().size())),
                                            ::testing::Values(DType::f32, DType::f16, DType::bf16)),
                         [](const auto& info) {
                           return special_cases()[static_cast<std::size_t>(std::get<0>(info.param))].name + "_" +
                                  std::string(name(std::get<1>(info.param)));
                         });

TEST(Threads, OneAttentionFromManyThreads) {
  const ModCase mods{"capped", stock::soft_cap(param("cap", 30.0f)), stock::causal(), {}};
  const ProblemSpec spec{.q_len = 65, .kv_len = 65};
  const Attention attention = make_attention(mods, spec, Device::cpu());
  std::vector<std::string> verdicts(8);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < verdicts.size(); ++i)
      threads.emplace_back([&, i] {
        CpuRunner runner;
        ProblemSpec own = spec;
        own.seed = i;
        own.q_len += static_cast<int>(i);
        verdicts[i] = run_and_judge(runner, attention, mods, own);
      });
  }
  for (const std::string& verdict : verdicts) EXPECT_EQ(verdict, "");
}

}  // namespace
}  // namespace attnc::testing
