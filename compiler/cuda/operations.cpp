// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/operations.h"

#include <bit>
#include <cmath>
#include <limits>

#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

/// Functions that exist in both `approximate` and `precise`.
bool is_transcendental(Op op) {
  switch (op) {
    case Op::exp:
    case Op::exp2:
    case Op::log:
    case Op::log2:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::tanh:
    case Op::sigmoid:
    case Op::sin:
    case Op::cos:
    case Op::erf:
    case Op::pow:
      return true;
    default:
      return false;
  }
}

std::string_view infix(Op op) {
  switch (op) {
    case Op::add:
      return "+";
    case Op::sub:
      return "-";
    case Op::mul:
      return "*";
    case Op::eq:
      return "==";
    case Op::ne:
      return "!=";
    case Op::lt:
      return "<";
    case Op::le:
      return "<=";
    case Op::gt:
      return ">";
    case Op::ge:
      return ">=";
    case Op::logical_and:
      return "&&";
    case Op::logical_or:
      return "||";
    case Op::bit_and:
      return "&";
    case Op::bit_or:
      return "|";
    case Op::bit_xor:
      return "^";
    default:
      return "";
  }
}

std::string cast_text(Type from, Type to, const std::string& x) {
  if (to == Type::boolean) return from == Type::f32 ? attnc::format("{} != 0.0f", x) : attnc::format("{} != 0", x);
  if (from == Type::f32) return attnc::format("{}({})", to == Type::i32 ? "to_i32" : "to_i64", x);
  return attnc::format("static_cast<{}>({})", device_type(to), x);
}

std::string integer_text(const ir::Inst& inst, const std::vector<std::string>& x, const OperationStyle& style) {
  const bool shorter = style.nonnegative_dividend;
  // Shifting right rounds toward -inf, as division here does; the low bits are the floor modulo.
  if (style.divisor_log2 >= 0 && inst.op == Op::div) return attnc::format("{} >> {}", x[0], style.divisor_log2);
  if (style.divisor_log2 >= 0 && inst.op == Op::mod)
    return attnc::format("{} & {}", x[0], (std::int64_t{1} << style.divisor_log2) - 1);
  switch (inst.op) {
    case Op::add:
      return attnc::format("wrap_add({}, {})", x[0], x[1]);
    case Op::sub:
      return attnc::format("wrap_sub({}, {})", x[0], x[1]);
    case Op::mul:
      return attnc::format("wrap_mul({}, {})", x[0], x[1]);
    case Op::div:
      return attnc::format("{}({}, {})", shorter ? "div_nonnegative" : "floor_div", x[0], x[1]);
    case Op::mod:
      return attnc::format("{}({}, {})", shorter ? "mod_nonnegative" : "floor_mod", x[0], x[1]);
    case Op::neg:
      return attnc::format("wrap_neg({})", x[0]);
    case Op::min:
      return attnc::format("int_min({}, {})", x[0], x[1]);
    case Op::max:
      return attnc::format("int_max({}, {})", x[0], x[1]);
    case Op::abs:
      return attnc::format("wrap_abs({})", x[0]);
    case Op::sign:
      return attnc::format("int_sign({})", x[0]);
    case Op::floor:
    case Op::ceil:
    case Op::round:
      return x[0];
    case Op::bit_not:
      return attnc::format("~{}", x[0]);
    case Op::shl:
      return attnc::format("shift_left({}, {})", x[0], x[1]);
    case Op::shr:
      return attnc::format("shift_right({}, {})", x[0], x[1]);
    default:
      return "";
  }
}

std::string float_text(const ir::Inst& inst, const std::vector<std::string>& x, const OperationStyle& style) {
  const std::string_view family = style.precise ? "precise" : "approximate";
  if (is_transcendental(inst.op)) {
    const std::string tail = x.size() > 1 ? ", " + x[1] : "";
    return attnc::format("{}::{}({}{})", family, info(inst.op).mnemonic, x[0], tail);
  }
  switch (inst.op) {
    case Op::div:
      return attnc::format("{}::divide({}, {})", family, x[0], x[1]);
    case Op::neg:
      return attnc::format("-{}", x[0]);
    case Op::min:
      return attnc::format("nan_min({}, {})", x[0], x[1]);
    case Op::max:
      return attnc::format("nan_max({}, {})", x[0], x[1]);
    case Op::abs:
      return attnc::format("fabsf({})", x[0]);
    case Op::sign:
      return attnc::format("float_sign({})", x[0]);
    case Op::floor:
      return attnc::format("floorf({})", x[0]);
    case Op::ceil:
      return attnc::format("ceilf({})", x[0]);
    case Op::round:
      return attnc::format("rintf({})", x[0]);
    case Op::fma:
      return attnc::format("fmaf({}, {}, {})", x[0], x[1], x[2]);
    default:
      return "";
  }
}

}  // namespace

