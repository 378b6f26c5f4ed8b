// SPDX-License-Identifier: Apache-2.0
// Lengths, head counts, head dimensions and layouts of cases.md, and: none of them compiles anything.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

void expect_right(const ModCase& mods, const ProblemSpec& spec, int rows = 48) {
  GpuRunner runner;
  const Attention attention = make_attention(mods, spec, runner.device());
  EXPECT_EQ(run_and_judge(runner, attention, mods, spec, rows), "");
}

class Lengths : public ::testing::TestWithParam<DType> {};

TEST_P(Lengths, BothWays) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  EXPECT_EQ(judge_lengths(runner, GetParam()), "");
}

INSTANTIATE_TEST_SUITE_P(AllTypes, Lengths, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& info) { return std::string(name(info.param)); });

TEST(GpuShapes, LongSequences) {
  ATTNC_REQUIRE_GPU();
  expect_right(capped_window_case(), {.dtype = DType::bf16, .q_len = 3136, .kv_len = 3136});
  expect_right(causal_case(), {.dtype = DType::bf16, .q_len = 8192, .kv_len = 8192, .head_dim = 128, .head_dim_v = 128},
               24);
  expect_right(causal_case(), {.dtype = DType::f32, .q_len = 8192, .kv_len = 8192}, 24);
}

TEST(GpuShapes, ManyHeads) {
  ATTNC_REQUIRE_GPU();
  expect_right(plain_case(),
               {.dtype = DType::f16,
                .batch = 22720,
                .q_heads = 3,
                .kv_heads = 3,
                .q_len = 17,  // too many for the kernel for few queries
                .kv_len = 5,
                .head_dim = 16,
                .head_dim_v = 16},
               200);
}

TEST(GpuShapes, GroupedQueries) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  const ProblemSpec base{.dtype = DType::bf16, .batch = 2, .q_len = 129, .kv_len = 129};
  const Attention attention = make_attention(causal_case(), base, runner.device());
  for (int ratio : {1, 2, 3, 4, 6, 8})
    for (int kv_heads : {1, 2}) {
      ProblemSpec spec = base;
      spec.q_heads = kv_heads * ratio, spec.kv_heads = kv_heads;
      EXPECT_EQ(run_and_judge(runner, attention, causal_case(), spec), "");
    }
}

class HeadDims : public ::testing::TestWithParam<std::tuple<std::pair<int, int>, DType>> {};

TEST_P(HeadDims, MatchTheOracle) {
  ATTNC_REQUIRE_GPU();
  const auto [dims, dtype] = GetParam();
  const ProblemSpec spec{.dtype = dtype,
                         .batch = 2,
                         .q_heads = 2,
                         .kv_heads = 1,
                         .q_len = 330,
                         .kv_len = 331,
                         .head_dim = dims.first,
                         .head_dim_v = dims.second};
  expect_right(capped_window_case(), spec);
  expect_right(causal_case(), spec);
}

std::string head_dims_name(const ::testing::TestParamInfo<HeadDims::ParamType>& info) {
  const std::pair<int, int> dims = std::get<0>(info.param);
  return "d" + std::to_string(dims.first) + "_" + std::to_string(dims.second) + "_" +
         std::string(name(std::get<1>(info.param)));
}

INSTANTIATE_TEST_SUITE_P(
    All, HeadDims,
    ::testing::Combine(::testing::Values(std::pair(8, 8), std::pair(16, 16), std::pair(32, 32), std::pair(40, 40),
                                         std::pair(64, 64), std::pair(72, 72), std::pair(80, 80), std::pair(96, 96),
                                         std::pair(112, 112), std::pair(128, 128), std::pair(160, 160),
                                         std::pair(192, 192), std::pair(256, 256), std::pair(192, 128),
                                         std::pair(64, 32), std::pair(32, 64)),
                       ::testing::Values(DType::f32, DType::f16, DType::bf16)),
    head_dims_name);

TEST(GpuShapes, Layouts) {
  ATTNC_REQUIRE_GPU();
  for (const Layout layout : {Layout::bhsd, Layout::bshd, Layout::sliced})
    for (const DType dtype : {DType::f32, DType::bf16})
      expect_right(
          causal_case(),
          {.dtype = dtype, .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 100, .kv_len = 120, .layout = layout});
}

