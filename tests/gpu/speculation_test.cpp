// SPDX-License-Identifier: Apache-2.0
// Scores that rise after a row's first keys. The portable kernel works full tiles off without looking for a maximum
// (bf16, up to 64 output columns): row sums that grow past 2^40 make it raise the maximum late, and those past 2^60,
// infinite or NaN make it repeat the work tile (templates/sm80/softmax.cuh).
#include <gtest/gtest.h>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

/// The same tensor with its batches from the last to the first. The bulk tensor copy engine takes no negative stride,
/// so that the problem runs on the portable kernel everywhere.
void turn_batches_around(GuardedTensor& tensor) {
  const std::int64_t stride = tensor.view.stride_elems[0];
  const std::int64_t bytes =
      (tensor.view.shape[0] - 1) * stride * static_cast<std::int64_t>(size_bytes(tensor.view.dtype));
  tensor.view.data = static_cast<std::byte*>(tensor.view.data) + bytes;
  tensor.data_offset_bytes += static_cast<std::size_t>(bytes);
  tensor.view.stride_elems[0] = -stride;
}

/// Query rows of ones, and keys [first, end) whose scores are all about `score`, for one head.
void raise_scores(Problem& problem, int first, int end, double score) {
  const int dim = problem.spec.head_dim;
  const double element = score / (problem.scale * dim);
  for (std::int64_t d = 0; d < dim; ++d) {
    for (std::int64_t q = 0; q < problem.spec.q_len; ++q) {
      const std::int64_t at[] = {0, 0, q, d};
      write_element(problem.q.view, at, 1.0);
    }
    for (std::int64_t kv = first; kv < end; ++kv) {
      const std::int64_t at[] = {0, 0, kv, d};
      write_element(problem.k.view, at, element);
    }
  }
}

class Speculation : public ::testing::TestWithParam<int> {};

TEST_P(Speculation, RisingScoresMatchTheOracle) {
  ATTNC_REQUIRE_GPU();
  const ScoreMod slope = score_mod([](Score s, Index, Index, Index q, Index kv) { return s + 0.125f * f32(kv - q); });
  const ModCase all_mods[] = {{"identity", {}, {}, {}},
                              {"causal", {}, stock::causal(), {}},
                              {"causal_slope", slope, stock::causal(), {}},
                              {"window", {}, stock::sliding_window(400), {}}};
  const ModCase& mods = all_mods[GetParam()];
  GpuRunner runner;
  for (const int dim : {64, 32}) {
    const ProblemSpec spec{.dtype = DType::bf16,
                           .batch = 2,
                           .q_heads = 2,
                           .kv_heads = 2,
                           .q_len = 520,
                           .kv_len = 520,
                           .head_dim = dim,
                           .head_dim_v = dim};
    const Attention attention = make_attention(mods, spec, runner.device());
    // Raised late; a sum too large; infinite exponentials, whose sums are of no use.
    for (const double score : {30.0, 64.0, 120.0, 2000.0})
      // Keys come last first: the last tile to be worked off, one before it, and part of one.
      for (const auto& [first, end] : {std::pair(0, 128), std::pair(128, 256), std::pair(70, 75)}) {
        Problem problem(spec);
        for (GuardedTensor* tensor : {&problem.q, &problem.k, &problem.v, &problem.out}) turn_batches_around(*tensor);
        raise_scores(problem, first, end, score);
        if (mods.bind) mods.bind(problem);
        runner.forward(attention, problem, mods, nullptr);
        EXPECT_EQ(problem.check(mods.score, mods.mask, 96), "")
            << mods.name << " D=" << dim << " keys " << first << " to " << end << " at " << score;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Speculation, ::testing::Range(0, 4));

}  // namespace
}  // namespace attnc::testing
