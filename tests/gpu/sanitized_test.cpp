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
    ::testing::Values(
        SanitizedCase{"dense", "identity", spec(DType::bf16, 150, 140, 64)},
        SanitizedCase{"causal_soft_cap", "causal_soft_cap", spec(DType::bf16, 150, 300, 128)},
        SanitizedCase{"f32", "causal_alibi", spec(DType::f32, 70, 90, 64)},
        SanitizedCase{"table", "document_causal_alibi", spec(DType::f16, 150, 150, 64), 64},
        SanitizedCase{"split_keys", "sliding_window_100", spec(DType::bf16, 40, 1500, 64)},
        // Few queries: splits without keys; levels staged and two sets of 16 rows; Q beside the keys and four.
        SanitizedCase{"few_queries", "sliding_window_100", spec(DType::bf16, 1, 1500, 64)},
        SanitizedCase{"few_queries_staged", "relative_bias", spec(DType::f16, 12, 700, 80)},
        SanitizedCase{"few_queries_wide", "causal_alibi", spec(DType::bf16, 30, 400, 256)},
        SanitizedCase{"relative_bias", "relative_bias", spec(DType::bf16, 100, 130, 80)},
        SanitizedCase{"neighborhood", "neighborhood", spec(DType::bf16, 140, 140, 256)},
        SanitizedCase{"sliced", "causal", spec(DType::f16, 66, 67, 40, Layout::sliced)},
        // More tiles than either ring has slots: each slot of K and V is filled anew several times.
        SanitizedCase{"slots_reused_64", "causal_lower_right", spec(DType::bf16, 200, 1000, 64)},
        SanitizedCase{"slots_reused_128", "causal_lower_right", spec(DType::bf16, 140, 1000, 128)},
        // Extremes first, then a kernel that classifies by them while the launches overlap.
        SanitizedCase{"documents", "document_causal", spec(DType::bf16, 700, 700, 128)},
        SanitizedCase{"documents_f32", "document_causal", spec(DType::f32, 200, 200, 64)},
        SanitizedCase{"bits", "neighborhood", spec(DType::bf16, 300, 300, 64), 128}),
    [](const auto& info) { return info.param.name; });

/// Tables of captured documents, built and rebuilt on the device: of few blocks, with attention over them in the order
/// that they give, and of many.
TEST(GpuSanitizedTables, DocumentsCutAnew) {
  ATTNC_REQUIRE_GPU();
  constexpr int tokens = 3200;
  const ModCase mod{"document_causal", {}, stock::document() & stock::causal(), {}};
  Problem problem({.dtype = DType::bf16, .q_len = tokens, .kv_len = tokens, .head_dim = 128, .head_dim_v = 128});
  auto* doc = static_cast<std::int32_t*>(
      problem.buffers.emplace("doc", GuardedTensor::create(DType::i32, {tokens})).first->second.view.data);
  for (int i = 0; i < tokens; ++i) doc[i] = i / 300 + i / 1000;
  DeviceProblem device(problem, mod);
  const Attention attention = make_attention(mod, problem.spec, Device::cuda());
  const Stream stream;
  for (const int block : {128, 16}) {
    BlockMaskOptions options;
    options.device = Device::cuda();
    options.stream = stream.get();
    options.buffers = device.buffers;
    options.block_size = {block, block};
    BlockMask mask = BlockMask::create(mod.mask, 1, 1, tokens, tokens, options);
    mask.rebuild({stream.get(), {}, device.buffers});
    EXPECT_GT(mask.full_blocks(), 0);
    EXPECT_GT(mask.empty_blocks(), mask.full_blocks());
    if (block != 128) continue;
    device.forward(attention, &mask, stream.get());
    stream.synchronize();
    device.download(problem);
    EXPECT_EQ(problem.check(mod.score, mod.mask, 16), "");
  }
}

}  // namespace
}  // namespace attnc::testing
