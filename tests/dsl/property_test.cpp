// SPDX-License-Identifier: Apache-2.0
// Properties over random expressions. A failure prints the seed, the depth and the text; RC_PARAMS="seed=..." replays
// it.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "compiler/ir/verify.h"
#include "tests/dsl/evaluate.h"
#include "tests/dsl/random_mod.h"

namespace attnc {
namespace {

using testing::RandomMod;

struct Drawn {
  std::string score_text, mask_text;
  ScoreMod score;
  MaskMod mask;
};

Drawn draw_mods() {
  RandomMod random(*rc::gen::arbitrary<std::uint64_t>().as("seed"));
  const int depth = *rc::gen::inRange(1, 6).as("depth");
  const testing::Twin score = random.real(depth), mask = random.boolean(depth);
  RC_LOG() << "score_mod: " << score.text << "\nmask_mod: " << mask.text << "\n";
  return {score.text, mask.text, ScoreMod(score.expr), MaskMod(mask.expr)};
}

/// Values for the captures of RandomMod, matched by name: passes renumber and drop them.
struct Values {
  std::int32_t doc[11] = {0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4};
  float table[12] = {0.5f, -1.25f, 3, 0, 8, -0.0f, 1, 2.5f, -7, 100, 0.125f, 1e-3f};
  std::uint8_t flag[5] = {1, 0, 0, 1, 1};

  ir::Bindings bind(const ir::Program& program) const {
    ir::Bindings bindings = ir::Bindings::defaults(program);
    bindings.buffers.clear();
    for (const BufferDecl& decl : program.buffers) {
      if (decl.name == "doc") bindings.buffers.push_back({doc, DType::i32, {11}, {1}});
      if (decl.name == "table") bindings.buffers.push_back({table, DType::f32, {3, 4}, {4, 1}});
      if (decl.name == "flag") bindings.buffers.push_back({flag, DType::boolean, {5}, {1}});
    }
    return bindings;
  }
};

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// Both programs answer alike at a spread of places. Exactly alike, but for the sign of a zero, which min and max of
/// zeros of both signs leave open; a score of -0 stays out, so that nothing can turn that sign into another value.
void check_same_answers(const ir::Program& before, const ir::Program& after) {
  static const Values values;
  const ir::Bindings bindings_before = values.bind(before), bindings_after = values.bind(after);
  const double scores[] = {0.0,
                           1.0,
                           -2.5,
                           0.3,
                           87.0,
                           -1e4,
                           std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()};
  int i = 0;
  for (const double score : scores)
    for (const std::int32_t q : {0, 1, 6, 100})
      for (const std::int32_t kv : {0, 2, 6, 99}) {
        ++i;
        const testing::Place place{
            .score = score, .b = i % 3, .h = i % 5, .q_idx = q, .kv_idx = kv, .q_len = 101, .kv_len = 100};
        const testing::Answer a = testing::evaluate(before, bindings_before, place);
        const testing::Answer b = testing::evaluate(after, bindings_after, place);
        if (same(a.score, b.score) && a.mask == b.mask) continue;
        RC_LOG() << "score=" << score << " q=" << q << " kv=" << kv << ": " << a.score << "/" << a.mask << " became "
                 << b.score << "/" << b.mask << "\nbefore\n"
                 << ir::print(before) << "after\n"
                 << ir::print(after);
        RC_FAIL("the value changed");
      }
}

RC_GTEST_PROP(Property, TextAndLambdaAreOneProgram, ()) {
  const Drawn drawn = draw_mods();
  const Captures captures = RandomMod::captures();
  const ir::Program lambda = passes::canonicalize(ir::lower(drawn.score, drawn.mask));
  const ir::Program text =
      passes::canonicalize(ir::lower(score_mod(drawn.score_text, captures), mask_mod(drawn.mask_text, captures)));
  RC_ASSERT(ir::print(text, true) == ir::print(lambda, true));
}

RC_GTEST_PROP(Property, FoldKeepsTheValue, ()) {
  const Drawn drawn = draw_mods();
  const ir::Program program = ir::lower(drawn.score, drawn.mask);
  const ir::Program folded = passes::fold(program);
  ir::verify(folded, "fold");
  check_same_answers(program, folded);
}

RC_GTEST_PROP(Property, CseKeepsTheValue, ()) {
  const Drawn drawn = draw_mods();
  const ir::Program program = ir::lower(drawn.score, drawn.mask);
  const ir::Program shared = passes::cse(program);
  ir::verify(shared, "cse");
  check_same_answers(program, shared);
}

RC_GTEST_PROP(Property, CanonicalizeKeepsTheValueAndIsIdempotent, ()) {
  const Drawn drawn = draw_mods();
  const ir::Program program = ir::lower(drawn.score, drawn.mask);
  const ir::Program canonical = passes::canonicalize(program);
  ir::verify(canonical, "canonicalize");
  check_same_answers(program, canonical);
  RC_ASSERT(ir::print(passes::canonicalize(canonical), true) == ir::print(canonical, true));
  RC_ASSERT(canonical.insts.size() <= program.insts.size());
}

// Found by the properties above: two literals that are alike are not a condition.
TEST(Fold, AChoiceBetweenEqualLiteralsIsThatLiteral) {
  for (const bool value : {true, false}) {
    const Expr choice = where(input(Input::b) > 0, Expr(value), Expr(value));
    EXPECT_EQ(ir::print(passes::canonicalize(ir::lower({}, MaskMod(choice))), true),
              ir::print(passes::canonicalize(ir::lower({}, MaskMod(Expr(value)))), true));
  }
}

/// Any bytes either parse or are refused with the one error type.
RC_GTEST_PROP(Property, AnyTextParsesOrIsRefused, (const std::string& bytes)) {
  try {
    score_mod(bytes, RandomMod::captures());
  } catch (const Error& error) {
    RC_ASSERT(error.code() == ErrorCode::invalid_expression);
  }
}

/// Damage to a valid text too.
RC_GTEST_PROP(Property, DamagedTextParsesOrIsRefused, ()) {
  Drawn drawn = draw_mods();
  std::string text = drawn.score_text;
  const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
  const auto length = *rc::gen::inRange<std::size_t>(0, 4);
  text.replace(
      at, length,
      *rc::gen::elementOf(std::vector<std::string>{"", "(", ")", "+", "<", "?", ":", "[", "1e", "\xff", "=", "score"}));
  try {
    score_mod(text, RandomMod::captures());
  } catch (const Error& error) {
    RC_ASSERT(error.code() == ErrorCode::invalid_expression);
  }
}

}  // namespace
}  // namespace attnc