TEST(GpuShapes, RowsOffThe16ByteGrid) {
  ATTNC_REQUIRE_GPU();
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    EXPECT_EQ(judge_off_the_grid({.dtype = dtype, .q_heads = 2, .kv_heads = 2, .q_len = 100, .kv_len = 90}), "")
        << name(dtype);
}

TEST(GpuShapes, StridesBeyondTwoToThe31) {
  ATTNC_REQUIRE_GPU();
  const GpuScope scope;
  constexpr std::int64_t row_stride = (std::int64_t{1} << 31) + 64;
  constexpr int S = 3, D = 64;
  const std::size_t bytes = static_cast<std::size_t>(row_stride) * S * 2;
  cuda::CUdeviceptr memory = 0;
  if (cuda::driver().mem_alloc(&memory, bytes) != cuda::CUDA_SUCCESS)
    GTEST_SKIP() << "not " << bytes << " bytes of device memory";
  const Stream stream;
  // Few queries have a kernel of their own. More are for the one that loads by the copy engine, where there is one.
  for (const int q_len : {S, 17}) {
    Problem problem({.dtype = DType::bf16, .q_len = q_len, .kv_len = S});
    DeviceProblem device(problem, plain_case());
    device.k = TensorView(reinterpret_cast<void*>(memory), DType::bf16, {1, 1, S, D},
                          {row_stride * S, row_stride * S, row_stride, 1});
    for (std::int64_t s = 0; s < S; ++s)
      cuda::check(
          cuda::driver().memcpy_htod_async(memory + static_cast<std::uint64_t>(s * row_stride * 2),
                                           static_cast<std::byte*>(problem.k.view.data) + s * D * 2, D * 2, nullptr),
          "copying a row");
    cuda::check(cuda::driver().stream_synchronize(nullptr), "copying rows");
    device.forward(make_attention(plain_case(), problem.spec, Device::cuda()), nullptr, stream.get());
    stream.synchronize();
    device.download(problem);
    EXPECT_EQ(problem.check({}, {}), "") << q_len;
  }
  cuda::driver().mem_free(memory);
}

TEST(GpuShapes, NothingToDo) {
  ATTNC_REQUIRE_GPU();
  GpuRunner runner;
  for (const ProblemSpec& spec :
       {ProblemSpec{.batch = 0}, ProblemSpec{.q_heads = 0, .kv_heads = 1}, ProblemSpec{.q_len = 0},
        ProblemSpec{.kv_len = 0}, ProblemSpec{.dtype = DType::bf16, .q_len = 3, .kv_len = 0}})
    EXPECT_EQ(run_and_judge(runner, make_attention(causal_case(), spec, runner.device()), causal_case(), spec), "")
        << spec.describe();
}

TEST(GpuShapes, AThousandShapesCompileNothing) {
  ATTNC_REQUIRE_GPU();
  const auto compiles = std::make_shared<std::atomic<int>>(0);
  ModCase mods{
      "cap_param_window_param", stock::soft_cap(param("cap", 50.0f)), stock::sliding_window(param("window", 48)), {}};
  const ProblemSpec base{.dtype = DType::bf16};
  const Attention attention(counting_options(mods, base, compiles));
  attention.prepare();
  const int after_prepare = *compiles;
  std::mt19937_64 random(std::random_device{}());
  const auto pick = [&](int low, int high) {
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  GpuRunner runner;
  for (int i = 0; i < 1000; ++i) {
    ProblemSpec spec = base;
    spec.batch = pick(1, 3);
    spec.kv_heads = pick(1, 3);
    spec.q_heads = spec.kv_heads * pick(1, 4);
    spec.q_len = pick(1, 200);
    spec.kv_len = pick(1, 400);
    spec.layout = static_cast<Layout>(pick(0, 2));
    spec.seed = random();
    Problem problem(spec);
    problem.params = {{"cap", 5.0f + static_cast<float>(pick(0, 50))}, {"window", pick(1, 300)}};
    problem.scale *= 1.0f + static_cast<float>(pick(0, 4)) / 4;
    if (i % 50 == 0) {  // judging is slow; every shape runs, some are judged
      runner.forward(attention, problem, mods, nullptr);
      EXPECT_EQ(problem.check(mods.score, mods.mask, 12), "") << spec.describe();
    } else {
      runner.forward(attention, problem, mods, nullptr);
    }
  }
  EXPECT_LE(after_prepare, 3);  // one for few queries, and on Hopper two for others
  EXPECT_EQ(*compiles, after_prepare);
}

}  // namespace
}  // namespace attnc::testing
