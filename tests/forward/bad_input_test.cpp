// SPDX-License-Identifier: Apache-2.0
// Every refusal of semantics.md: the message names the argument, the value and the rule, and nothing is written.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "dsl/stock.h"
#include "tests/support/runner.h"

namespace attnc::testing {
namespace {

struct Call {
  Problem problem{ProblemSpec{.batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 16, .kv_len = 24}};
  TensorView q = problem.q.view, k = problem.k.view, v = problem.v.view, out = problem.out.view;
  ForwardOptions options;
  std::vector<ParamValue> params;
  std::vector<BufferValue> buffers;
};

void expect_refused(const AttentionOptions& attention_options, const std::function<void(Call&)>& spoil,
                    const std::string& expected, ErrorCode code = ErrorCode::invalid_argument) {
  Call call;
  spoil(call);
  call.options.params = call.params;
  call.options.buffers = call.buffers;
  try {
    Attention(attention_options).forward(call.q, call.k, call.v, call.out, call.options);
    FAIL() << "not refused; expected: " << expected;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_NE(std::string(error.what()).find(expected), std::string::npos)
        << "message: " << error.what() << "\nexpected: " << expected;
  }
  const std::int64_t first[] = {0, 0, 0, 0};
  EXPECT_TRUE(std::isnan(read_element(call.problem.out.view, first))) << "out was written by a refused call";
}

void expect_refused(const std::function<void(Call&)>& spoil, const std::string& expected) {
  expect_refused({}, spoil, expected);
}

TEST(BadInput, Tensors) {
  expect_refused([](Call& c) { c.q.data = nullptr; }, "q is a null pointer with shape [2, 4, 16, 64]");
  expect_refused([](Call& c) { c.k.data = static_cast<std::byte*>(c.k.data) + 1; },
                 "is not aligned to its element size, 4 bytes");
  expect_refused([](Call& c) { c.q.dtype = DType::bf16; }, "q is bf16; it must be f32");
  expect_refused([](Call& c) { c.v.rank = 3; }, "v has rank 3 (shape [2, 2, 24]); it must have rank 4");
  expect_refused([](Call& c) { c.q.shape[3] = 32; },
                 "q has shape [2, 4, 16, 32]; its last extent must be head_dim, 64");
  expect_refused([](Call& c) { c.k.shape[3] = 32; },
                 "k has shape [2, 2, 24, 32]; its last extent must be head_dim, 64");
  expect_refused([](Call& c) { c.v.shape[3] = 32; }, "its last extent must be head_dim_v, 64");
  expect_refused([](Call& c) { c.k.shape[0] = 1; }, "q, k, v have batch 2, 1, 2; they must be equal");
  expect_refused([](Call& c) { c.v.shape[1] = 1; }, "k has 2 heads and v 1; they must be equal");
  expect_refused([](Call& c) { c.v.shape[2] = 23; }, "k has length 24 and v 23; they must be equal");
  expect_refused([](Call& c) { c.k.shape[2] = c.v.shape[2] = (std::int64_t{1} << 30) + 1; },
                 "k has length 1073741825; the limit is 1073741824");
  expect_refused([](Call& c) { c.q.shape[1] = c.out.shape[1] = 3; },
                 "q has 3 heads and k 2; the query heads must be a multiple of the kv heads");
  expect_refused([](Call& c) { c.out.shape[2] = 15; }, "out has shape [2, 4, 15, 64]; it must be [2, 4, 16, 64]");
  expect_refused([](Call& c) { c.q.stride_elems[3] = 2; }, "q has stride 2 in its innermost dimension; it must be 1");
  expect_refused([](Call& c) { c.q.shape[2] = -1; }, "an extent must be 0 to 2^31 - 1");
  expect_refused([](Call& c) { c.out.stride_elems[1] = 0; },
                 "out has stride 0 in dimension 1 of extent 4; an output cannot be broadcast");
}

TEST(BadInput, Overlap) {
  expect_refused([](Call& c) { c.q = c.out; }, "out overlaps q in memory");
  expect_refused(
      [](Call& c) {
        c.options.lse = TensorView(c.problem.out.view.data, DType::f32, {2, 4, 16});
      },
      "lse overlaps out in memory");
}

TEST(BadInput, Lse) {
  expect_refused([](Call& c) { c.options.lse = c.problem.lse.view, c.options.lse.shape[2] = 15; },
                 "lse has shape [2, 4, 15]; it must be [2, 4, 16]");
  expect_refused([](Call& c) { c.options.lse = c.problem.lse.view, c.options.lse.dtype = DType::f16; },
                 "lse is f16; it must be f32");
}

TEST(BadInput, Scale) {
  expect_refused([](Call& c) { c.options.scale = std::numeric_limits<float>::quiet_NaN(); },
                 "scale is nan; it must be finite");
}

TEST(BadInput, Captures) {
  AttentionOptions documents;
  documents.mask_mod = stock::document();
  expect_refused(
      documents, [](Call&) {}, "buffer 'doc' (i32 of rank 1) is captured by the mod but was not given");
  static std::int32_t doc[24] = {};
  expect_refused(
      documents,
      [](Call& c) {
        c.buffers = {{"doc", TensorView(doc, DType::i32, {2, 12})}};
      },
      "buffer 'doc' has rank 2 (shape [2, 12]); it was declared with rank 1");
  expect_refused(
      documents,
      [](Call& c) {
        c.buffers = {{"doc", TensorView(doc, DType::f32, {24})}};
      },
      "buffer 'doc' is f32; it was declared i32");
  expect_refused(
      documents,
      [](Call& c) {
        c.buffers = {{"dog", TensorView(doc, DType::i32, {24})}};
      },
      "there is no buffer 'dog' in this variant; it has: doc");
  AttentionOptions window;
  window.mask_mod = stock::sliding_window(param("window", Type::i32));
  expect_refused(
      window, [](Call&) {}, "parameter 'window' (i32) has no value and no default");
  expect_refused(
      window,
      [](Call& c) {
        c.params = {{"window", 1.5}};
      },
      "parameter 'window' is i32 and cannot take the value 1.5");
  expect_refused(
      window,
      [](Call& c) {
        c.params = {{"window", 3000000000LL}};
      },
      "parameter 'window' is i32 and cannot take the value 3000000000");
  expect_refused(
      window,
      [](Call& c) {
        c.params = {{"width", 3}};
      },
      "there is no parameter 'width' in this variant; it has: window");
}

TEST(BadInput, Options) {
  AttentionOptions integer_type;
  integer_type.dtype = DType::i32;
  expect_refused(
      integer_type, [](Call&) {}, "dtype is i32; attention works on f32, f16 or bf16", ErrorCode::unsupported);
  AttentionOptions wide;
  wide.head_dim = 512;
  expect_refused(
      wide, [](Call&) {}, "head_dim is 512; it must be 1 to 256", ErrorCode::unsupported);
}

TEST(BadInput, BlockMaskOfAnotherShape) {
  const BlockMask mask = BlockMask::create(stock::causal(), 1, 1, 32, 24);
  expect_refused([&mask](Call& c) { c.options.block_mask = &mask; },
                 "block_mask is for 32 queries and 24 keys; q and k have 16 and 24");
}

}  // namespace
}  // namespace attnc::testing
