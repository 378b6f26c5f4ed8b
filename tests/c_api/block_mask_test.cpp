// SPDX-License-Identifier: Apache-2.0
// Block masks through the C API hold what those of the C++ API hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "support.h"

namespace attnc::c_api_test {
namespace {

constexpr int kHeads = 3, kQ = 300, kKv = 260, kBlock = 32;

attnc_block_mask_options options(const char* text) {
  auto o = sized<attnc_block_mask_options>();
  o.mask_mod = text;
  o.heads = kHeads;
  o.q_len = kQ;
  o.kv_len = kKv;
  o.block_q = o.block_kv = kBlock;
  return o;
}

/// Runs a function that makes a mask.
template <class Make>
BlockMaskPtr made(Make&& make) {
  attnc_block_mask* raw = nullptr;
  const Answer answer = ask([&](attnc_error** e) { return make(&raw, e); });
  EXPECT_EQ(answer.status, ATTNC_OK) << answer.message;
  return BlockMaskPtr(raw);
}

BlockMaskPtr create(const attnc_block_mask_options& o) {
  return made([&](attnc_block_mask** out, attnc_error** e) { return attnc_block_mask_create(&o, out, e); });
}

attnc_block_mask_info info(const BlockMaskPtr& mask) {
  auto i = sized<attnc_block_mask_info>();
  EXPECT_EQ(attnc_block_mask_get_info(mask.get(), &i, nullptr), ATTNC_OK);
  return i;
}

attnc_block_mask_tables tables(const BlockMaskPtr& mask) {
  auto t = sized<attnc_block_mask_tables>();
  EXPECT_EQ(attnc_block_mask_get_tables(mask.get(), &t, nullptr), ATTNC_OK);
  return t;
}

std::vector<std::uint8_t> dense(const BlockMaskPtr& mask) {
  const attnc_block_mask_info i = info(mask);
  std::vector<std::uint8_t> d(static_cast<std::size_t>(i.batch) * i.heads * i.q_blocks * i.kv_blocks, 9);
  const Answer answer =
      ask([&](attnc_error** e) { return attnc_block_mask_to_dense(mask.get(), d.data(), d.size(), e); });
  EXPECT_EQ(answer.status, ATTNC_OK) << answer.message;
  return d;
}

TEST(CApiBlockMask, ElementBitsAreNamedAndOlderCallersHaveNone) {
  const auto status_of = [](attnc_block_mask_options o) {
    attnc_block_mask* raw = nullptr;
    const Answer answer = ask([&](attnc_error** e) { return attnc_block_mask_create(&o, &raw, e); });
    const BlockMaskPtr mask(raw);
    return answer;
  };
  attnc_block_mask_options o = options("q_idx >= kv_idx");
  for (const attnc_element_bits bits :
       {ATTNC_ELEMENT_BITS_AUTOMATIC, ATTNC_ELEMENT_BITS_ALWAYS, ATTNC_ELEMENT_BITS_NEVER}) {
    o.element_bits = bits;
    EXPECT_EQ(status_of(o).status, ATTNC_OK) << "on the CPU, where nothing reads them";
  }
  for (const attnc_element_bits bits : {-1, 3}) {
    o.element_bits = bits;
    EXPECT_EQ(status_of(o).status, ATTNC_INVALID_ARGUMENT);
    EXPECT_NE(status_of(o).message.find("element_bits is " + std::to_string(bits)), std::string::npos)
        << status_of(o).message;
  }
  // A program of version 1 knows a shorter struct; what lies behind it is not read.
  o.struct_size = offsetof(attnc_block_mask_options, element_bits);
  EXPECT_EQ(status_of(o).status, ATTNC_OK);
}

constexpr const char* kWindow = "q_idx >= kv_idx && q_idx - kv_idx < 50 * (h + 1)";

TEST(CApiBlockMask, AgreesWithCpp) {
  const BlockMaskPtr mask = create(options(kWindow));
  const BlockMask expected = BlockMask::create(mask_mod(kWindow), 1, kHeads, kQ, kKv, {.block_size = {kBlock, kBlock}});
  EXPECT_EQ(dense(mask), expected.to_dense());
  const attnc_block_mask_info i = info(mask);
  EXPECT_EQ(i.batch, 1);
  EXPECT_EQ(i.heads, kHeads);
  EXPECT_EQ(i.q_len, kQ);
  EXPECT_EQ(i.kv_len, kKv);
  EXPECT_EQ(i.q_blocks, expected.q_blocks());
  EXPECT_EQ(i.kv_blocks, expected.kv_blocks());
  EXPECT_EQ(i.block_q, kBlock);
  EXPECT_EQ(i.sparsity, expected.sparsity());
  EXPECT_EQ(i.full_blocks, expected.full_blocks());
  EXPECT_EQ(i.partial_blocks, expected.partial_blocks());
  EXPECT_EQ(i.empty_blocks, expected.empty_blocks());
  EXPECT_GT(i.full_blocks, 0);
  EXPECT_GT(i.partial_blocks, 0);

  const attnc_block_mask_tables t = tables(mask);
  EXPECT_TRUE(std::equal(expected.kv_num_blocks().begin(), expected.kv_num_blocks().end(), t.kv_num_blocks));
  EXPECT_TRUE(
      std::equal(expected.full_q_num_blocks().begin(), expected.full_q_num_blocks().end(), t.full_q_num_blocks));
  EXPECT_EQ(t.kv_width, expected.kv_width());
  EXPECT_EQ(t.full_q_width, expected.full_q_width());
}

TEST(CApiBlockMask, TablesRebuildTheMask) {
  const BlockMaskPtr mask = create(options(kWindow));
  const attnc_block_mask_tables t = tables(mask);
  auto blocks = sized<attnc_kv_blocks>();
  blocks.kv_num_blocks = t.kv_num_blocks;
  blocks.kv_indices = t.kv_indices;
  blocks.full_kv_num_blocks = t.full_kv_num_blocks;
  blocks.full_kv_indices = t.full_kv_indices;
  blocks.kv_width = t.kv_width;
  blocks.full_kv_width = t.full_kv_width;
  blocks.heads = kHeads;
  blocks.q_len = kQ;
  blocks.kv_len = kKv;
  blocks.block_q = blocks.block_kv = kBlock;
  const BlockMaskPtr rebuilt =
      made([&](attnc_block_mask** out, attnc_error** e) { return attnc_block_mask_from_kv_blocks(&blocks, out, e); });
  ASSERT_NE(rebuilt, nullptr);
  EXPECT_EQ(dense(rebuilt), dense(mask));

  const auto refused = [&](const attnc_kv_blocks& b) {
    attnc_block_mask* raw = nullptr;
    const Answer answer = ask([&](attnc_error** e) { return attnc_block_mask_from_kv_blocks(&b, &raw, e); });
    EXPECT_EQ(raw, nullptr);
    return answer.status == ATTNC_INVALID_ARGUMENT && !answer.message.empty();
  };
  for (std::int32_t attnc_kv_blocks::*member :
       {&attnc_kv_blocks::batch, &attnc_kv_blocks::heads, &attnc_kv_blocks::q_len, &attnc_kv_blocks::kv_len,
        &attnc_kv_blocks::block_q, &attnc_kv_blocks::block_kv, &attnc_kv_blocks::kv_width,
        &attnc_kv_blocks::full_kv_width}) {
    attnc_kv_blocks bad = blocks;
    bad.*member = -1;
    EXPECT_TRUE(refused(bad));
  }
  attnc_kv_blocks bad = blocks;
  bad.full_kv_indices = nullptr;
  EXPECT_TRUE(refused(bad));
  bad = blocks;
  bad.batch = bad.heads = bad.q_len = INT32_MAX;
  EXPECT_TRUE(refused(bad));
}

TEST(CApiBlockMask, SlicesAndCombines) {
  const BlockMaskPtr window = create(options(kWindow));
  const BlockMaskPtr even = create(options("kv_idx % 2 == 0"));
  const std::vector<std::uint8_t> w = dense(window), e = dense(even);
  const BlockMaskPtr both = made([&](attnc_block_mask** out, attnc_error** err) {
    return attnc_block_mask_and(window.get(), even.get(), out, err);
  });
  const BlockMaskPtr either = made([&](attnc_block_mask** out, attnc_error** err) {
    return attnc_block_mask_or(window.get(), even.get(), out, err);
  });
  const std::vector<std::uint8_t> b = dense(both), o = dense(either);
  for (std::size_t i = 0; i < w.size(); ++i) {
    EXPECT_EQ(b[i] == 0, w[i] == 0 || e[i] == 0);
    EXPECT_EQ(o[i] == 2, w[i] == 2 || e[i] == 2);
  }
  const attnc_block_mask_info whole = info(window);
  const BlockMaskPtr head = made(
      [&](attnc_block_mask** out, attnc_error** err) { return attnc_block_mask_slice(window.get(), -1, 1, out, err); });
  const std::size_t per_head = static_cast<std::size_t>(whole.q_blocks) * whole.kv_blocks;
  EXPECT_EQ(dense(head), std::vector<std::uint8_t>(w.begin() + per_head, w.begin() + 2 * per_head));
  const BlockMaskPtr rows = made([&](attnc_block_mask** out, attnc_error** err) {
    return attnc_block_mask_slice_q_blocks(head.get(), 2, 5, out, err);
  });
  EXPECT_EQ(dense(rows), std::vector<std::uint8_t>(w.begin() + per_head + 2 * whole.kv_blocks,
                                                   w.begin() + per_head + 5 * whole.kv_blocks));
  attnc_block_mask* raw = nullptr;
  EXPECT_EQ(attnc_block_mask_slice(window.get(), -1, kHeads, &raw, nullptr), ATTNC_INVALID_ARGUMENT);
  EXPECT_EQ(attnc_block_mask_slice_q_blocks(window.get(), 5, 2, &raw, nullptr), ATTNC_INVALID_ARGUMENT);
  EXPECT_EQ(raw, nullptr);
}

TEST(CApiBlockMask, PictureAndDenseCapacity) {
  const BlockMaskPtr mask = create(options("q_idx >= kv_idx"));
  char* text = nullptr;
  ASSERT_EQ(attnc_block_mask_to_string(mask.get(), 0, 0, 40, &text, nullptr), ATTNC_OK);
  const TextPtr owned(text);
  EXPECT_GE(std::count(text, text + std::string(text).size(), '\n'), 2);
  std::uint8_t one = 7;
  const Answer answer = ask([&](attnc_error** e) { return attnc_block_mask_to_dense(mask.get(), &one, 1, e); });
  EXPECT_EQ(answer.status, ATTNC_INVALID_ARGUMENT);
  EXPECT_EQ(one, 7);
}

TEST(CApiBlockMask, OnlyPartialBlocks) {
  attnc_block_mask_options o = options("q_idx >= kv_idx");
  o.only_partial_blocks = 1;
  EXPECT_EQ(info(create(o)).full_blocks, 0);
}

TEST(CApiBlockMask, CapturesBuffers) {
  std::vector<std::int32_t> ids(kQ);
  for (int i = 0; i < kQ; ++i) ids[static_cast<std::size_t>(i)] = i / 64;
  const attnc_buffer_decl decl{"doc", ATTNC_DTYPE_I32, 1};
  const attnc_buffer_value value{"doc", tensor(ids.data(), ATTNC_DTYPE_I32, {kQ})};
  attnc_block_mask_options o = options("doc[q_idx] == doc[kv_idx]");
  o.buffers = &decl;
  o.num_buffers = 1;
  attnc_block_mask* raw = nullptr;
  const Answer answer = ask([&](attnc_error** e) { return attnc_block_mask_create(&o, &raw, e); });
  EXPECT_EQ(answer.status, ATTNC_INVALID_ARGUMENT);
  EXPECT_NE(answer.message.find("doc"), std::string::npos) << answer.message;
  o.buffer_values = &value;
  o.num_buffer_values = 1;
  const BlockMaskPtr mask = create(o);
  ASSERT_NE(mask, nullptr);
  EXPECT_GT(info(mask).sparsity, 50);
}

TEST(CApiBlockMask, RebuiltForNewValues) {
  const attnc_param_decl decl{"window", ATTNC_TYPE_I32, 1, 0, 50};
  attnc_block_mask_options o = options("q_idx >= kv_idx && q_idx - kv_idx < window");
  o.params = &decl;
  o.num_params = 1;
  const BlockMaskPtr mask = create(o), narrow = create(o);
  auto anew = sized<attnc_block_mask_rebuild_options>();
  attnc_param_value value{};
  value.name = "window";
  value.is_integer = 1;
  value.integer = 150;
  value.real = 150;
  anew.param_values = &value;
  anew.num_param_values = 1;
  const Answer answer = ask([&](attnc_error** e) { return attnc_block_mask_rebuild(mask.get(), &anew, e); });
  EXPECT_EQ(answer.status, ATTNC_OK) << answer.message;
  EXPECT_NE(dense(mask), dense(narrow));
  o.param_values = &value;
  o.num_param_values = 1;
  EXPECT_EQ(dense(mask), dense(create(o)));
}

TEST(CApiBlockMask, Complement) {
  const BlockMaskPtr mask = create(options(kWindow));
  const BlockMaskPtr rest =
      made([&](attnc_block_mask** out, attnc_error** e) { return attnc_block_mask_not(mask.get(), out, e); });
  const std::vector<std::uint8_t> a = dense(mask), b = dense(rest);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(b[i], 2 - a[i]);
}

}  // namespace
}  // namespace attnc::c_api_test
