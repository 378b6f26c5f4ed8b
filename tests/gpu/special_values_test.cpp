// SPDX-License-Identifier: Apache-2.0
// NaN, infinities, rows without keys: the corners of semantics.md on the GPU.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

void set(GuardedTensor& tensor, std::int64_t row, double value) {
  const std::int64_t index[] = {0, 0, row, 0};
  write_element(tensor.view, index, value);
}

std::string run(const ModCase& mods, Problem& problem) {
  GpuRunner runner;
  if (mods.bind) mods.bind(problem);
  runner.forward(make_attention(mods, problem.spec, runner.device()), problem, mods, nullptr);
  return problem.check(mods.score, mods.mask, 1000);
}

class GpuSpecialValues : public ::testing::TestWithParam<std::tuple<DType, int>> {
 protected:
  ProblemSpec spec{.dtype = std::get<0>(GetParam()),
                   .q_len = 130,
                   .kv_len = 140,
                   .head_dim = std::get<1>(GetParam()),
                   .head_dim_v = std::get<1>(GetParam())};
  void SetUp() override { ATTNC_REQUIRE_GPU(); }
};

TEST_P(GpuSpecialValues, NanQueryPoisonsItsRowOnly) {
  Problem problem(spec);
  set(problem.q, 70, std::nan(""));
  EXPECT_EQ(run({"causal", {}, stock::causal(), {}}, problem), "");
}

TEST_P(GpuSpecialValues, MaskedNanNeverLeaks) {
  Problem problem(spec);
  for (std::int64_t row = 66; row < 140; ++row) set(problem.k, row, std::nan("")), set(problem.v, row, 1.0);
  const MaskMod prefix = mask_mod([](Index, Index, Index, Index kv) { return kv < 66; });
  EXPECT_EQ(run({"prefix", {}, prefix, {}}, problem), "");
  Problem with_score(spec);  // the score_mod itself gives NaN and inf where the mask drops
  const ScoreMod wild = score_mod([](Score s, Index, Index, Index, Index kv) { return s + log(f32(66 - kv)); });
  EXPECT_EQ(run({"wild", wild, prefix, {}}, with_score), "");
}

TEST_P(GpuSpecialValues, ScoresOfMinusInfinityAreDroppedKeys) {
  Problem problem(spec);
  const ScoreMod masking =
      score_mod([](Score s, Index, Index, Index q, Index kv) { return where(q >= kv + 5, s, -inf); });
  EXPECT_EQ(run({"minus_infinity", masking, {}, {}}, problem), "");
}

TEST_P(GpuSpecialValues, PlusInfinityIsNanAsInSoftmax) {
  Problem problem(spec);
  const ScoreMod spike =
      score_mod([](Score s, Index, Index, Index q, Index kv) { return where(q == 9 && kv == 3, inf, s); });
  EXPECT_EQ(run({"plus_infinity", spike, {}, {}}, problem), "");
}

TEST_P(GpuSpecialValues, RowsWithoutKeys) {
  Problem problem(spec);
  EXPECT_EQ(run({"nothing", {}, stock::nothing(), {}}, problem), "");
  Problem upper(spec);
  EXPECT_EQ(run({"after", {}, mask_mod([](Index, Index, Index q, Index kv) { return kv > q + 100; }), {}}, upper), "");
}

TEST_P(GpuSpecialValues, LargeScores) {
  Problem problem(spec);
  problem.q.fill_normal(4, 30.0);
  EXPECT_EQ(run({"identity", {}, {}, {}}, problem), "");
}

INSTANTIATE_TEST_SUITE_P(AllTypes, GpuSpecialValues,
                         ::testing::Combine(::testing::Values(DType::f32, DType::f16, DType::bf16),
                                            ::testing::Values(64, 128)),
                         [](const auto& info) {
                           return std::string(name(std::get<0>(info.param))) + "_d" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace attnc::testing
