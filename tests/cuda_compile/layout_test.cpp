// SPDX-License-Identifier: Apache-2.0
// Host and device write the same bytes: offsets of the launch arguments and of Params, compared by static_asserts that
// NVRTC evaluates.
#include <gtest/gtest.h>

#include <cstddef>

#include "compiler/cuda/params.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/launch_arguments.h"
#include "tests/support/nvrtc.h"

namespace attnc::testing {
namespace {

/// Empty when it compiles.
std::string messages_of(const std::string& source) {
  try {
    cuda::compile(source, plan::target_from_name("sm_80"));
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

/// offsetof, which NVRTC has no header for: EDG's operator for the constant value of an address.
std::string offset_text(const std::string& type, const std::string& field) {
  return attnc::format("__INTADDR__(&((({}*)0)->{}))", type, field);
}

constexpr const char* body = "\nextern \"C\" __global__ void attnc_forward() {}\n";

TEST(Layout, LaunchArguments) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  using cuda::BlockTableArgument;
  using cuda::ForwardArguments;
  using cuda::TensorArgument;
  std::string source = "#include \"arguments.cuh\"\nusing namespace attnc;\n";
  const auto same = [&](const char* type, const char* field, std::size_t offset) {
    source += attnc::format("static_assert({} == {}, \"{}::{}\");\n", offset_text(type, field), offset, type, field);
  };
#define ATTNC_SAME(type, field) same(#type, #field, offsetof(type, field))
  ATTNC_SAME(TensorArgument, data);
  ATTNC_SAME(TensorArgument, batch_stride_elems);
  ATTNC_SAME(TensorArgument, head_stride_elems);
  ATTNC_SAME(TensorArgument, row_stride_elems);
  ATTNC_SAME(BlockTableArgument, kv_num_blocks);
  ATTNC_SAME(BlockTableArgument, kv_indices);
  ATTNC_SAME(BlockTableArgument, full_kv_num_blocks);
  ATTNC_SAME(BlockTableArgument, full_kv_indices);
  ATTNC_SAME(BlockTableArgument, counts_batch_stride);
  ATTNC_SAME(BlockTableArgument, counts_head_stride);
  ATTNC_SAME(BlockTableArgument, indices_batch_stride);
  ATTNC_SAME(BlockTableArgument, indices_head_stride);
  ATTNC_SAME(BlockTableArgument, indices_row_stride);
  ATTNC_SAME(BlockTableArgument, full_indices_batch_stride);
  ATTNC_SAME(BlockTableArgument, full_indices_head_stride);
  ATTNC_SAME(BlockTableArgument, full_indices_row_stride);
  ATTNC_SAME(BlockTableArgument, q_block);
  ATTNC_SAME(BlockTableArgument, kv_block);
  ATTNC_SAME(BlockTableArgument, kv_offsets);
  ATTNC_SAME(BlockTableArgument, full_kv_offsets);
  ATTNC_SAME(BlockTableArgument, work_order);
  ATTNC_SAME(ForwardArguments, q);
  ATTNC_SAME(ForwardArguments, k);
  ATTNC_SAME(ForwardArguments, v);
  ATTNC_SAME(ForwardArguments, out);
  ATTNC_SAME(ForwardArguments, lse);
  ATTNC_SAME(ForwardArguments, lse_batch_stride_elems);
  ATTNC_SAME(ForwardArguments, lse_head_stride_elems);
  ATTNC_SAME(ForwardArguments, batch);
  ATTNC_SAME(ForwardArguments, q_heads);
  ATTNC_SAME(ForwardArguments, kv_heads);
  ATTNC_SAME(ForwardArguments, q_len);
  ATTNC_SAME(ForwardArguments, kv_len);
  ATTNC_SAME(ForwardArguments, scale);
  ATTNC_SAME(ForwardArguments, blocks);
  ATTNC_SAME(ForwardArguments, tile_counter);
  ATTNC_SAME(ForwardArguments, out_partial);
  ATTNC_SAME(ForwardArguments, lse_partial);
  ATTNC_SAME(ForwardArguments, kv_splits);
  ATTNC_SAME(ForwardArguments, reserved);
  ATTNC_SAME(ForwardArguments, mask_bits);
#undef ATTNC_SAME
  source += attnc::format("static_assert(sizeof(ForwardArguments) == {}, \"size\");\n", sizeof(ForwardArguments));
  EXPECT_EQ(messages_of(source + body), "");
  // The test itself can fail.
  EXPECT_NE(
      messages_of(source + "static_assert(" + offset_text("ForwardArguments", "q") + " == 8, \"moved\");\n" + body),
      "");
}

TEST(Layout, Params) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  Captures captures;
  const auto add = [&](const char* param_name, Type type) {
    captures.params.push_back({param_name, type, 0, 0, true});
  };
  add("a", Type::f32), add("wide", Type::i64), add("flag", Type::boolean), add("n", Type::i32);
  captures.buffers = {
      {"scalar", DType::f32, 0}, {"line", DType::bf16, 1}, {"grid", DType::i64, 3}, {"unused", DType::boolean, 5}};
  const ScoreMod score =
      score_mod("score * a + f32(wide) + f32(n) + (flag ? 1.0 : 0.0) + scalar[] + line[q_idx] + f32(grid[b, h, q_idx])",
                captures);
  const ir::Program program = passes::canonicalize(ir::lower(score, {}));
  const cuda::ParamLayout layout = cuda::param_layout(program);
  std::string source = "#include \"mods_prelude.cuh\"\nnamespace attnc::mods {\nstruct Mods {\n" +
                       cuda::print_params(program, false) + "};\n" + cuda::print_layout_checks(program, "Mods");
  const auto params = cuda::param_names(program, false), buffers = cuda::buffer_names(program, false);
  for (std::size_t i = 0; i < params.size(); ++i)
    source += attnc::format("static_assert({} == {}, \"{}\");\n", offset_text("Mods::Params", params[i]),
                            layout.params[i].offset_bytes, params[i]);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const int offset = layout.buffers[i].offset_bytes, rank = layout.buffers[i].rank;
    const auto same = [&](const std::string& field, int expected) {
      source += attnc::format("static_assert({} == {}, \"{}\");\n", offset_text("Mods::Params", buffers[i] + field),
                              expected, buffers[i] + field);
    };
    same(".data", offset);
    if (rank == 0) continue;
    same(".stride_elems", offset + 8);
    same(".extent", offset + 8 + 8 * rank);
    same(".extent_u32", offset + 8 + 16 * rank);
  }
  EXPECT_EQ(params.size(), 4u);
  EXPECT_EQ(buffers.size(), 3u);
  EXPECT_EQ(messages_of(source + "}\n" + body), "");
}

}  // namespace
}  // namespace attnc::testing
