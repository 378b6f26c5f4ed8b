// SPDX-License-Identifier: Apache-2.0
// Calls that follow each other on a stream share the counter from which blocks draw their tiles: each launch must leave
// it at 0 (templates/sm90/scheduler.cuh), or the next one passes tiles over.
#include <gtest/gtest.h>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {
namespace {

/// More query tiles than any device has multiprocessors, of uneven work.
ProblemSpec many_tiles(int dim, int q_len) {
  return {.dtype = DType::bf16,
          .batch = 4,
          .q_heads = 16,
          .kv_heads = 4,
          .q_len = q_len,
          .kv_len = q_len,
          .head_dim = dim,
          .head_dim_v = dim};
}

class RepeatedCalls : public ::testing::TestWithParam<int> {};

TEST_P(RepeatedCalls, MatchTheOracleEachTime) {
  ATTNC_REQUIRE_GPU();
  const ModCase mods{"causal", {}, stock::causal(), {}};
  const int dim = GetParam();
  Problem long_rows(many_tiles(dim, 900)), short_rows(many_tiles(dim, 650));
  DeviceProblem on_device[] = {DeviceProblem(long_rows, mods), DeviceProblem(short_rows, mods)};
  const Attention attention = make_attention(mods, long_rows.spec, Device::cuda());
  const Stream streams[2];
  for (const Stream& stream : streams) {
    for (int call = 0; call < 4; ++call) {
      Problem& problem = call % 2 == 0 ? long_rows : short_rows;
      DeviceProblem& device = on_device[call % 2];
      problem.out.fill_nan();
      problem.lse.fill_nan();
      device.poison(problem);
      device.forward(attention, nullptr, stream.get());
      stream.synchronize();
      device.download(problem);
      EXPECT_EQ(problem.check(mods.score, mods.mask, 16), "") << "call " << call;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDimensions, RepeatedCalls, ::testing::Values(64, 128),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace attnc::testing
