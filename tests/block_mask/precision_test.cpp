// SPDX-License-Identifier: Apache-2.0
// How much of each mask interval analysis decides by itself: the table of docs/bounds.md, held here.
//
// `undecided` counts the blocks that had to be looked at; `mixed` those of them that really hold both kinds of element,
// which no analysis can decide. The difference is what the analysis misses.
#include <gtest/gtest.h>

#include "compiler/ir/lower.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "runtime/block_mask.h"

namespace attnc::testing {
namespace {

struct Expectation {
  const char* name;
  MaskMod mask;
  int length;
  std::int64_t blocks, undecided, mixed;  // exactly
};

TEST(Precision, AsDocumented) {
  using namespace stock;
  const int length = 8192;
  std::vector<std::int32_t> doc(length), window = {1024}, lengths = {5000};
  std::vector<std::uint8_t> global(length, 0);
  // Documents of 40 to 1300 tokens.
  for (int i = 0, id = 0, left = 0, state = 1; i < length; ++i, --left) {
    if (left == 0) {
      state = (state * 1103 + 12345) % 32768;
      left = 40 + state % 1261;
      ++id;
    }
    doc[static_cast<std::size_t>(i)] = id;
  }
  for (int i = 0; i < length; i += 1000) global[static_cast<std::size_t>(i)] = 1;

  const Expectation expectations[] = {
      {"causal", causal(), length, 4096, 64, 64},
      {"causal_lower_right", causal_lower_right(), length, 4096, 64, 64},
      {"sliding_window(1024)", sliding_window(1024), length, 4096, 120, 120},
      {"two_sided(1000)", sliding_window_two_sided(1000), length, 4096, 226, 226},
      {"dilated(1000, 4)", dilated(1000, 4), length, 4096, 1016, 1016},
      {"prefix_lm(1000)", prefix_lm(1000), length, 4096, 64, 64},
      {"document", document(), length, 4096, 222, 222},
      {"document & causal", document() & causal(), length, 4096, 170, 170},
      {"neighborhood(56, 5)", neighborhood(56, 5), 3136, 625, 133, 119},
      {"neighborhood_clamped(56, 56, 5)", neighborhood_clamped(56, 56, 5), 3136, 625, 167, 167},
      {"global_or_window(500)", global_or_window(500), length, 4096, 1174, 1174},
      {"padding", padding(), length, 4096, 64, 64},
      {"window_per_head", window_per_head(), length, 4096, 120, 120},
      {"odd_keys_only", odd_keys_only(), length, 4096, 4096, 4096},
      {"checkerboard", checkerboard(), length, 4096, 4096, 4096},
      {"nothing", nothing(), length, 4096, 0, 0},
      {"everything", everything(), length, 4096, 0, 0},
      {"causal & !sliding_window(1024)", causal() & !sliding_window(1024), length, 4096, 120, 56},
      {"sliding_window(256) | document", sliding_window(256) | document(), length, 4096, 214, 214},
  };
  std::string table = "| mask | blocks | undecided | of them mixed |\n|---|---|---|---|\n";
  for (const Expectation& e : expectations) {
    const std::vector<BufferValue> all = {{"doc", TensorView(doc.data(), DType::i32, {length})},
                                          {"global", TensorView(global.data(), DType::boolean, {length})},
                                          {"window", TensorView(window.data(), DType::i32, {1})},
                                          {"length", TensorView(lengths.data(), DType::i32, {1})}};
    std::vector<BufferValue> used;
    for (const BufferDecl& decl : ir::lower({}, e.mask).buffers)
      for (const BufferValue& value : all)
        if (value.name == decl.name) used.push_back(value);
    BlockMaskOptions options;
    options.buffers = used;
    const BlockMask mask = BlockMask::create(e.mask, 1, 1, e.length, e.length, options);
    const std::int64_t blocks = static_cast<std::int64_t>(mask.q_blocks()) * mask.kv_blocks();
    EXPECT_EQ(blocks, e.blocks) << e.name;
    EXPECT_EQ(mask.stats().evaluated, e.undecided) << e.name;
    EXPECT_EQ(mask.partial_blocks(), e.mixed) << e.name;
    table += attnc::format("| {} | {} | {} | {} |\n", e.name, blocks, mask.stats().evaluated, mask.partial_blocks());
  }
  attnc::print(stdout, "{}", table);
}

}  // namespace
}  // namespace attnc::testing
