// SPDX-License-Identifier: Apache-2.0
// Tables equal brute force: every named mask, several lengths and block sizes, both sides of the tables.
#include <gtest/gtest.h>

#include <algorithm>

#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "runtime/backend.h"
#include "runtime/block_mask_build.h"
#include "runtime/validate.h"
#include "tests/block_mask/brute_force.h"
#include "tests/support/mod_cases.h"
#include "tests/support/random_mod.h"

namespace attnc::testing {
namespace {

struct Shape {
  int q_len, kv_len;
  BlockSize size;
};

/// The lists say what the dense form says, ascending, on both sides.
void expect_consistent(const BlockMask& mask, const std::vector<std::uint8_t>& dense, const std::string& what) {
  const int rows = mask.q_blocks(), columns = mask.kv_blocks();
  auto check = [&](std::span<const std::int32_t> counts, std::span<const std::int32_t> indices, int width, bool by_row,
                   int kind, const char* name) {
    const int lists = by_row ? rows : columns, entries = by_row ? columns : rows;
    ASSERT_EQ(counts.size(), static_cast<std::size_t>(mask.batch() * mask.heads() * lists)) << what << name;
    ASSERT_EQ(indices.size(), counts.size() * static_cast<std::size_t>(width)) << what << name;
    int widest = 0;
    for (int g = 0; g < mask.batch() * mask.heads(); ++g)
      for (int i = 0; i < lists; ++i) {
        const auto list = static_cast<std::size_t>(g * lists + i);
        std::vector<std::int32_t> expected;
        for (int j = 0; j < entries; ++j) {
          const int row = by_row ? i : j, column = by_row ? j : i;
          if (dense[static_cast<std::size_t>((g * rows + row) * columns + column)] == kind) expected.push_back(j);
        }
        const auto begin = indices.begin() + static_cast<std::ptrdiff_t>(list) * width;
        ASSERT_EQ(std::vector<std::int32_t>(begin, begin + counts[list]), expected) << what << name << " list " << list;
        widest = std::max(widest, counts[list]);
      }
    EXPECT_EQ(width, std::max(1, widest)) << what << name;
  };
  check(mask.kv_num_blocks(), mask.kv_indices(), mask.kv_width(), true, 1, " kv");
  check(mask.full_kv_num_blocks(), mask.full_kv_indices(), mask.full_kv_width(), true, 2, " full_kv");
  check(mask.q_num_blocks(), mask.q_indices(), mask.q_width(), false, 1, " q");
  check(mask.full_q_num_blocks(), mask.full_q_indices(), mask.full_q_width(), false, 2, " full_q");
}

/// The same rows with the mask compiled from the start, where there is a compiler for this CPU, as with none.
void expect_same_compiled(const ir::Program& program, const ir::Bindings& bindings, const Shape& shape, int B, int H,
                          const std::string& what) {
  BlockMaskRequest request{program, bindings, B, H, shape.q_len, shape.kv_len, shape.size};
  BlockMaskStats interpreted_stats, compiled_stats;
  request.interpret_for = std::chrono::hours(1);
  const BlockRows interpreted = build_block_rows(request, interpreted_stats);
  request.interpret_for = std::chrono::nanoseconds(0);
  const BlockRows compiled = build_block_rows(request, compiled_stats);
  ASSERT_EQ(compiled.offsets, interpreted.offsets) << what;
  ASSERT_EQ(compiled.runs, interpreted.runs) << what;
  EXPECT_EQ(compiled_stats.evaluated, interpreted_stats.evaluated) << what;
}

void expect_exact(const ModCase& mod, const Shape& shape, int B, int H) {
  ProblemSpec spec;
  spec.batch = B, spec.q_heads = H, spec.kv_heads = H, spec.q_len = shape.q_len, spec.kv_len = shape.kv_len;
  spec.head_dim = spec.head_dim_v = 16;
  Problem problem(spec);
  if (mod.bind) mod.bind(problem);

  const ir::Program declared = ir::lower({}, mod.mask);
  const ir::Program program = passes::canonicalize(declared);
  const std::vector<BufferValue> buffers = problem.buffer_values(declared);
  const std::vector<ParamValue> params = problem.param_values(declared);
  BlockMaskOptions options;
  options.block_size = shape.size;
  options.params = params;
  options.buffers = buffers;
  const BlockMask mask = BlockMask::create(mod.mask, B, H, shape.q_len, shape.kv_len, options);
  const ir::Bindings bindings = bind_captures(program, declared, params, buffers, "test");
  const std::string what =
      attnc::format("{} {} x {} in {} x {}", mod.name, shape.q_len, shape.kv_len, shape.size.q, shape.size.kv);
  const std::vector<std::uint8_t> expected =
      program.mask == ir::no_value
          ? std::vector<std::uint8_t>(static_cast<std::size_t>(B * H * mask.q_blocks() * mask.kv_blocks()), 2)
          : brute_force(program, bindings, B, H, shape.q_len, shape.kv_len, shape.size);
  ASSERT_EQ(mask.to_dense(), expected) << what << '\n' << mask.to_string();
  if (program.mask != ir::no_value) expect_same_compiled(program, bindings, shape, B, H, what);
  expect_consistent(mask, expected, what);
  EXPECT_EQ(mask.stats().proved_full + mask.stats().proved_empty + mask.stats().evaluated,
            static_cast<std::int64_t>(expected.size()))
      << what;
  EXPECT_EQ(mask.full_blocks(), std::count(expected.begin(), expected.end(), 2)) << what;
  EXPECT_EQ(mask.partial_blocks(), std::count(expected.begin(), expected.end(), 1)) << what;

  options.separate_full_blocks = false;
  std::vector<std::uint8_t> merged = expected;
  for (auto& v : merged) v = v != 0;
  EXPECT_EQ(BlockMask::create(mod.mask, B, H, shape.q_len, shape.kv_len, options).to_dense(), merged) << what;
}

TEST(Exactness, NamedMasks) {
  const Shape shapes[] = {
      {1, 1, {16, 16}},       {37, 2, {16, 16}},      {63, 65, {16, 32}},     {128, 128, {64, 64}},
      {257, 129, {32, 16}},   {129, 257, {64, 16}},   {243, 243, {128, 128}}, {1000, 1000, {128, 128}},
      {1000, 500, {64, 128}}, {300, 1025, {512, 48}},
  };
  for (const ModCase& mod : mask_cases())
    for (const Shape& shape : shapes) expect_exact(mod, shape, 2, 2);
}

TEST(Exactness, RandomMasks) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    const ModCase mod = random_mod(seed);
    if (mod.mask.is_everything()) continue;
    const Shape shape{40 + static_cast<int>(seed * 7 % 100),
                      30 + static_cast<int>(seed * 13 % 120),
                      {16 * (1 + static_cast<int>(seed % 3)), 16 * (1 + static_cast<int>(seed / 3 % 3))}};
    expect_exact(mod, shape, 2, 3);
  }
}

