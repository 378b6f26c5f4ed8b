// SPDX-License-Identifier: Apache-2.0
// What can be done with a BlockMask, and what is refused.
#include <gtest/gtest.h>

#include <thread>

#include "dsl/stock.h"
#include "runtime/block_mask.h"

namespace attnc::testing {
namespace {

using stock::causal;
using stock::document;
using stock::sliding_window;

BlockMask make(const MaskMod& mask, int q_len = 1000, int kv_len = 1000, int B = 1, int H = 1) {
  return BlockMask::create(mask, B, H, q_len, kv_len);
}

template <class F>
void expect_refused(F&& f, std::initializer_list<const char*> parts) {
  try {
    f();
    ADD_FAILURE() << "not refused: " << *parts.begin();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    for (const char* part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " in: " << error.what();
  }
}

TEST(Operations, Picture) {
  EXPECT_EQ(make(causal(), 512, 512).to_string(),
            "░   \n"
            "█░  \n"
            "██░ \n"
            "███░\n");
  EXPECT_EQ(make(causal(), 1024, 1024).to_string(0, 0, 4),
            "░   \n"
            "█░  \n"
            "██░ \n"
            "███░\n");
  EXPECT_EQ(make(stock::everything(), 100, 300).to_string(), "███\n");
}

TEST(Operations, SparsityCountsEmptyBlocks) {
  EXPECT_DOUBLE_EQ(make(causal(), 512, 512).sparsity(), 37.5);
  EXPECT_DOUBLE_EQ(make(stock::nothing()).sparsity(), 100.0);
  EXPECT_DOUBLE_EQ(make(stock::everything()).sparsity(), 0.0);
}

TEST(Operations, Equality) {
  EXPECT_EQ(make(causal()), make(mask_mod("kv_idx <= q_idx")));
  EXPECT_EQ(BlockMask(), BlockMask());
  EXPECT_FALSE(make(causal()) == BlockMask());
  EXPECT_FALSE(make(causal()) == make(causal(), 1000, 999));
  EXPECT_FALSE(make(causal()) == make(sliding_window(500)));
}

TEST(Operations, SliceByBatchAndHead) {
  const MaskMod mask = mask_mod("kv_idx < 128 * (b + 1) + 256 * h");
  const BlockMask all = make(mask, 300, 900, 2, 3);
  for (int b = 0; b < 2; ++b)
    for (int h = 0; h < 3; ++h) {
      const BlockMask one = all.slice(b, h);
      EXPECT_EQ(one.batch(), 1);
      EXPECT_EQ(one.heads(), 1);
      for (int i = 0; i < one.q_blocks(); ++i)
        EXPECT_EQ(one.full_kv_num_blocks()[static_cast<std::size_t>(i)], std::min(b + 1 + 2 * h, 8));
    }
  EXPECT_EQ(all.slice({}, 1).batch(), 2);
  EXPECT_EQ(all.slice(1, {}).heads(), 3);
  EXPECT_EQ(all.slice({}, {}), all);
  expect_refused([&] { (void)all.slice(2, {}); }, {"b is 2", "0 to 1"});
  expect_refused([&] { (void)all.slice({}, -1); }, {"h is -1", "0 to 2"});
}

TEST(Operations, SliceByRowsOfBlocks) {
  const BlockMask all = make(causal());
  const BlockMask part = all.slice_q_blocks(3, 8);
  EXPECT_EQ(part.q_len(), 1000 - 3 * 128);
  EXPECT_EQ(part.q_blocks(), 5);
  const std::vector<std::uint8_t> dense = all.to_dense();
  EXPECT_EQ(part.to_dense(), std::vector<std::uint8_t>(dense.begin() + 3 * 8, dense.end()));
  EXPECT_EQ(all.slice_q_blocks(2, 2).q_blocks(), 0);
  expect_refused([&] { (void)all.slice_q_blocks(3, 9); }, {"[3, 9)", "8 rows"});
}

TEST(Operations, AndOr) {
  const MaskMod near = sliding_window(300), early = mask_mod("kv_idx < 200 && h == 0");
  const BlockMask a = make(near), b = make(early, 1000, 1000, 1, 2);
  const std::vector<std::uint8_t> x = a.to_dense(), y = b.to_dense(), both = (a & b).to_dense(),
                                  any = (a | b).to_dense();
  ASSERT_EQ((a & b).heads(), 2);
  ASSERT_EQ(both.size(), y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(both[i], std::min(x[i % x.size()], y[i]));
    EXPECT_EQ(any[i], std::max(x[i % x.size()], y[i]));
  }
  // What the combined mask really keeps lies inside.
  const std::vector<std::uint8_t> exact = make(near & early, 1000, 1000, 1, 2).to_dense();
  for (std::size_t i = 0; i < exact.size(); ++i) {
    if (exact[i] != 0) {
      EXPECT_NE(both[i], 0);
    }
    if (both[i] == 2) {
      EXPECT_EQ(exact[i], 2);
    }
  }
  expect_refused([&] { (void)(a & make(near, 1000, 900)); }, {"1000 x 1000", "1000 x 900"});
  BlockMaskOptions small;
  small.block_size = {64, 64};
  expect_refused([&] { (void)(a | BlockMask::create(near, 1, 1, 1000, 1000, small)); }, {"128 x 128", "64 x 64"});
  expect_refused([&] { (void)(a & BlockMask()); }, {"empty"});
  expect_refused([&] { (void)(make(near, 1000, 1000, 1, 3) & b); }, {"heads", "3", "2"});
}

TEST(Operations, RoomIsNotNegative) {
  const auto create = [](const BlockMaskOptions& options) {
    (void)BlockMask::create(sliding_window(300), 1, 1, 1000, 1000, options);
  };
  expect_refused([&] { create({.max_list_bytes = -1}); }, {"max_list_bytes is -1", "0 or more"});
  expect_refused([&] { create({.max_bit_bytes = -2048}); }, {"max_bit_bytes is -2048", "0 or more"});
}

TEST(Operations, FromKvBlocks) {
  const BlockMask made = make(sliding_window(300), 1000, 1000, 2, 1);
  const BlockMask same = BlockMask::from_kv_blocks(made.kv_num_blocks(), made.kv_indices(), made.full_kv_num_blocks(),
                                                   made.full_kv_indices(), 2, 1, 1000, 1000);
  EXPECT_EQ(made, same);
  // As FlexAttention makes them: kv_blocks wide, entries past the count arbitrary.
  const std::int32_t counts[] = {1, 2}, indices[] = {1, 99, -7, 0, 2, 55};
  const BlockMask flex = BlockMask::from_kv_blocks(counts, indices, {}, {}, 1, 1, 200, 384);
  EXPECT_EQ(flex.to_dense(), (std::vector<std::uint8_t>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(flex.q_num_blocks()[2], 1);

  const std::int32_t bad_count[] = {1, 4}, descending[] = {1, 0, 0, 2, 1, 0}, outside[] = {1, 0, 0, 0, 3, 0};
  expect_refused([&] { BlockMask::from_kv_blocks(bad_count, indices, {}, {}, 1, 1, 200, 384); },
                 {"kv_num_blocks[1] is 4", "0 to 3"});
  expect_refused([&] { BlockMask::from_kv_blocks(counts, descending, {}, {}, 1, 1, 200, 384); },
                 {"kv_indices of row 1", "ascend"});
  expect_refused([&] { BlockMask::from_kv_blocks(counts, outside, {}, {}, 1, 1, 200, 384); }, {"entry 1 is 3"});
  expect_refused([&] { BlockMask::from_kv_blocks(counts, indices, counts, indices, 1, 1, 200, 384); },
                 {"block 1 of row 0", "in one"});
  expect_refused([&] { BlockMask::from_kv_blocks(std::span(counts, 1), indices, {}, {}, 1, 1, 200, 384); },
                 {"kv_num_blocks has 1", "2"});
  expect_refused([&] { BlockMask::from_kv_blocks(counts, std::span(indices, 5), {}, {}, 1, 1, 200, 384); },
                 {"kv_indices has 5"});
}

TEST(Operations, BadArguments) {
  expect_refused([] { make(causal(), 10, 10, 0, 1); }, {"B is 0", "at least 1"});
  expect_refused([] { make(causal(), 10, 10, 1, -2); }, {"H is -2"});
  expect_refused([] { make(causal(), -1, 10); }, {"q_len is -1"});
  expect_refused([] { make(causal(), 10, 2000000000); }, {"kv_len is 2000000000", "1073741824"});
  for (const int size : {0, 8, 24, 528, -16}) {
    BlockMaskOptions options;
    options.block_size = {size, 128};
    expect_refused([&] { BlockMask::create(causal(), 1, 1, 10, 10, options); }, {"block_size.q is", "multiple of 16"});
    options.block_size = {128, size};
    expect_refused([&] { BlockMask::create(causal(), 1, 1, 10, 10, options); }, {"block_size.kv is"});
  }
  expect_refused([] { make(document()); }, {"doc"});
  EXPECT_THROW((void)make(causal()).to_string(1), Error);
  EXPECT_THROW((void)make(causal()).to_string(0, 0, 0), Error);
}

TEST(Operations, ManyThreadsShareOneMask) {
  const BlockMask mask = make(sliding_window(5000), 100000, 100000);
  std::vector<std::thread> threads;
  std::vector<std::size_t> sizes(8);
  for (std::size_t t = 0; t < sizes.size(); ++t)
    threads.emplace_back([&, t] { sizes[t] = mask.kv_indices().size() + mask.full_q_indices().size(); });
  for (std::thread& thread : threads) thread.join();
  for (const std::size_t size : sizes) EXPECT_EQ(size, sizes[0]);
}

TEST(Operations, AMillionTokensStaySmall) {
  const int length = 1 << 20;
  const BlockMask mask = BlockMask::create(causal() & mask_mod("q_idx / 4096 == kv_idx / 4096"), 1, 1, length, length);
  EXPECT_EQ(mask.partial_blocks(), 8192);
  EXPECT_EQ(mask.full_blocks(), 256 * (32 * 31 / 2));
  EXPECT_EQ(mask.stats().evaluated, 8192);
  EXPECT_EQ(mask.full_kv_width(), 31);
  EXPECT_EQ(mask.full_kv_indices().size(), 8192u * 31);
}

TEST(Operations, Complement) {
  const BlockMask mask = make(causal(), 1000, 700, 2, 1);
  const BlockMask rest = ~mask;
  const std::vector<std::uint8_t> a = mask.to_dense(), b = rest.to_dense();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(b[i], 2 - a[i]) << i;
  EXPECT_EQ(~rest, mask);
  EXPECT_EQ((mask & rest).full_blocks(), 0);
  EXPECT_EQ(~make(stock::nothing()), make(stock::everything()));
  expect_refused([] { return ~BlockMask(); }, {"empty"});
  EXPECT_FALSE(!mask) << "! asks whether there is a mask";
}

TEST(Operations, RebuildTakesNewValues) {
  const auto width = param("width", 100);
  const MaskMod mod = mask_mod([=](Index, Index, Index q, Index kv) { return q >= kv && q - kv < width; });
  BlockMask mask = make(mod);
  const BlockMask copy = mask;
  const ParamValue wide{"width", 400};
  mask.rebuild({.params = {&wide, 1}});
  EXPECT_EQ(mask, make(sliding_window(400)));
  EXPECT_EQ(copy, mask) << "copies change with it";
  EXPECT_EQ(mask.kv_num_blocks().size(), make(sliding_window(400)).kv_num_blocks().size());
  mask.rebuild({});
  EXPECT_EQ(mask, make(sliding_window(100)));
  EXPECT_EQ(mask.device_bytes(), 0);
  BlockMask both = mask & copy;
  expect_refused([&] { both.rebuild({}); }, {"BlockMask::rebuild", "create"});
  const ParamValue unknown{"wide", 400};
  expect_refused([&] { mask.rebuild({.params = {&unknown, 1}}); }, {"wide"});
  EXPECT_EQ(mask, make(sliding_window(100))) << "a refused rebuild changes nothing";
}

TEST(Operations, LoadedTablesCanBeForAGpu) {
  const BlockMask made = make(causal());
  const BlockMask loaded = BlockMask::from_kv_blocks(made.kv_num_blocks(), made.kv_indices(), made.full_kv_num_blocks(),
                                                     made.full_kv_indices(), 1, 1, 1000, 1000, {}, Device::cuda(1));
  EXPECT_EQ(loaded.device(), Device::cuda(1));
  EXPECT_EQ(loaded.to_dense(), made.to_dense());
  EXPECT_FALSE(loaded == made) << "they live on different devices";
  EXPECT_EQ(loaded.slice(0, 0).device(), Device::cuda(1));
  EXPECT_EQ((~loaded).device(), Device::cuda(1));
}

}  // namespace
}  // namespace attnc::testing
