// SPDX-License-Identifier: Apache-2.0
// What is proved of the stock mods, and that every proof holds against the interpreter.
#include <gtest/gtest.h>

#include <algorithm>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/lower.h"
#include "compiler/ir/print.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "tests/bounds/random_expression.h"

namespace attnc::testing {
namespace {

using bounds::Box;
using bounds::Knowledge;

ir::Program program_of(const MaskMod& mask, const ScoreMod& score = {}) {
  return passes::canonicalize(ir::lower(score, mask));
}

/// Compares a band with the mask itself at every element.
void expect_band_exact(const ir::Program& program, const ir::Bindings& bindings, int q_len, int kv_len,
                       const std::string& what) {
  const auto band = bounds::row_band(program);
  ASSERT_TRUE(band) << what;
  ir::verify(band->program, "row_band");
  const std::vector<ir::Level> levels = passes::placement(band->program);
  for (const ir::ValueId end : {band->lo, band->hi}) {
    ASSERT_EQ(band->program[end].type, Type::i32) << what;
    const ir::Level level = levels[static_cast<std::size_t>(end)];
    ASSERT_TRUE(level == ir::Level::uniform || level == ir::Level::row) << what << ir::print(band->program);
  }
  Box box = Box::whole(1, 1, q_len, kv_len);
  const int all = q_len * kv_len;
  const Elements mask = evaluate_elements(program, bindings, program.mask, box, all);
  const Elements lo = evaluate_elements(band->program, bindings, band->lo, box, all);
  const Elements hi = evaluate_elements(band->program, bindings, band->hi, box, all);
  for (std::size_t i = 0; i < mask.value.size(); ++i) {
    const bool inside = lo.value[i] <= mask.kv_idx[i] && mask.kv_idx[i] < hi.value[i];
    ASSERT_EQ(inside, mask.value[i] != 0) << what << ": q " << mask.q_idx[i] << " kv " << mask.kv_idx[i] << " band ["
                                          << lo.value[i] << ", " << hi.value[i] << ")\n"
                                          << ir::print(band->program);
  }
}

TEST(Band, StockMasksAreBandsWhereTheyAre) {
  using namespace stock;
  const std::pair<const char*, MaskMod> bands[] = {
      {"causal", causal()},
      {"causal_lower_right", causal_lower_right()},
      {"sliding_window", sliding_window(7)},
      {"sliding_window_0", sliding_window(0)},
      {"sliding_window_param", sliding_window(param("window", 9))},
      {"two_sided", sliding_window_two_sided(5)},
      {"two_sided_param", sliding_window_two_sided(param("window", 3))},
      {"prefix_lm", prefix_lm(11)},
      {"nothing", nothing()},
      {"not_causal", !causal()},
      {"chunked", mask_mod("q_idx / 8 == kv_idx / 8")},
      {"chunked_causal", mask_mod("q_idx / 8 >= kv_idx / 8 && q_idx / 8 - kv_idx / 8 < 2")},
      {"every_second_row_causal", mask_mod("q_idx % 2 == 0 && q_idx >= kv_idx")},
      {"row_or_causal", mask_mod("q_idx % 5 == 0 || q_idx >= kv_idx")},
      {"scaled", mask_mod("3 * i64(kv_idx) <= 2 * q_idx + 5 && -4 * i64(kv_idx) <= 7 - q_idx")},
      {"shifted", mask_mod("kv_idx >> 2 <= q_idx >> 2")},
      {"max_min", mask_mod("max(kv_idx, 3) <= q_idx && min(kv_idx, q_idx) >= 2")},
      {"select", mask_mod("q_idx % 3 == 0 ? kv_idx < 5 : kv_idx >= q_idx")},
      {"negated_difference", mask_mod("-(kv_idx - q_idx) > 2")},
      {"i64", mask_mod("i64(kv_idx) * 2 < i64(q_idx) + 9")},
  };
  for (const auto& [name, mask] : bands) {
    const ir::Program program = program_of(mask);
    expect_band_exact(program, ir::Bindings::defaults(program), 37, 41, name);
  }
  // Parameters at the ends of their type: the mask's own wrap-around is kept, and the ends do not wrap.
  for (const char* text : {"q_idx - kv_idx < w", "kv_idx + 5 > w", "kv_idx <= q_idx - w", "abs(q_idx - kv_idx) <= w"}) {
    const ir::Program program = program_of(mask_mod(text, Captures{{ParamDecl{"w", Type::i32, 0, 0, true}}, {}}));
    for (const std::int64_t w : {-2147483648ll, -2147483647ll, -1ll, 0ll, 3ll, 2147483646ll, 2147483647ll}) {
      ir::Bindings bindings = ir::Bindings::defaults(program);
      bindings.params[0].integer = w;
      expect_band_exact(program, bindings, 19, 23, attnc::format("{} with w = {}", text, w));
    }
  }
}

TEST(Band, OthersAreNot) {
  using namespace stock;
  for (const MaskMod& mask :
       {dilated(9, 2), document(), neighborhood(8, 2), odd_keys_only(), checkerboard(), global_or_window(4),
        mask_mod("q_idx != kv_idx"), mask_mod("kv_idx < 3 || kv_idx > 9"), mask_mod("abs(q_idx - kv_idx) > 3")})
    EXPECT_FALSE(bounds::row_band(program_of(mask)));
  EXPECT_FALSE(bounds::row_band(program_of(MaskMod())));
  EXPECT_FALSE(bounds::row_band(program_of(mask_mod("3 * kv_idx <= q_idx"))));  // wraps past 715,827,882
  // kv_idx + w may wrap: it is not monotone in kv_idx.
  EXPECT_FALSE(bounds::row_band(
      program_of(mask_mod("kv_idx + w > q_idx", Captures{{ParamDecl{"w", Type::i32, 0, 0, true}}, {}}))));
}

TEST(Band, RandomMasksAgreeWherever) {
  int bands = 0;
  for (std::uint64_t seed = 1; seed <= 6000; ++seed) {
    const Sample sample = random_sample(seed);
    if (sample.program.mask == ir::no_value) continue;
    const auto band = bounds::row_band(sample.program);
    if (!band) continue;
    ++bands;
    ir::verify(band->program, "row_band");
    const Elements mask = evaluate_elements(sample.program, sample.bindings, sample.program.mask, sample.box, 300);
    const Elements lo = evaluate_elements(band->program, sample.bindings, band->lo, sample.box, 300);
    const Elements hi = evaluate_elements(band->program, sample.bindings, band->hi, sample.box, 300);
    for (std::size_t i = 0; i < mask.value.size(); ++i) {
      // Elements of the three runs differ where they are sampled: compare at the mask's own.
      if (lo.q_idx[i] != mask.q_idx[i] || hi.q_idx[i] != mask.q_idx[i] || lo.kv_idx[i] != mask.kv_idx[i] ||
          hi.kv_idx[i] != mask.kv_idx[i])
        continue;
      ASSERT_EQ(lo.value[i] <= mask.kv_idx[i] && mask.kv_idx[i] < hi.value[i], mask.value[i] != 0)
          << "seed " << seed << " q " << mask.q_idx[i] << " kv " << mask.kv_idx[i] << " [" << lo.value[i] << ", "
          << hi.value[i] << ")\n"
          << ir::print(band->program);
    }
  }
  EXPECT_GT(bands, 300);
}

bool any_row_empty(const ir::Program& program, const ir::Bindings& bindings, int q_len, int kv_len) {
  const Elements mask =
      evaluate_elements(program, bindings, program.mask, Box::whole(1, 1, q_len, kv_len), q_len * kv_len);
  std::vector<bool> kept(static_cast<std::size_t>(q_len), false);
  for (std::size_t i = 0; i < mask.value.size(); ++i)
    if (mask.value[i] != 0) kept[static_cast<std::size_t>(mask.q_idx[i])] = true;
  return std::find(kept.begin(), kept.end(), false) != kept.end();
}

TEST(Rows, StockMasks) {
  using namespace stock;
  struct Row {
    const char* name;
    MaskMod mask;
    bool if_q_within_kv;
  };
  const Row rows[] = {
      {"causal", causal(), true},
      {"causal_lower_right", causal_lower_right(), true},
      {"sliding_window", sliding_window(100), true},
      {"window_param", sliding_window(param("window", 64)), false},  // a call with window >= 1 proves it
      {"two_sided", sliding_window_two_sided(50), true},
      {"dilated", dilated(60, 3), true},
      {"prefix_lm", prefix_lm(40), true},
      {"document", document(), true},
      {"document_causal", document() & causal(), true},
      {"neighborhood", neighborhood(56, 5), true},
      {"global_or_window", global_or_window(8), true},
      {"everything", everything(), true},
      {"nothing", nothing(), false},
      {"padding", padding(), false},
      {"strict", mask_mod("q_idx > kv_idx"), false},
  };
  for (const Row& row : rows) {
    const bounds::RowSafety safety = bounds::row_safety(program_of(row.mask));
    EXPECT_EQ(bounds::rows_nonempty_if_q_within_kv(safety), row.if_q_within_kv) << row.name;
  }

  const ir::Program window = program_of(sliding_window(param("window", 64)));
  const bounds::RowSafety safety = bounds::row_safety(window);
  ir::Bindings bindings = ir::Bindings::defaults(window);
  EXPECT_TRUE(bounds::rows_nonempty(safety, {&bindings, nullptr}, 1, 1, 100, 100));
  EXPECT_TRUE(bounds::rows_nonempty(safety, {&bindings, nullptr}, 1, 1, 100, 200));
  EXPECT_FALSE(bounds::rows_nonempty(safety, {&bindings, nullptr}, 1, 1, 200, 100));
  bindings.params[0].integer = 0;
  EXPECT_FALSE(bounds::rows_nonempty(safety, {&bindings, nullptr}, 1, 1, 100, 100));
}

TEST(Rows, ProofsHold) {
  int proved = 0;
  for (std::uint64_t seed = 1; seed <= 4000; ++seed) {
    const Sample sample = random_sample(seed);
    if (sample.program.mask == ir::no_value) continue;
    const bounds::HostBufferRanges buffers(sample.program, sample.bindings);
    const int q_len = 1 + static_cast<int>(seed % 23), kv_len = 1 + static_cast<int>(seed % 31);
    if (!bounds::rows_nonempty(bounds::row_safety(sample.program), {&sample.bindings, &buffers}, 1, 1, q_len, kv_len))
      continue;
    ++proved;
    ASSERT_FALSE(any_row_empty(sample.program, sample.bindings, q_len, kv_len))
        << "seed " << seed << " " << q_len << " x " << kv_len << '\n'
        << ir::print(sample.program);
  }
  EXPECT_GT(proved, 400);
}

TEST(ScoreBound, SoftCaps) {
  const ir::Program literal = program_of({}, stock::soft_cap(30.0f));
  const auto bound = bounds::score_bound(literal, {}, Box::anything());
  ASSERT_TRUE(bound);
  EXPECT_NEAR(*bound, 30, 0.001);

  const ir::Program with_param = program_of({}, stock::soft_cap(param("cap", 50.0f)));
  EXPECT_FALSE(bounds::score_bound(with_param, {}, Box::anything()));
  ir::Bindings bindings = ir::Bindings::defaults(with_param);
  EXPECT_NEAR(bounds::score_bound(with_param, {&bindings, nullptr}, Box::anything()).value_or(0), 50, 0.001);
  bindings.params[0].real = 20;
  EXPECT_NEAR(bounds::score_bound(with_param, {&bindings, nullptr}, Box::anything()).value_or(0), 20, 0.001);

  EXPECT_FALSE(bounds::score_bound(program_of({}, stock::alibi()), {}, Box::anything()));
  EXPECT_FALSE(bounds::score_bound(program_of({}, stock::times_two()), {}, Box::anything()));
  EXPECT_FALSE(bounds::score_bound(program_of({}, {}), {}, Box::anything()));
  EXPECT_NEAR(
      bounds::score_bound(program_of({}, score_mod("clamp(score, -4.0, 9.0)")), {}, Box::anything()).value_or(0), 9,
      1e-9);
}

TEST(Guards, ConditionsAreCheckedPerCall) {
  const ir::Program document = program_of(stock::document());
  const bounds::LoadGuards guards = bounds::load_guards(document);
  EXPECT_EQ(guards.droppable.size(), 2u);
  EXPECT_TRUE(guards.kept.empty());
  std::vector<std::int32_t> doc(50);
  ir::Bindings bindings = ir::Bindings::defaults(document);
  bindings.buffers[0] = {doc.data(), DType::i32, {50}, {1}};
  EXPECT_TRUE(bounds::loads_in_range(document, guards, bindings, 1, 1, 50, 50));
  EXPECT_FALSE(bounds::loads_in_range(document, guards, bindings, 1, 1, 51, 50));
  EXPECT_FALSE(bounds::loads_in_range(document, guards, bindings, 1, 1, 50, 51));
  const ir::Program bare = bounds::without_guards(document, guards);
  for (const ir::Inst& inst : bare.insts) EXPECT_FALSE(inst.op == Op::load && inst.guarded);

  const ir::Program bias = program_of({}, stock::relative_bias(64));
  const bounds::LoadGuards bias_guards = bounds::load_guards(bias);
  std::vector<float> table(8 * 128);
  ir::Bindings values = ir::Bindings::defaults(bias);
  values.buffers[0] = {table.data(), DType::f32, {8, 128}, {128, 1}};
  EXPECT_TRUE(bounds::loads_in_range(bias, bias_guards, values, 3, 8, 64, 64));
  EXPECT_TRUE(bounds::loads_in_range(bias, bias_guards, values, 3, 8, 64, 65));
  EXPECT_FALSE(bounds::loads_in_range(bias, bias_guards, values, 3, 8, 65, 64));
  EXPECT_FALSE(bounds::loads_in_range(bias, bias_guards, values, 3, 9, 64, 64));

  const ir::Program nested = program_of(
      mask_mod("doc[doc[q_idx]] == 1 && doc[kv_idx % 16] > 0", Captures{{}, {BufferDecl{"doc", DType::i32, 1}}}));
  const bounds::LoadGuards nested_guards = bounds::load_guards(nested);
  EXPECT_EQ(nested_guards.kept.size(), 1u);
  EXPECT_EQ(nested_guards.droppable.size(), 2u);
  EXPECT_TRUE(std::any_of(nested_guards.conditions.begin(), nested_guards.conditions.end(),
                          [](const bounds::LoadCondition& c) { return c.text == "extent 0 of doc >= 16"; }));
}

TEST(DeadMods, ProvedMasksDisappear) {
  for (const char* text :
       {"q_idx >= 0", "kv_idx < kv_len", "q_idx < q_len && kv_idx >= 0", "q_idx % 4 < 4", "abs(q_idx - kv_idx) >= 0",
        "kv_idx <= q_idx || kv_idx > q_idx - 1 || true", "q_idx - kv_idx <= q_idx"}) {
    const ir::Program program = passes::canonicalize(bounds::drop_dead_mods(program_of(mask_mod(text))));
    EXPECT_EQ(program.mask, ir::no_value) << text << '\n' << ir::print(program);
  }
  const ir::Program part =
      passes::canonicalize(bounds::drop_dead_mods(program_of(mask_mod("q_idx >= kv_idx && kv_idx % 8 >= 0"))));
  EXPECT_EQ(part.insts, program_of(stock::causal()).insts);
  const ir::Program nothing = bounds::drop_dead_mods(program_of(mask_mod("kv_idx < -1")));
  ASSERT_NE(nothing.mask, ir::no_value);
  EXPECT_EQ(nothing[nothing.mask].op, Op::literal);
}

TEST(Explain, SaysWhatIsProved) {
  const std::string text = bounds::explain_bounds(program_of(stock::sliding_window(1024), stock::soft_cap(30.0f)));
  for (const char* part : {"band: row keeps", "rows: every row keeps kv_idx = q_idx, where q_len <= kv_len",
                           "score: within +-30", "classifier: "})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
}

}  // namespace
}  // namespace attnc::testing
