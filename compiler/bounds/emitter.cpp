// SPDX-License-Identifier: Apache-2.0
#include "compiler/bounds/emitter.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "compiler/bounds/range.h"
#include "compiler/ir/semantics.h"

namespace attnc::bounds {
namespace {

constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                       most = std::numeric_limits<std::int64_t>::max();

// Ends of ranges saturate: a result that could leave int64 is the caller's to rule out.
std::int64_t plus(std::int64_t x, std::int64_t y) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(x, y, &sum) ? (x < 0 ? least : most) : sum;
}
std::int64_t minus(std::int64_t x, std::int64_t y) {
  std::int64_t difference = 0;
  return __builtin_sub_overflow(x, y, &difference) ? (x < 0 ? least : most) : difference;
}
std::int64_t times(std::int64_t x, std::int64_t y) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(x, y, &product) ? ((x < 0) != (y < 0) ? least : most) : product;
}

ir::Inst make(Op op, Type type, std::initializer_list<ir::ValueId> operands) {
  ir::Inst inst;
  inst.op = op;
  inst.type = type;
  for (const ir::ValueId operand : operands) inst.operands[inst.operand_count++] = operand;
  return inst;
}

}  // namespace

Emitter::Emitter(ir::Program& out) : out_(out) {
  for (std::size_t id = 0; id < out.insts.size(); ++id)
    if (out.insts[id].type != Type::f32) known_.try_emplace(key(out.insts[id]), static_cast<ir::ValueId>(id));
}

bool Emitter::fits32(const Scalar& x) { return x.lo >= type_min(Type::i32) && x.hi <= type_max(Type::i32); }

ir::ValueId Emitter::emit(const ir::Inst& inst) {
  auto [found, is_new] = known_.try_emplace(key(inst), ir::no_value);
  if (is_new) found->second = out_.append(inst);
  return found->second;
}

ir::ValueId Emitter::as(const Scalar& x, Type type) {
  if (x.lo == x.hi) {
    ir::Inst literal;
    literal.type = type;
    literal.integer = x.lo;
    return emit(literal);
  }
  return out_[x.id].type == type ? x.id : emit(make(Op::cast, type, {x.id}));
}

ir::ValueId Emitter::as_boolean(const Truth& x) {
  if (!x.known) return x.id;
  ir::Inst literal;
  literal.type = Type::boolean;
  literal.integer = *x.known;
  return emit(literal);
}

Scalar Emitter::integer(std::int64_t value) {
  Scalar x{ir::no_value, value, value};
  x.id = as(x, fits32(x) ? Type::i32 : Type::i64);
  return x;
}

Truth Emitter::boolean(bool value) { return {ir::no_value, value}; }

Scalar Emitter::input(Input which, std::int64_t lo, std::int64_t hi) {
  ir::Inst inst = make(Op::input, Type::i32, {});
  inst.input = which;
  return {emit(inst), lo, hi};
}

Scalar Emitter::param(int slot, Type type, std::int64_t lo, std::int64_t hi) {
  ir::Inst inst = make(Op::param, type, {});
  inst.slot = static_cast<std::int16_t>(slot);
  return {emit(inst), lo, hi};
}

/// In i32 where operands and result fit, else in i64.
Scalar Emitter::arithmetic(Op op, const Scalar& x, const Scalar& y, std::int64_t lo, std::int64_t hi) {
  Scalar result{ir::no_value, lo, hi};
  if (lo == hi) return integer(lo);
  const Type type = fits32(x) && fits32(y) && fits32(result) ? Type::i32 : Type::i64;
  result.id = emit(make(op, type, {as(x, type), as(y, type)}));
  return result;
}

Scalar Emitter::add(const Scalar& x, const Scalar& y) {
  if (y.lo == 0 && y.hi == 0) return x;
  if (x.lo == 0 && x.hi == 0) return y;
  return arithmetic(Op::add, x, y, plus(x.lo, y.lo), plus(x.hi, y.hi));
}

Scalar Emitter::sub(const Scalar& x, const Scalar& y) {
  if (y.lo == 0 && y.hi == 0) return x;
  if (x.id == y.id && x.id != ir::no_value) return integer(0);
  return arithmetic(Op::sub, x, y, minus(x.lo, y.hi), minus(x.hi, y.lo));
}

Scalar Emitter::mul(const Scalar& x, const Scalar& y) {
  if (y.lo == 1 && y.hi == 1) return x;
  if (x.lo == 1 && x.hi == 1) return y;
  const auto [lo, hi] = std::minmax({times(x.lo, y.lo), times(x.lo, y.hi), times(x.hi, y.lo), times(x.hi, y.hi)});
  return arithmetic(Op::mul, x, y, lo, hi);
}

Scalar Emitter::div(const Scalar& x, const Scalar& y) {
  using ir::semantics::floor_div;
  if (y.lo == 1 && y.hi == 1) return x;
  if (y.lo > 0) {
    const auto [lo, hi] =
        std::minmax({floor_div(x.lo, y.lo), floor_div(x.lo, y.hi), floor_div(x.hi, y.lo), floor_div(x.hi, y.hi)});
    return arithmetic(Op::div, x, y, lo, hi);
  }
  // The quotient is no larger than the dividend; the least i32 by -1 leaves i32 and is then taken in i64.
  const std::int64_t size = std::max(x.lo == least ? most : x.lo < 0 ? -x.lo : x.lo, x.hi < 0 ? -x.hi : x.hi);
  return arithmetic(Op::div, x, y, -size, size);
}

