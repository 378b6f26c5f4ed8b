// SPDX-License-Identifier: Apache-2.0
// A small matrix that meets every kind of kernel, sized for compute-sanitizer (tools/gpu_check.sh).
#include <gtest/gtest.h>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {
namespace {

struct SanitizedCase {
  std::string name;
  std::string mods;  ///< of all_cases()
  ProblemSpec spec;
  int block = 0;
};

class GpuSanitized : public ::testing::TestWithParam<SanitizedCase> {};

TEST_P(GpuSanitized, MatchesTheOracle) {
  ATTNC_REQUIRE_GPU();
  const SanitizedCase& c = GetParam();
  for (const ModCase& mods : all_cases()) {
    if (mods.name != c.mods) continue;
    GpuRunner runner;
    EXPECT_EQ(run_and_judge(runner, make_attention(mods, c.spec, runner.device()), mods, c.spec, 16, c.block, c.block),
              "");
    return;
  }
  FAIL() << "no case named " << c.mods;
}

ProblemSpec spec(DType dtype, int q_len, int kv_len, int dim, Layout layout = Layout::bhsd) {
  return {.dtype = dtype,
          .q_heads = 2,
          .kv_heads = 1,
          .q_len = q_len,
          .kv_len = kv_len,
          .head_dim = dim,
          .head_dim_v = dim,
          .layout = layout};
}

INSTANTIATE_TEST_SUITE_P(
    All, GpuSanitized,
    ::testing::Values(SanitizedCase{"dense", "identity", spec(DType::bf16, 150, 140, 64)},
                      SanitizedCase{"causal_soft_cap", "causal_soft_cap", spec(DType::bf16, 150, 300, 128)},
                      SanitizedCase{"f32", "causal_alibi", spec(DType::f32, 70, 90, 64)},
                      SanitizedCase{"table", "document_causal_alibi", spec(DType::f16, 150, 150, 64), 64},
                      SanitizedCase{"split_keys", "sliding_window_100", spec(DType::bf16, 1, 1500, 64)},
                      SanitizedCase{"relative_bias", "relative_bias", spec(DType::bf16, 100, 130, 80)},
                      SanitizedCase{"neighborhood", "neighborhood", spec(DType::bf16, 140, 140, 256)},
                      SanitizedCase{"sliced", "causal", spec(DType::f16, 66, 67, 40, Layout::sliced)}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace attnc::testing
