// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compiler/ir/interpret.h"
#include "compiler/ir/lower.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"
#include "dsl/stock.h"
#include "tests/support/random_mod.h"

namespace attnc {
namespace {

ir::Program canonical_mask(const Expr& mask) { return passes::canonicalize(ir::lower({}, MaskMod(mask))); }

Index q() { return input(Input::q_idx); }
Index kv() { return input(Input::kv_idx); }

TEST(Fold, DecidesWhatIsConstant) {
  EXPECT_EQ(ir::print(canonical_mask(q() == q() || kv() > 3)), "%0 = literal bool true\nmask %0\n");
  EXPECT_EQ(ir::print(canonical_mask(q() - q() + 2 * 3 == 7)), "%0 = literal bool false\nmask %0\n");
}

TEST(Fold, KeepsWhatFloatsDoNotAllow) {
  const Expr s = input(Input::score);
  const auto same = [](const Expr& a) { return ir::print(passes::canonicalize(ir::lower(ScoreMod(a), {}))); };
  EXPECT_NE(same(s + 0.0f), same(s)) << "-0 + 0 is 0";
  EXPECT_NE(same(s * 0.0f), same(Expr(0.0f))) << "NaN * 0 is NaN";
  EXPECT_NE(same(s - s), same(Expr(0.0f))) << "inf - inf is NaN";
  EXPECT_EQ(same(s * 1.0f), same(s));
  EXPECT_EQ(same(s / 4.0f), same(s * 0.25f));
  EXPECT_NE(same(s / 3.0f), same(s * (1.0f / 3.0f)));
}

TEST(Signature, DependsOnMeaningOnly) {
  const auto text = [](const MaskMod& mask) { return ir::print(passes::canonicalize(ir::lower({}, mask)), true); };
  EXPECT_EQ(text(stock::sliding_window(param("window", 5))), text(stock::sliding_window(param("w", 900))))
      << "names and defaults";
  EXPECT_NE(text(stock::sliding_window(5)), text(stock::sliding_window(6)));
  EXPECT_EQ(text(MaskMod(q() >= kv() && kv() + q() > 3)), text(MaskMod(q() >= kv() && q() + kv() > 3)))
      << "order of operands";
}

TEST(Placement, LevelsOfANeighborhood) {
  const ir::Program program = canonical_mask(abs(q() / 56 - kv() / 56) < 5);
  const auto levels = passes::placement(program);
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const ir::Inst& inst = program.insts[id];
    if (inst.op == Op::div) {
      const bool of_q = program[inst.operands[0]].input == Input::q_idx;
      EXPECT_EQ(levels[id], of_q ? ir::Level::row : ir::Level::column);
    }
    if (inst.op == Op::abs) {
      EXPECT_EQ(levels[id], ir::Level::element);
    }
  }
}

TEST(Placement, DifferencesAreDiagonal) {
  const ir::Program program = passes::canonicalize(ir::lower(stock::relative_bias(100), {}));
  const auto levels = passes::placement(program);
  for (std::size_t id = 0; id < program.insts.size(); ++id)
    if (program.insts[id].op == Op::load) {
      EXPECT_EQ(levels[id], ir::Level::diagonal);
    }
}

/// The kernel form computes the same score, in log2 units, up to float reassociation.
TEST(KernelForm, KeepsTheScore) {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const testing::ModCase mods = testing::random_mod(seed);
    if (mods.score.is_identity()) continue;
    testing::Problem problem({.batch = 2,
                              .q_heads = 2,
                              .kv_heads = 1,
                              .q_len = 8,
                              .kv_len = 9,
                              .head_dim = 16,
                              .head_dim_v = 16,
                              .seed = seed});
    mods.bind(problem);
    const ir::Program plain = ir::lower(mods.score, mods.mask);
    const ir::Program kernel = passes::kernel_form(passes::canonicalize(plain));
    const auto plain_inputs = problem.reference_inputs(plain), kernel_inputs = problem.reference_inputs(kernel);
    ir::Interpreter a(plain, plain_inputs.bindings), b(kernel, kernel_inputs.bindings);
    std::mt19937_64 random(seed);
    for (int i = 0; i < 20; ++i) {
      const std::int32_t q_idx = static_cast<int>(random() % 8), kv_idx = static_cast<int>(random() % 9);
      const double scale = 0.25, dot = static_cast<double>(random() % 1000) / 50 - 10, score = dot * scale;
      double expected = 0, actual = 0;
      std::uint8_t expected_mask = 1, actual_mask = 1;
      const ir::LaneContext context{1, 1, 8, 9, scale};
      a.run(context, 1, &q_idx, &kv_idx, &score, &expected, &expected_mask);
      b.run(context, 1, &q_idx, &kv_idx, &dot, &actual, &actual_mask);
      ASSERT_NEAR(actual, expected * 1.4426950408889634, 2e-5) << "seed " << seed << "\n"
                                                               << ir::print(plain) << ir::print(kernel);
      ASSERT_EQ(actual_mask, expected_mask) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace attnc