std::string_view device_type(Type type) {
  switch (type) {
    case Type::boolean:
      return "bool";
    case Type::i32:
      return "int32";
    case Type::i64:
      return "int64";
    case Type::f32:
      return "float";
  }
  return "?";
}

std::string literal_text(const ir::Inst& literal) {
  switch (literal.type) {
    case Type::boolean:
      return literal.integer ? "true" : "false";
    case Type::i32:
      if (literal.integer == std::numeric_limits<std::int32_t>::min()) return "(-2147483647 - 1)";
      return literal.integer < 0 ? attnc::format("({})", literal.integer) : attnc::format("{}", literal.integer);
    case Type::i64:
      if (literal.integer == std::numeric_limits<std::int64_t>::min()) return "(-9223372036854775807ll - 1)";
      return literal.integer < 0 ? attnc::format("({}ll)", literal.integer) : attnc::format("{}ll", literal.integer);
    case Type::f32:
      break;
  }
  const float value = static_cast<float>(literal.real);
  if (!std::isfinite(value)) return attnc::format("from_bits({:#010x}u)", std::bit_cast<std::uint32_t>(value));
  // Small whole numbers read better in decimal and are as exact.
  const bool whole = value == std::trunc(value) && std::fabs(value) < 1e6f && !(value == 0 && std::signbit(value));
  const std::string text = whole ? attnc::format("{:.1f}f", value) : attnc::format("{:a}f", value);
  return std::signbit(value) ? "(" + text + ")" : text;
}

std::string operation_text(const ir::Inst& inst, const std::vector<std::string>& x,
                           const std::vector<Type>& operand_types, const OperationStyle& style) {
  std::string text;
  if (inst.op == Op::cast) return cast_text(operand_types[0], inst.type, x[0]);
  if (inst.op == Op::select) return attnc::format("{} ? {} : {}", x[0], x[1], x[2]);
  if (inst.op == Op::logical_not) return attnc::format("!{}", x[0]);
  // Signed overflow must wrap, so integer + - * are functions.
  const bool arithmetic = inst.op == Op::add || inst.op == Op::sub || inst.op == Op::mul;
  if (!infix(inst.op).empty() && !(arithmetic && inst.type != Type::f32)) {
    return attnc::format("{} {} {}", x[0], infix(inst.op), x[1]);
  }
  text = inst.type == Type::f32 ? float_text(inst, x, style) : integer_text(inst, x, style);
  if (text.empty()) {
    throw Error(ErrorCode::internal,
                attnc::format("attnc: no CUDA spelling for {} {}. Please report it with the expression.",
                              info(inst.op).mnemonic, name(inst.type)));
  }
  return text;
}

int operation_cost(const ir::Inst& inst, Type operand_type, const OperationStyle& style) {
  const bool wide = inst.type == Type::i64 || operand_type == Type::i64;
  const int width = wide ? 3 : 1;
  switch (inst.op) {
    case Op::literal:
    case Op::input:
    case Op::param:
      return 0;
    case Op::load:
      return 24;
    // Conversions between integers and floats run at the rate of transcendentals.
    case Op::cast:
      if (inst.type == Type::boolean) return width;
      return (inst.type == Type::f32) != (operand_type == Type::f32) ? (wide ? 16 : 8) : 1;
    case Op::div:
    case Op::mod:
      if (inst.type == Type::f32) return style.precise ? 24 : 12;
      if (style.divisor_log2 >= 0) return width;
      return style.nonnegative_dividend ? 5 * width : 24 * width;
    case Op::exp:
    case Op::exp2:
    case Op::log:
    case Op::log2:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::tanh:
      return style.precise ? 20 : 9;
    case Op::sigmoid:
      return style.precise ? 32 : 18;
    case Op::sin:
    case Op::cos:
      return style.precise ? 40 : 16;
    case Op::pow:
      return style.precise ? 40 : 32;
    case Op::erf:
      return 40;
    case Op::floor:
    case Op::ceil:
    case Op::round:
      return inst.type == Type::f32 ? 8 : 0;
    default:
      return width;
  }
}

}  // namespace attnc::cuda
