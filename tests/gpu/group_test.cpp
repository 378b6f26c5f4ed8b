// SPDX-License-Identifier: Apache-2.0
// Few queries of grouped heads (decoding): the heads of a group share a tile's rows. Group sizes that divide the tile
// and others, splits of the keys, mods of every level, and the calls that must not be packed.
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "dsl/format.h"
#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"
#include "tests/support/backend_checks.h"
#include "tests/support/mod_cases.h"

namespace attnc::testing {
namespace {

/// An Attention that tells the plans of the kernels it loads.
struct Decoder {
  Decoder(const ModCase& mods, const ProblemSpec& spec) : mods(mods) {
    AttentionOptions options = counting_options(mods, spec, std::make_shared<std::atomic<int>>(0));
    options.log = [plans = plans](std::string_view category, std::string_view message) {
      if (category != "plan") return;
      const std::lock_guard lock(plans->mutex);
      plans->lines.emplace_back(message);
    };
    attention.emplace(options);
  }
  /// "" when the result is right and came from a kernel with packed groups, or from another, as expected.
  std::string judge(const ProblemSpec& spec, bool packed, int rows, int block = 0) {
    GpuRunner runner;
    const std::string verdict = run_and_judge(runner, *attention, mods, spec, rows, block, block);
    return verdict + wrongly_loaded(packed, spec);
  }
  /// "" when every kernel loaded so far has packed groups, or none has, as expected.
  std::string wrongly_loaded(bool packed, const ProblemSpec& spec) const {
    const std::lock_guard lock(plans->mutex);
    bool right = !plans->lines.empty();
    for (const std::string& line : plans->lines)
      right = right && (line.find("packs_groups=true") != std::string::npos) == packed;
    return right ? "" : attnc::format("loaded {} for {}", attnc::join(plans->lines, "; "), spec.describe());
  }

