// SPDX-License-Identifier: Apache-2.0
// NaN, infinities, rows without keys, unaligned heads: the corners of semantics.md.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/support/runner.h"

namespace attnc::testing {
namespace {

void set(GuardedTensor& tensor, std::int64_t row, double value) {
  const std::int64_t index[] = {0, 0, row, 0};
  write_element(tensor.view, index, value);
}

std::string run(const ModCase& mods, Problem& problem) {
  CpuRunner runner;
  if (mods.bind) mods.bind(problem);
  runner.forward(make_attention(mods, problem.spec, runner.device()), problem, mods, nullptr);
  return problem.check(mods.score, mods.mask, 1000);
}

class SpecialValues : public ::testing::TestWithParam<DType> {
 protected:
  ProblemSpec spec{.dtype = GetParam(), .q_len = 130, .kv_len = 140};
};

TEST_P(SpecialValues, NanQueryPoisonsItsRowOnly) {
  Problem problem(spec);
  set(problem.q, 70, std::nan(""));
  EXPECT_EQ(run({"causal", {}, stock::causal(), {}}, problem), "");
}

TEST_P(SpecialValues, MaskedNanNeverLeaks) {
  Problem problem(spec);
  for (std::int64_t row = 66; row < 140; ++row) set(problem.k, row, std::nan("")), set(problem.v, row, 1.0);
  EXPECT_EQ(run({"prefix", {}, mask_mod([](Index, Index, Index, Index kv) { return kv < 66; }), {}}, problem), "");
  Problem with_score(spec);  // the score_mod itself gives NaN and inf where the mask drops
  const ScoreMod wild = score_mod([](Score s, Index, Index, Index, Index kv) { return s + log(f32(66 - kv)); });
  EXPECT_EQ(run({"wild", wild, mask_mod([](Index, Index, Index, Index kv) { return kv < 66; }), {}}, with_score), "");
}

TEST_P(SpecialValues, ScoresOfMinusInfinityAreDroppedKeys) {
  Problem problem(spec);
  const ScoreMod masking = score_mod([](Score s, Index, Index, Index q, Index kv) {
    return where(q >= kv + 5, s, -std::numeric_limits<float>::infinity());
  });
  EXPECT_EQ(run({"minus_infinity", masking, {}, {}}, problem), "");
}

TEST_P(SpecialValues, PlusInfinityIsNanAsInSoftmax) {
  Problem problem(spec);
  const ScoreMod spike = score_mod([](Score s, Index, Index, Index q, Index kv) {
    return where(q == 9 && kv == 3, std::numeric_limits<float>::infinity(), s);
  });
  EXPECT_EQ(run({"plus_infinity", spike, {}, {}}, problem), "");
}

TEST_P(SpecialValues, RowsWithoutKeys) {
  Problem problem(spec);
  EXPECT_EQ(run({"nothing", {}, stock::nothing(), {}}, problem), "");
  Problem upper(spec);
  EXPECT_EQ(run({"after", {}, mask_mod([](Index, Index, Index q, Index kv) { return kv > q + 100; }), {}}, upper), "");
}

TEST_P(SpecialValues, LargeScores) {
  Problem problem(spec);
  problem.q.fill_normal(4, 30.0);
  EXPECT_EQ(run({"identity", {}, {}, {}}, problem), "");
}

INSTANTIATE_TEST_SUITE_P(AllTypes, SpecialValues, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& info) { return std::string(name(info.param)); });

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
