// SPDX-License-Identifier: Apache-2.0
// What each operation means, on one value: shared by the interpreter and by constant folding.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "dsl/ops.h"

namespace attnc::ir::semantics {

/// Wraps to the type's width. Booleans are 0 or 1.
inline std::int64_t wrap(std::int64_t value, Type type) {
  return type == Type::i32 ? static_cast<std::int32_t>(static_cast<std::uint64_t>(value)) : value;
}
inline std::int64_t wrapping_add(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
inline std::int64_t wrapping_sub(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
inline std::int64_t wrapping_mul(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}
/// Rounds toward -inf; by zero gives 0; the one overflow (min / -1) wraps.
inline std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrapping_sub(0, a);
  const std::int64_t quotient = a / b;
  return quotient - ((a % b != 0) && ((a < 0) != (b < 0)));
}
/// Has the sign of the divisor; by zero gives 0.
inline std::int64_t floor_mod(std::int64_t a, std::int64_t b) {
  if (b == 0 || b == -1) return 0;
  const std::int64_t remainder = a % b;
  return remainder != 0 && ((remainder < 0) != (b < 0)) ? remainder + b : remainder;
}

inline int width_bits(Type type) { return type == Type::i64 ? 64 : 32; }

/// Integer result from integer operands (a, b already wrapped to `type`). Comparisons are not here.
inline std::int64_t integer_op(Op op, Type type, std::int64_t a, std::int64_t b) {
  const int shift = static_cast<int>(b & (width_bits(type) - 1));
  switch (op) {
    case Op::add:
      return wrap(wrapping_add(a, b), type);
    case Op::sub:
      return wrap(wrapping_sub(a, b), type);
    case Op::mul:
      return wrap(wrapping_mul(a, b), type);
    case Op::div:
      return wrap(floor_div(a, b), type);
    case Op::mod:
      return wrap(floor_mod(a, b), type);
    case Op::neg:
      return wrap(wrapping_sub(0, a), type);
    case Op::min:
      return a < b ? a : b;
    case Op::max:
      return a > b ? a : b;
    case Op::abs:
      return a < 0 ? wrap(wrapping_sub(0, a), type) : a;
    case Op::sign:
      return (a > 0) - (a < 0);
    case Op::floor:
    case Op::ceil:
    case Op::round:
      return a;
    case Op::bit_and:
      return a & b;
    case Op::bit_or:
      return a | b;
    case Op::bit_xor:
      return a ^ b;
    case Op::bit_not:
      return ~a;
    case Op::shl:
      return wrap(static_cast<std::int64_t>(static_cast<std::uint64_t>(a) << shift), type);
    case Op::shr:
      return a >> shift;
    default:
      return 0;
  }
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// Real result from real operands, in fp64.
inline double real_op(Op op, double a, double b, double c) {
  switch (op) {
    case Op::add:
      return a + b;
    case Op::sub:
      return a - b;
    case Op::mul:
      return a * b;
    case Op::div:
      return a / b;
    case Op::neg:
      return -a;
    case Op::min:
      return std::isnan(a) || std::isnan(b) ? std::numeric_limits<double>::quiet_NaN() : (a < b ? a : b);
    case Op::max:
      return std::isnan(a) || std::isnan(b) ? std::numeric_limits<double>::quiet_NaN() : (a > b ? a : b);
    case Op::abs:
      return std::fabs(a);
    case Op::sign:
      return static_cast<double>((a > 0) - (a < 0));
    case Op::floor:
      return std::floor(a);
    case Op::ceil:
      return std::ceil(a);
    case Op::round:
      return std::nearbyint(a);  // half to even in the default rounding mode
    case Op::fma:
      return std::fma(a, b, c);
    case Op::exp:
      return std::exp(a);
    case Op::exp2:
      return std::exp2(a);
    case Op::log:
      return std::log(a);
    case Op::log2:
      return std::log2(a);
    case Op::sqrt:
      return std::sqrt(a);
    case Op::rsqrt:
      return 1 / std::sqrt(a);
    case Op::tanh:
      return std::tanh(a);
    case Op::sigmoid:
      return sigmoid(a);
    case Op::sin:
      return std::sin(a);
    case Op::cos:
      return std::cos(a);
    case Op::erf:
      return std::erf(a);
    case Op::pow:
      return std::pow(a, b);
    default:
      return 0;
  }
}

template <class T>
bool compare_op(Op op, T a, T b) {
  switch (op) {
    case Op::eq:
      return a == b;
    case Op::ne:
      return a != b;
    case Op::lt:
      return a < b;
    case Op::le:
      return a <= b;
    case Op::gt:
      return a > b;
    case Op::ge:
      return a >= b;
    default:
      return false;
  }
}

/// Truncates; saturates; NaN gives 0.
inline std::int64_t real_to_integer(double value, Type type) {
  if (std::isnan(value)) return 0;
  if (type == Type::i32) {
    if (value <= -2147483648.0) return std::numeric_limits<std::int32_t>::min();
    if (value >= 2147483647.0) return std::numeric_limits<std::int32_t>::max();
    return static_cast<std::int32_t>(value);
  }
  if (value <= -9223372036854775808.0) return std::numeric_limits<std::int64_t>::min();
  if (value >= 9223372036854775807.0) return std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(value);
}

}  // namespace attnc::ir::semantics