  struct Plans {
    std::mutex mutex;
    std::vector<std::string> lines;
  };
  ModCase mods;
  std::shared_ptr<Plans> plans = std::make_shared<Plans>();
  std::optional<Attention> attention;
};

ModCase named(const std::string& name) {
  for (ModCase& mods : all_cases())
    if (mods.name == name) return mods;
  ADD_FAILURE() << "no case is named " << name;
  return {};
}

/// The last keys of a window for the last query: what a decoder asks for. With a head's own slope.
ModCase window_alibi() {
  ModCase mods = named("causal_alibi");
  mods.name = "lower_right_window_alibi";
  mods.mask = stock::causal_lower_right() & mask_mod("q_idx + kv_len - q_len - kv_idx < 700");
  return mods;
}

class Groups : public ::testing::TestWithParam<std::tuple<DType, std::string>> {};

TEST_P(Groups, OfAnySizeWithAnyLengths) {
  ATTNC_REQUIRE_GPU();
  const auto& [dtype, name] = GetParam();
  const ModCase mods = name == "lower_right_window_alibi" ? window_alibi() : named(name);
  const ProblemSpec base{.dtype = dtype, .batch = 2, .head_dim = 128, .head_dim_v = 128};
  Decoder decoder(mods, base);
  for (const auto& [group, kv_heads] : {std::pair(4, 2), std::pair(7, 2), std::pair(8, 1), std::pair(16, 1),
                                        std::pair(32, 1), std::pair(2, 3), std::pair(3, 1), std::pair(1, 3)})
    for (const int q_len : {1, 2, 5, 16, 32})
      for (const int kv_len : {1, 77, 1000}) {
        if (group == 1 && q_len > 16) continue;  // not packed
        ProblemSpec spec = base;
        spec.q_heads = group * kv_heads, spec.kv_heads = kv_heads, spec.q_len = q_len, spec.kv_len = kv_len;
        spec.seed = static_cast<std::uint64_t>(group * 1000 + q_len);
        EXPECT_EQ(decoder.judge(spec, true, 24), "");
      }
}

TEST_P(Groups, WithManyKeys) {
  ATTNC_REQUIRE_GPU();
  const auto& [dtype, name] = GetParam();
  const ModCase mods = name == "lower_right_window_alibi" ? window_alibi() : named(name);
  const ProblemSpec base{.dtype = dtype, .kv_len = 8192};
  Decoder decoder(mods, base);
  for (const int group : {1, 4, 7, 16})
    for (const int q_len : {1, 5, 16}) {
      ProblemSpec spec = base;
      spec.q_heads = group, spec.kv_heads = 1, spec.q_len = q_len;
      EXPECT_EQ(decoder.judge(spec, true, 12), "");
    }
  // More tiles than the device holds at a time: the keys are not split.
  EXPECT_EQ(
      decoder.judge({.dtype = dtype, .batch = 40, .q_heads = 32, .kv_heads = 8, .q_len = 1, .kv_len = 600}, true, 64),
      "");
}

INSTANTIATE_TEST_SUITE_P(
    All, Groups,
    ::testing::Combine(::testing::Values(DType::f16, DType::bf16),
                       ::testing::Values("identity", "causal_lower_right", "soft_cap_30", "lower_right_window_alibi",
                                         "relative_bias", "odd_keys_only")),
    [](const auto& info) { return std::get<1>(info.param) + "_" + std::string(name(std::get<0>(info.param))); });

TEST(GroupedDecoding, EveryModAndMask) {
  ATTNC_REQUIRE_GPU();
  for (const ModCase& mods : all_cases()) {
    const ProblemSpec spec{.dtype = DType::bf16, .batch = 2, .q_heads = 12, .kv_heads = 2, .q_len = 3, .kv_len = 517};
    Decoder decoder(mods, spec);
    EXPECT_EQ(decoder.judge(spec, mods.name != "window_per_head", 36), "");
  }
}

TEST(GroupedDecoding, SpecialValues) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  for (const SpecialCase& special : special_cases())
    for (const int kv_len : {140, 3000}) {
      const ProblemSpec spec{.dtype = DType::bf16, .q_heads = 6, .kv_heads = 2, .q_len = 16, .kv_len = kv_len};
      const Decoder decoder(special.mods, spec);
      EXPECT_EQ(judge_special_case(runner, *decoder.attention, special, spec), "") << special.name << " " << kv_len;
      EXPECT_EQ(decoder.wrongly_loaded(true, spec), "") << special.name;
    }
}

// A negative scale is folded into Q, which has a place of its own above 128 columns.
TEST(GroupedDecoding, NegativeAndZeroScales) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  for (const int dim : {64, 256})
    for (const float scale : {-0.2f, 0.0f}) {
      const ProblemSpec spec{.dtype = DType::bf16,
                             .q_heads = 6,
                             .kv_heads = 2,
                             .q_len = 11,
                             .kv_len = 700,
                             .head_dim = dim,
                             .head_dim_v = dim};
      const Decoder decoder(causal_case(), spec);
      Problem problem(spec);
      problem.scale = scale;
      runner.forward(*decoder.attention, problem, causal_case(), nullptr);
      EXPECT_EQ(problem.check({}, causal_case().mask, 66), "") << dim << " " << scale;
      EXPECT_EQ(decoder.wrongly_loaded(true, spec), "");
    }
}

TEST(GroupedDecoding, WithoutLogSumExp) {
  ATTNC_REQUIRE_GPU();
  for (const int kv_len : {100, 5000}) {  // merged by one block, and by the combine kernel
    const ProblemSpec spec{.dtype = DType::bf16, .q_heads = 8, .kv_heads = 2, .q_len = 3, .kv_len = kv_len};
    const Decoder decoder(causal_case(), spec);
    Problem with(spec), without(spec);
    DeviceProblem device(with, causal_case());
    const Stream stream;
    device.forward(*decoder.attention, nullptr, stream.get());
    stream.synchronize();
    device.download(with);
    ASSERT_EQ(with.check({}, causal_case().mask, 24), "");
    DeviceProblem bare(without, causal_case());
    bare.lse = TensorView{};
    bare.forward(*decoder.attention, nullptr, stream.get());
    stream.synchronize();
    bare.download(without);
    EXPECT_EQ(with.out.bytes, without.out.bytes) << kv_len;
  }
}

