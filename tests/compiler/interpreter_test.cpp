// SPDX-License-Identifier: Apache-2.0
// The oracle itself, against values worked out by hand from docs/semantics.md.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "compiler/ir/half.h"
#include "compiler/ir/interpret.h"
#include "compiler/ir/lower.h"
#include "compiler/ir/verify.h"
#include "dsl/mods.h"

namespace attnc {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

double value_of(const Expr& expression, double score = 0, int q = 0, int kv = 0,
                const ir::Bindings* bindings = nullptr) {
  const ir::Program program = ir::lower(ScoreMod(expression), {});
  const ir::Bindings defaults = bindings ? *bindings : ir::Bindings::defaults(program);
  ir::Interpreter interpreter(program, defaults);
  double result = 0;
  interpreter.run({.b = 1, .h = 2, .q_len = 10, .kv_len = 20}, 1, &q, &kv, &score, &result, nullptr);
  return result;
}

Index q() { return input(Input::q_idx); }
Index kv() { return input(Input::kv_idx); }
Score s() { return input(Input::score); }

TEST(Interpreter, IntegerDivisionFloors) {
  EXPECT_EQ(value_of((q() - kv()) / 4, 0, 0, 7), -2);
  EXPECT_EQ(value_of((q() - kv()) % 4, 0, 0, 7), 1);
  EXPECT_EQ(value_of((kv() - q()) / -4, 0, 0, 7), -2);
  EXPECT_EQ(value_of((kv() - q()) % -4, 0, 0, 7), -1);
  EXPECT_EQ(value_of(kv() / q(), 0, 0, 7), 0);
  EXPECT_EQ(value_of(kv() % q(), 0, 0, 7), 0);
  const Expr least = i32(std::numeric_limits<std::int32_t>::min() + q());
  EXPECT_EQ(value_of(least / -1), -2147483648.0);
}

TEST(Interpreter, IntegersWrap) {
  EXPECT_EQ(value_of(q() + 2147483647, 0, 1), -2147483648.0);
  EXPECT_EQ(value_of(q() * q(), 0, 65536), 0);
  EXPECT_EQ(value_of(f32(i64(q()) * q()), 0, 65536), 4294967296.0);
  EXPECT_EQ(value_of(-(q() + std::numeric_limits<std::int32_t>::min())), -2147483648.0);
}

TEST(Interpreter, Bits) {
  EXPECT_EQ(value_of(q() << 33, 0, 3), 6);
  EXPECT_EQ(value_of((q() - 8) >> 1), -4);
  EXPECT_EQ(value_of(~q(), 0, 5), -6);
  EXPECT_EQ(value_of((q() & 6) | (q() ^ 3), 0, 5), 6);
  EXPECT_EQ(value_of(i32((q() > 1) & (q() > 2)), 0, 2), 0);
  EXPECT_EQ(value_of(i32((q() > 1) ^ (q() > 2)), 0, 2), 1);
  EXPECT_EQ(value_of(i32(~(q() > 1)), 0, 2), 0);
}

TEST(Interpreter, Floats) {
  EXPECT_DOUBLE_EQ(value_of(30.0f * tanh(s() / 30.0f), 12.5), 30 * std::tanh(12.5 / 30));
  EXPECT_EQ(value_of(round(s()), 2.5), 2);
  EXPECT_EQ(value_of(round(s()), 3.5), 4);
  EXPECT_TRUE(std::isnan(value_of(min(s(), 1.0f), std::nan("")))) << "min propagates NaN";
  EXPECT_EQ(value_of(sign(s()), std::nan("")), 0);
  EXPECT_EQ(value_of(f32(i32(s())), 3e9), 2147483647);
  EXPECT_EQ(value_of(f32(i32(s())), -3.9), -3);
  EXPECT_EQ(value_of(f32(i32(s())), std::nan("")), 0);
  EXPECT_EQ(value_of(s() / 0.0f, 1), inf);
  EXPECT_DOUBLE_EQ(value_of(clamp(s(), -1.0f, 1.0f), 7), 1);
}

TEST(Interpreter, CoordinatesAndLengths) {
  EXPECT_EQ(value_of(input(Input::b) * 1000 + input(Input::h) * 100 + q_len() + kv_len()), 1230);
}

TEST(Interpreter, LoadsOutsideGiveZero) {
  const std::int8_t table[2][3] = {{1, 2, 3}, {4, 5, -6}};
  const Buffer buffer2 = buffer("t", DType::i8, 2);
  ir::Bindings bindings;
  bindings.buffers.push_back({&table[0][0], DType::i8, {2, 3}, {3, 1}});
  EXPECT_EQ(value_of(buffer2(q(), kv()), 0, 1, 2, &bindings), -6);
  EXPECT_EQ(value_of(buffer2(q(), kv()), 0, 2, 0, &bindings), 0);
  EXPECT_EQ(value_of(buffer2(q(), kv() - 1), 0, 0, 0, &bindings), 0);
  EXPECT_EQ(value_of(buffer2(q(), i64(kv()) * 4000000000LL), 0, 0, 3, &bindings), 0);
}

TEST(HalfFloats, RoundTripAndRounding) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float f16 = ir::f16_to_float(half), bf16 = ir::bf16_to_float(half);
    if (!std::isnan(f16)) {
      ASSERT_EQ(ir::float_to_f16(f16), half) << bits;
    }
    if (!std::isnan(bf16)) {
      ASSERT_EQ(ir::float_to_bf16(bf16), half) << bits;
    }
  }
  EXPECT_EQ(ir::float_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(ir::float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(ir::float_to_f16(1.0f + 0x1p-11f), 0x3c00) << "half to even";
  EXPECT_EQ(ir::float_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(ir::float_to_bf16(1.0f + 0x1p-8f), 0x3f80);
}

TEST(Verifier, NamesWhatIsWrong) {
  ir::Program program = ir::lower(ScoreMod(s() + 1.0f), {});
  program.insts[2].operands[0] = 2;
  try {
    ir::verify(program, "a test");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
    EXPECT_NE(std::string(error.what()).find("an operand does not precede its user after a test"), std::string::npos)
        << error.what();
  }
  program = ir::lower(ScoreMod(s() + 1.0f), {});
  program.insts[2].type = Type::i32;
  EXPECT_THROW(ir::verify(program, "a test"), Error);
}

}  // namespace
}  // namespace attnc