Scalar Emitter::mod(const Scalar& x, const Scalar& y) {
  if (y.lo == y.hi && x.lo == x.hi) return integer(ir::semantics::floor_mod(x.lo, y.lo));
  if (y.lo > 0 && x.lo >= 0 && x.hi < y.lo) return x;
  const std::int64_t lo = std::min<std::int64_t>(y.lo == most ? y.lo : y.lo + 1, 0);
  const std::int64_t hi = std::max<std::int64_t>(y.hi == least ? y.hi : y.hi - 1, 0);
  return arithmetic(Op::mod, x, y, lo, hi);
}

Scalar Emitter::min(const Scalar& x, const Scalar& y) {
  if (x.hi <= y.lo || x.id == y.id) return x;
  if (y.hi <= x.lo) return y;
  return arithmetic(Op::min, x, y, std::min(x.lo, y.lo), std::min(x.hi, y.hi));
}

Scalar Emitter::max(const Scalar& x, const Scalar& y) {
  if (x.lo >= y.hi || x.id == y.id) return x;
  if (y.lo >= x.hi) return y;
  return arithmetic(Op::max, x, y, std::max(x.lo, y.lo), std::max(x.hi, y.hi));
}

Scalar Emitter::select(const Truth& c, const Scalar& x, const Scalar& y) {
  if (c.known) return *c.known ? x : y;
  if (x.id == y.id) return {x.id, std::min(x.lo, y.lo), std::max(x.hi, y.hi)};
  Scalar result{ir::no_value, std::min(x.lo, y.lo), std::max(x.hi, y.hi)};
  const Type type = fits32(result) ? Type::i32 : Type::i64;
  result.id = emit(make(Op::select, type, {c.id, as(x, type), as(y, type)}));
  return result;
}

Truth Emitter::select(const Truth& c, const Truth& x, const Truth& y) {
  if (c.known) return *c.known ? x : y;
  return lor(land(c, x), land(lnot(c), y));
}

Scalar Emitter::assume(const Scalar& x, std::int64_t lo, std::int64_t hi) {
  Scalar result{x.id, std::max(x.lo, lo), std::min(x.hi, hi)};
  if (result.lo > result.hi) result.lo = result.hi = std::clamp(x.lo, lo, hi);  // unreachable where the claim holds
  if (fits32(result) && out_[x.id].type == Type::i64) result.id = emit(make(Op::cast, Type::i32, {x.id}));
  return result;
}

Scalar Emitter::wrap32(const Scalar& x) {
  if (fits32(x)) return x;
  if (x.lo == x.hi) return integer(ir::semantics::wrap(x.lo, Type::i32));
  return {as(x, Type::i32), type_min(Type::i32), type_max(Type::i32)};
}

Scalar Emitter::exact(Op op, Type type, const Scalar& x, const Scalar& y) {
  if (x.lo == x.hi && y.lo == y.hi) return integer(ir::semantics::integer_op(op, type, x.lo, y.lo));
  const bool unary = info(op).arity == 1;
  if (type == Type::i32 && !unary) {  // the usual case: it cannot wrap
    if (op == Op::add || op == Op::sub || op == Op::mul) {
      const Scalar plain = op == Op::add ? add(x, y) : op == Op::sub ? sub(x, y) : mul(x, y);
      if (fits32(plain)) return plain;
    }
    if (op == Op::min) return min(x, y);
    if (op == Op::max) return max(x, y);
    if (op == Op::div && y.lo > 0) return div(x, y);
    if (op == Op::mod) return mod(x, y);
  }
  const ir::ValueId id = unary ? emit(make(op, type, {as(x, type)})) : emit(make(op, type, {as(x, type), as(y, type)}));
  return {id, type_min(type), type_max(type)};
}

Truth Emitter::compare(Op op, const Scalar& x, const Scalar& y) {
  const bool same = x.id == y.id && x.id != ir::no_value;
  switch (op) {
    case Op::lt:
      if (x.hi < y.lo) return boolean(true);
      if (same || x.lo >= y.hi) return boolean(false);
      break;
    case Op::le:
      if (same || x.hi <= y.lo) return boolean(true);
      if (x.lo > y.hi) return boolean(false);
      break;
    default:  // eq
      if (same || (x.lo == x.hi && y.lo == y.hi && x.lo == y.lo)) return boolean(true);
      if (x.hi < y.lo || x.lo > y.hi) return boolean(false);
      break;
  }
  const Type type = fits32(x) && fits32(y) ? Type::i32 : Type::i64;
  return {emit(make(op, Type::boolean, {as(x, type), as(y, type)})), std::nullopt};
}

Truth Emitter::land(const Truth& x, const Truth& y) {
  if (x.known) return *x.known ? y : x;
  if (y.known) return *y.known ? x : y;
  if (x.id == y.id) return x;
  return {emit(make(Op::logical_and, Type::boolean, {std::min(x.id, y.id), std::max(x.id, y.id)})), std::nullopt};
}

Truth Emitter::lor(const Truth& x, const Truth& y) {
  if (x.known) return *x.known ? x : y;
  if (y.known) return *y.known ? y : x;
  if (x.id == y.id) return x;
  return {emit(make(Op::logical_or, Type::boolean, {std::min(x.id, y.id), std::max(x.id, y.id)})), std::nullopt};
}

Truth Emitter::lnot(const Truth& x) {
  if (x.known) return boolean(!*x.known);
  const ir::Inst& inst = out_[x.id];
  if (inst.op == Op::logical_not) return {inst.operands[0], std::nullopt};
  return {emit(make(Op::logical_not, Type::boolean, {x.id})), std::nullopt};
}

}  // namespace attnc::bounds
