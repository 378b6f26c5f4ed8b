// SPDX-License-Identifier: Apache-2.0
// A mod written as text and the same mod written as a lambda are one program with one signature.
#include <gtest/gtest.h>

#include <string>

#include "dsl/stock.h"
#include "tests/dsl/evaluate.h"

namespace attnc {
namespace {

using testing::canonical;

TEST(TextAndLambda, ScoreMods) {
  const Expr cap = param("cap", 30.0f);
  const Captures captures{.params = {*cap.node().param},
                          .buffers = {{"slope", DType::f32, 1}, {"bias", DType::f16, 4}, {"gate", DType::f32, 1}}};
  const auto text = [&](const char* expression) { return canonical(score_mod(expression, captures)); };

  EXPECT_EQ(text("cap * tanh(score / cap)"), canonical(stock::soft_cap(cap)));
  EXPECT_EQ(text("30 * tanh(score / 30)"), canonical(stock::soft_cap(30.0f)));
  EXPECT_EQ(text("score + slope[h] * (kv_idx - q_idx)"), canonical(stock::alibi()));
  EXPECT_EQ(text("score + exp2(f32(h + 1) * -0.5) * (kv_idx - q_idx)"), canonical(stock::alibi_computed(16)));
  EXPECT_EQ(text("score + bias[b, h, q_idx, kv_idx]"), canonical(stock::absolute_bias(DType::f16)));
  EXPECT_EQ(text("score * 2"), canonical(stock::times_two()));
  EXPECT_EQ(text("score * score"), canonical(stock::squared()));
  EXPECT_EQ(text("score / (1 + 1e-4 * (f32(q_idx - kv_idx) * f32(q_idx - kv_idx)))"),
            canonical(stock::distance_decay()));
  EXPECT_EQ(text("score * sigmoid(gate[h])"), canonical(stock::head_gate()));
  EXPECT_EQ(text("log(max(score, 0) + 1e-3)"), canonical(stock::log_kernel()));
  EXPECT_EQ(text("q_idx > kv_idx ? score : -inf"), canonical(score_mod([](Score s, Index, Index, Index q, Index kv) {
              return where(q > kv, s, -std::numeric_limits<float>::infinity());
            })));
  EXPECT_EQ(text("-1.5 * score + -3"),
            canonical(score_mod([](Score s, Index, Index, Index, Index) { return -1.5f * s + -3; })));
}

TEST(TextAndLambda, MaskMods) {
  const Captures captures{
      .params = {{"window", Type::i32, 1024.0, 1024}},
      .buffers = {{"doc", DType::i32, 1}, {"length", DType::i32, 1}, {"global", DType::boolean, 1}}};
  const auto text = [&](const char* expression) { return canonical(mask_mod(expression, captures)); };

  EXPECT_EQ(text("q_idx >= kv_idx"), canonical(stock::causal()));
  EXPECT_EQ(text("q_idx + kv_len - q_len >= kv_idx"), canonical(stock::causal_lower_right()));
  EXPECT_EQ(text("q_idx >= kv_idx && q_idx - kv_idx < window"),
            canonical(stock::sliding_window(param("window", 1024))));
  EXPECT_EQ(text("abs(q_idx - kv_idx) <= 64 && (q_idx - kv_idx) % 4 == 0"), canonical(stock::dilated(64, 4)));
  EXPECT_EQ(text("abs(q_idx / 56 - kv_idx / 56) < 5 && abs(q_idx % 56 - kv_idx % 56) < 5"),
            canonical(stock::neighborhood(56, 5)));
  EXPECT_EQ(text("doc[q_idx] == doc[kv_idx] && q_idx >= kv_idx"), canonical(stock::document() & stock::causal()));
  EXPECT_EQ(text("kv_idx < length[b] || !(q_idx >= kv_idx)"), canonical(stock::padding() | !stock::causal()));
  EXPECT_EQ(text("abs(q_idx - kv_idx) <= 3 || global[q_idx] || global[kv_idx]"), canonical(stock::global_or_window(3)));
  EXPECT_EQ(text("false"), canonical(stock::nothing()));
  EXPECT_EQ(text("(q_idx & 1) == 0 && ~(kv_idx >> 2) != 5 && (q_idx ^ kv_idx | 1) != 3 << 1"),
            canonical(mask_mod([](Index, Index, Index q, Index kv) {
              return (q & 1) == 0 && ~(kv >> 2) != 5 && ((q ^ kv) | 1) != (Expr(3) << 1);
            })));
}

// The signature forgets names, and nothing else.
TEST(TextAndLambda, NamesDoNotMatterAndValuesDo) {
  const Captures a{.params = {{"a", Type::f32, 1.0}}, .buffers = {}},
      z{.params = {{"z", Type::f32, 2.0}}, .buffers = {}};
  EXPECT_EQ(canonical(score_mod("score * a", a)), canonical(score_mod("score * z", z)));
  EXPECT_EQ(canonical(score_mod("score*2")), canonical(score_mod("( score ) * 2.0f")));
  EXPECT_NE(canonical(score_mod("score * 2")), canonical(score_mod("score * 3")));
  EXPECT_NE(canonical(mask_mod("q_idx >= kv_idx")), canonical(mask_mod("q_idx > kv_idx")));
}

}  // namespace
}  // namespace attnc