class GroupHeadDims : public ::testing::TestWithParam<std::pair<int, int>> {};

TEST_P(GroupHeadDims, MatchTheOracle) {
  ATTNC_REQUIRE_GPU();
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const ProblemSpec spec{.dtype = dtype,
                           .batch = 2,
                           .q_heads = 10,
                           .kv_heads = 2,
                           .q_len = 5,
                           .kv_len = 1201,
                           .head_dim = GetParam().first,
                           .head_dim_v = GetParam().second};
    for (const ModCase& mods : {capped_window_case(), plain_case(), window_alibi()}) {
      Decoder decoder(mods, spec);
      EXPECT_EQ(decoder.judge(spec, true, 50), "");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GroupHeadDims,
                         ::testing::Values(std::pair(8, 8), std::pair(24, 24), std::pair(40, 40), std::pair(64, 64),
                                           std::pair(80, 80), std::pair(96, 96), std::pair(112, 112),
                                           std::pair(128, 128), std::pair(160, 160), std::pair(192, 192),
                                           std::pair(256, 256), std::pair(192, 128), std::pair(64, 32),
                                           std::pair(32, 64), std::pair(64, 200)),
                         [](const auto& info) { return attnc::format("d{}_{}", info.param.first, info.param.second); });

TEST(GroupedDecoding, Layouts) {
  ATTNC_REQUIRE_GPU();
  const ProblemSpec base{.dtype = DType::bf16, .batch = 2, .q_heads = 14, .kv_heads = 2, .q_len = 7, .kv_len = 900};
  Decoder decoder(causal_case(), base);
  for (const Layout layout : {Layout::bhsd, Layout::bshd, Layout::sliced}) {
    ProblemSpec spec = base;
    spec.layout = layout;
    EXPECT_EQ(decoder.judge(spec, true, 64), "");
  }
}

TEST(GroupedDecoding, RowsOffThe16ByteGrid) {
  ATTNC_REQUIRE_GPU();
  for (const DType dtype : {DType::f16, DType::bf16})
    EXPECT_EQ(judge_off_the_grid({.dtype = dtype, .q_heads = 9, .kv_heads = 3, .q_len = 6, .kv_len = 777}), "")
        << name(dtype);
}

TEST(GroupedDecoding, OtherCallsAreNotPacked) {
  ATTNC_REQUIRE_GPU();
  const ProblemSpec grouped{.dtype = DType::bf16, .q_heads = 8, .kv_heads = 2, .q_len = 4, .kv_len = 700};
  ProblemSpec single = grouped, many = grouped, f32 = grouped;
  single.kv_heads = 8, single.q_len = 17;
  many.q_len = 100;
  f32.dtype = DType::f32;
  for (const ProblemSpec& spec : {single, many, f32}) {
    Decoder decoder(causal_case(), spec);
    EXPECT_EQ(decoder.judge(spec, false, 32), "");
  }
  Decoder with_table(causal_case(), grouped);
  EXPECT_EQ(with_table.judge(grouped, false, 32, 128), "");
}

TEST(GroupedDecoding, CompilesNothingOncePrepared) {
  ATTNC_REQUIRE_GPU();
  const auto compiles = std::make_shared<std::atomic<int>>(0);
  const ProblemSpec base{.dtype = DType::bf16};
  const Attention attention(counting_options(window_alibi(), base, compiles));
  attention.prepare();
  const int after_prepare = *compiles;
  GpuRunner runner;
  for (const int group : {1, 4, 7, 32})
    for (const int q_len : {1, 3, 33}) {
      ProblemSpec spec = base;
      spec.q_heads = 2 * group, spec.kv_heads = 2, spec.q_len = q_len, spec.kv_len = 300 * q_len;
      EXPECT_EQ(run_and_judge(runner, attention, window_alibi(), spec, 12), "");
    }
  EXPECT_EQ(*compiles, after_prepare);
}

}  // namespace
}  // namespace attnc::testing