TEST(Exactness, EmptySequences) {
  const BlockMask no_rows = BlockMask::create(stock::causal(), 2, 3, 0, 100, {});
  EXPECT_EQ(no_rows.q_blocks(), 0);
  EXPECT_TRUE(no_rows.to_dense().empty());
  const BlockMask no_keys = BlockMask::create(stock::causal(), 1, 1, 100, 0, {});
  EXPECT_EQ(no_keys.kv_blocks(), 0);
  EXPECT_EQ(no_keys.kv_num_blocks().size(), 1u);
  EXPECT_EQ(no_keys.kv_num_blocks()[0], 0);
  EXPECT_EQ(no_keys.sparsity(), 0.0);
}

TEST(Exactness, RunsAreWhatBackendsSee) {
  const BlockMask mask = BlockMask::create(stock::causal(), 1, 1, 1000, 1000, {});
  for (int i = 0; i < mask.q_blocks(); ++i) {
    const auto runs = BlockMaskAccess::row_runs(mask, 5, 7, i);  // batch and heads broadcast
    ASSERT_EQ(runs.size(), i == 0 ? 1u : 2u);
    if (i > 0) {
      EXPECT_EQ(runs[0], (BlockRun{0, i, true}));
    }
    EXPECT_EQ(runs.back(), (BlockRun{i, i + 1, false}));
  }
  const BlockTables tables = BlockMaskAccess::tables(mask);
  EXPECT_EQ(tables.indices_row_stride, 1);
  EXPECT_EQ(tables.full_indices_row_stride, 7);
  EXPECT_EQ(tables.full_kv_num_blocks[7], 7);
  int made = 0;
  auto make = [&] { return ++made, std::make_shared<int>(3); };
  const auto first = BlockMaskAccess::device_copy(mask, make), second = BlockMaskAccess::device_copy(mask, make);
  EXPECT_EQ(first, second);
  EXPECT_EQ(made, 1);
}

}  // namespace
}  // namespace attnc::testing
