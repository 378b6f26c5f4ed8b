// SPDX-License-Identifier: Apache-2.0
// Lengths, head counts, head dimensions and layouts of cases.md.
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <cstring>

#include "compiler/ir/lower.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

void expect_right(const ModCase& mods, const ProblemSpec& spec, int rows = 48) {
  CpuRunner runner;
  const Attention attention = make_attention(mods, spec, runner.device());
  EXPECT_EQ(run_and_judge(runner, attention, mods, spec, rows), "");
}

TEST(Shapes, LengthsBothWays) {
  CpuRunner runner;
  EXPECT_EQ(judge_lengths(runner, DType::f32), "");
}

TEST(Shapes, LongSequences) {
  expect_right(capped_window_case(), {.dtype = DType::bf16, .q_len = 3136, .kv_len = 3136});
  expect_right(causal_case(), {.dtype = DType::f32, .q_len = 8192, .kv_len = 8192}, 24);
}

TEST(Shapes, ManyHeads) {
  expect_right(plain_case(),
               {.dtype = DType::f16,
                .batch = 22720,
                .q_heads = 3,
                .kv_heads = 3,
                .q_len = 2,
                .kv_len = 5,
                .head_dim = 16,
                .head_dim_v = 16},
               200);
}

TEST(Shapes, GroupedQueries) {
  for (int ratio : {1, 2, 3, 4, 6, 8})
    expect_right(causal_case(),
                 {.dtype = DType::bf16, .batch = 2, .q_heads = 2 * ratio, .kv_heads = 2, .q_len = 129, .kv_len = 129});
  expect_right(plain_case(), {.dtype = DType::f32, .q_heads = 7, .kv_heads = 1, .q_len = 65, .kv_len = 65});
}

TEST(Shapes, HeadDimensions) {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (int dim : {16, 32, 40, 64, 72, 80, 96, 112, 128, 160, 192, 256})
      expect_right(capped_window_case(),
                   {.dtype = dtype, .q_len = 130, .kv_len = 131, .head_dim = dim, .head_dim_v = dim});
    for (auto [qk, v] : {std::pair{192, 128}, {64, 32}, {32, 64}, {1, 3}, {7, 5}})
      expect_right(causal_case(), {.dtype = dtype, .q_len = 130, .kv_len = 131, .head_dim = qk, .head_dim_v = v});
  }
}

TEST(Shapes, Layouts) {
  for (Layout layout : {Layout::bhsd, Layout::bshd, Layout::sliced})
    for (DType dtype : {DType::f32, DType::bf16})
      expect_right(
          causal_case(),
          {.dtype = dtype, .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 100, .kv_len = 120, .layout = layout});
}

TEST(Shapes, PackedQkv) {
  // One tensor [B, S, 3, H, D]; q, k and v are views that interleave in memory.
  constexpr int B = 2, S = 77, H = 3, D = 64;
  GuardedTensor packed = GuardedTensor::create(DType::f32, {B, S, 3, H * D});
  packed.fill_normal(3);
  Problem problem({.dtype = DType::f32, .batch = B, .q_heads = H, .kv_heads = H, .q_len = S, .kv_len = S});
  auto part = [&](int which) {
    return TensorView(static_cast<float*>(packed.view.data) + which * H * D, DType::f32, {B, H, S, D},
                      {S * 3 * H * D, D, 3 * H * D, 1});
  };
  const Attention attention = make_attention(causal_case(), problem.spec, Device::cpu());
  ForwardOptions options;
  options.lse = problem.lse.view;
  attention.forward(part(0), part(1), part(2), problem.out.view, options);
  ReferenceInputs inputs{part(0), part(1), part(2), problem.scale, {}};
  const ir::Program program = ir::lower({}, causal_case().mask);
  EXPECT_EQ(judge(reference_rows(program, inputs, choose_rows(B, H, S, 100, 1)), problem.out.view, problem.lse.view),
            "");
}

TEST(Shapes, StridesBeyondTwoToThe31) {
  // Large strides over small storage: rows 2^31 + 64 elements apart, backed by sparse memory.
  constexpr std::int64_t row_stride = (std::int64_t{1} << 31) + 64;
  constexpr int S = 5, D = 64;
  const std::size_t bytes = static_cast<std::size_t>(row_stride) * S * 2;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "no address space for " << bytes << " bytes";
  Problem problem({.dtype = DType::bf16, .q_len = S, .kv_len = S});
  const TensorView far(memory, DType::bf16, {1, 1, S, D}, {row_stride * S, row_stride * S, row_stride, 1});
  for (std::int64_t s = 0; s < S; ++s)
    for (std::int64_t d = 0; d < D; ++d) {
      const std::int64_t index[] = {0, 0, s, d};
      write_element(far, index, read_element(problem.k.view, index));
    }
  const Attention attention = make_attention(plain_case(), problem.spec, Device::cpu());
  ForwardOptions options;
  options.lse = problem.lse.view;
  attention.forward(problem.q.view, far, problem.v.view, problem.out.view, options);
  EXPECT_EQ(problem.check({}, {}), "");
  munmap(memory, bytes);
}

TEST(Shapes, NothingToDo) {
  CpuRunner runner;
  for (const ProblemSpec& spec : {ProblemSpec{.batch = 0}, ProblemSpec{.q_heads = 0, .kv_heads = 1},
                                  ProblemSpec{.q_len = 0}, ProblemSpec{.kv_len = 0}})
    EXPECT_EQ(run_and_judge(runner, make_attention(causal_case(), spec, runner.device()), causal_case(), spec), "")
        << spec.describe();
}

}  // namespace
}  // namespace attnc::testing
