// SPDX-License-Identifier: Apache-2.0
// What the text form means: literals, operators, precedence, functions, captures.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "tests/dsl/evaluate.h"

namespace attnc {
namespace {

using testing::Place;

double value_of(const std::string& text, const Place& place = {}) { return testing::evaluate(score_mod(text), place); }

Type type_of_text(const std::string& text) { return parse_expression(text, {}, true, "test").type(); }

TEST(Parser, Literals) {
  EXPECT_EQ(type_of_text("1"), Type::i32);
  EXPECT_EQ(type_of_text("2147483647"), Type::i32);
  EXPECT_EQ(type_of_text("2147483648"), Type::i64);
  EXPECT_EQ(type_of_text("-2147483648"), Type::i32);
  EXPECT_EQ(type_of_text("-2147483649"), Type::i64);
  EXPECT_EQ(type_of_text("0xffffffff"), Type::i64);
  EXPECT_EQ(parse_expression("-9223372036854775808", {}, true, "test").node().integer,
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_expression("0x1F", {}, true, "test").node().integer, 31);
  for (const char* text : {"1.0", "1.", ".5", "1e-3", "1E+3", "2.5f", "inf"})
    EXPECT_EQ(type_of_text(text), Type::f32) << text;
  EXPECT_EQ(value_of("1e-3"), static_cast<double>(1e-3f));
  EXPECT_EQ(value_of(".5"), 0.5);
  EXPECT_EQ(value_of("3.4028235e38"), static_cast<double>(std::numeric_limits<float>::max()));
  EXPECT_EQ(value_of("-inf"), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::signbit(parse_expression("-0.0", {}, true, "test").node().real));
  EXPECT_EQ(type_of_text("true"), Type::boolean);
  EXPECT_EQ(value_of("true"), 1);
  EXPECT_EQ(value_of("false"), 0);
}

TEST(Parser, Names) {
  const Place place{.score = 1.5, .b = 2, .h = 3, .q_idx = 4, .kv_idx = 5, .q_len = 6, .kv_len = 7};
  EXPECT_EQ(value_of("score", place), 1.5);
  EXPECT_EQ(value_of("b", place), 2);
  EXPECT_EQ(value_of("h", place), 3);
  EXPECT_EQ(value_of("q_idx", place), 4);
  EXPECT_EQ(value_of("kv_idx", place), 5);
  EXPECT_EQ(value_of("q_len", place), 6);
  EXPECT_EQ(value_of("kv_len", place), 7);
  EXPECT_EQ(value_of(" \t\r\n q_idx\n", place), 4);
}

// Expected values are C's own, so the compiler of this test is the judge of precedence.
TEST(Parser, PrecedenceIsThatOfC) {
#define ATTNC_SAME_AS_C(...) EXPECT_EQ(value_of(#__VA_ARGS__), static_cast<double>(__VA_ARGS__)) << #__VA_ARGS__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wparentheses"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Wlogical-op-parentheses"
#pragma GCC diagnostic ignored "-Wbitwise-op-parentheses"
#pragma GCC diagnostic ignored "-Wshift-op-parentheses"
#endif
  ATTNC_SAME_AS_C(2 + 3 * 4);
  ATTNC_SAME_AS_C(2 * 3 + 4);
  ATTNC_SAME_AS_C(20 - 3 - 4);
  ATTNC_SAME_AS_C(100 / 5 / 2);
  ATTNC_SAME_AS_C(17 % 10 * 3);
  ATTNC_SAME_AS_C(1 << 2 + 3);
  ATTNC_SAME_AS_C(256 >> 1 << 2);
  ATTNC_SAME_AS_C(1 + 2 < 4);
  ATTNC_SAME_AS_C(1 < 2 == 4 > 3);
  ATTNC_SAME_AS_C(6 & 3 == 3);
  ATTNC_SAME_AS_C(1 | 6 ^ 3 & 5);
  ATTNC_SAME_AS_C(5 ^ 1 | 8);
  ATTNC_SAME_AS_C(1 || 0 && 0);
  ATTNC_SAME_AS_C(0 && 1 || 1);
  ATTNC_SAME_AS_C(!0 + 1);
  ATTNC_SAME_AS_C(-3 * -2);
  ATTNC_SAME_AS_C(- -3);
  ATTNC_SAME_AS_C(~5 & 15);
  ATTNC_SAME_AS_C(!!7);
  ATTNC_SAME_AS_C(+4 - +1);
  ATTNC_SAME_AS_C((2 + 3) * (4 - 1));
  ATTNC_SAME_AS_C(1 ? 2 : 3 ? 4 : 5);
  ATTNC_SAME_AS_C(0 ? 2 : 0 ? 4 : 5);
  ATTNC_SAME_AS_C(0 ? 2 : 3 ? 4 : 5);
  ATTNC_SAME_AS_C(1 ? 0 ? 2 : 3 : 4);
  ATTNC_SAME_AS_C(1 + 1 ? 7 + 1 : 3);
  ATTNC_SAME_AS_C(1 || 0 ? 2 : 3);
  ATTNC_SAME_AS_C(2 * 3 % 4 + 10 / 3 - 1 << 1 & 0xfe | 1);
#pragma GCC diagnostic pop
#undef ATTNC_SAME_AS_C
}

TEST(Parser, IntegerDivisionRoundsDownAndByZeroGivesZero) {
  EXPECT_EQ(value_of("-7 / 2"), -4);
  EXPECT_EQ(value_of("-7 % 2"), 1);
  EXPECT_EQ(value_of("7 / -2"), -4);
  EXPECT_EQ(value_of("7 % -2"), -1);
  EXPECT_EQ(value_of("7 / 0"), 0);
  EXPECT_EQ(value_of("7 % 0"), 0);
  EXPECT_EQ(value_of("7 / 2.0"), 3.5);
}

// Every row of ops.def that has a spelling parses, and to that operation.
TEST(Parser, EveryOperationOfTheTable) {
  std::set<std::string> met;
  for (int i = 0; i < op_count; ++i) {
    const OpInfo& op = info(static_cast<Op>(i));
    if (op.text.empty()) continue;
    const std::string spelled(op.text);
    const bool word = spelled[0] >= 'a' && spelled[0] <= 'z';
    const std::string operand = op.typing == Typing::integer ? "q_idx" : "score";
    std::string text;
    if (word) {
      text = spelled + "(" + operand;
      for (int k = 1; k < op.arity; ++k) text += ", kv_idx";
      text += ")";
    } else {
      text = op.arity == 1 ? spelled + operand : operand + spelled + "kv_idx";
    }
    const Expr result = parse_expression(text, {}, true, "test");
    EXPECT_EQ(result.node().op, static_cast<Op>(i)) << text;
    met.insert(std::string(op.mnemonic));
  }
  EXPECT_EQ(met.size(), static_cast<std::size_t>(op_count) - 5) << "all but literal, input, param, load and cast";
}

TEST(Parser, Functions) {
  const Place place{.score = -1.25, .q_idx = 9, .kv_idx = 4};
  EXPECT_EQ(value_of("clamp(score, -1, 1)", place), -1);
  EXPECT_EQ(value_of("clamp(q_idx, 0, 5)", place), 5);
  EXPECT_EQ(value_of("where(q_idx > kv_idx, score, 0)", place), -1.25);
  EXPECT_EQ(value_of("min(q_idx, kv_idx)", place), 4);
  EXPECT_EQ(value_of("max(q_idx, kv_idx)", place), 9);
  EXPECT_EQ(value_of("abs(kv_idx - q_idx)", place), 5);
  EXPECT_EQ(value_of("sign(score)", place), -1);
  EXPECT_EQ(value_of("floor(score) + 10 * ceil(score) + 100 * round(2.5)", place), -2 - 10 + 200);
  EXPECT_EQ(value_of("fma(score, 2, 3)", place), 0.5);
  EXPECT_EQ(value_of("i32(score)", place), -1);
  EXPECT_EQ(value_of("f32(q_idx) / 2", place), 4.5);
  EXPECT_EQ(type_of_text("i64(q_idx)"), Type::i64);
  EXPECT_DOUBLE_EQ(value_of("tanh(score)", place), std::tanh(-1.25));
  EXPECT_DOUBLE_EQ(value_of("sigmoid(score)", place), 1 / (1 + std::exp(1.25)));
  EXPECT_DOUBLE_EQ(value_of("pow(2, score)", place), std::pow(2.0, -1.25));
  EXPECT_DOUBLE_EQ(value_of("erf(score) + exp(score) + exp2(score) + sin(score) + cos(score)", place),
                   std::erf(-1.25) + std::exp(-1.25) + std::exp2(-1.25) + std::sin(-1.25) + std::cos(-1.25));
  EXPECT_DOUBLE_EQ(value_of("log(q_idx) + log2(q_idx) + sqrt(q_idx) + rsqrt(q_idx)", place),
                   std::log(9) + std::log2(9) + 3 + 1.0 / 3);
}

TEST(Parser, BitsOnIntegersLogicOnBooleans) {
  EXPECT_EQ(type_of_text("q_idx & 1"), Type::i32);
  EXPECT_EQ(type_of_text("(q_idx > 1) & (kv_idx > 1)"), Type::boolean);
  EXPECT_EQ(type_of_text("~(q_idx > 1)"), Type::boolean);
  EXPECT_EQ(value_of("~(1 > 2)"), 1);
  EXPECT_EQ(value_of("(1 > 2) ^ (2 > 1)"), 1);
  EXPECT_EQ(value_of("12 ^ 10"), 6);
}

TEST(Parser, ParametersAndBuffers) {
  const Captures captures{.params = {{"cap", Type::f32, 30.0}, {"window", Type::i32, 4.0, 4}},
                          .buffers = {{"doc", DType::i32, 1}, {"bias", DType::f16, 2}, {"gain", DType::f32, 0}}};
  EXPECT_EQ(parse_expression("cap", captures, true, "test").type(), Type::f32);
  EXPECT_EQ(parse_expression("window", captures, true, "test").type(), Type::i32);
  EXPECT_EQ(parse_expression("doc[q_idx]", captures, true, "test").type(), Type::i32);
  EXPECT_EQ(parse_expression("bias[h, q_idx - kv_idx]", captures, true, "test").node().operands.size(), 2u);
  EXPECT_EQ(parse_expression("gain", captures, true, "test").node().op, Op::load) << "a buffer of rank 0 needs no []";
  EXPECT_EQ(parse_expression("gain[]", captures, true, "test").node().op, Op::load);

  const std::int32_t doc[] = {0, 0, 1, 1};
  const ir::BoundBuffer bound{doc, DType::i32, {4}, {1}};
  const MaskMod same = mask_mod("doc[q_idx] == doc[kv_idx] && q_idx >= kv_idx", captures);
  EXPECT_TRUE(testing::evaluate(same, {.q_idx = 3, .kv_idx = 2}, {bound}));
  EXPECT_FALSE(testing::evaluate(same, {.q_idx = 2, .kv_idx = 1}, {bound}));
  EXPECT_DOUBLE_EQ(testing::evaluate(score_mod("cap * tanh(score / cap)", captures), {.score = 12}),
                   30 * std::tanh(0.4));
}

TEST(Parser, AMaskOfIntegersComparesWithZero) {
  EXPECT_TRUE(testing::evaluate(mask_mod("kv_idx % 2"), {.kv_idx = 3}));
  EXPECT_FALSE(testing::evaluate(mask_mod("kv_idx % 2"), {.kv_idx = 4}));
}

}  // namespace
}  // namespace attnc
