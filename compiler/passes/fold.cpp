// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <optional>

#include "compiler/ir/semantics.h"
#include "compiler/passes/passes.h"

namespace attnc::passes {
namespace {

using ir::Inst;
using ir::Program;
using ir::ValueId;
namespace semantics = ir::semantics;

/// Folds one instruction at a time into a growing program. `self` below is the instruction with operands already
/// renamed into that program; each rule gives the value that replaces it, or nothing.
class Folder {
 public:
  explicit Folder(Program& out) : out_(out) {}

  ValueId fold(const Inst& self) {
    if (auto value = evaluate(self)) return *value;
    std::optional<ValueId> value;
    switch (self.op) {
      case Op::select:
        value = fold_select(self);
        break;
      case Op::cast:
        value = fold_cast(self);
        break;
      case Op::logical_and:
      case Op::logical_or:
      case Op::logical_not:
        value = fold_logic(self);
        break;
      case Op::eq:
      case Op::ne:
      case Op::lt:
      case Op::le:
      case Op::gt:
      case Op::ge:
        value = fold_compare(self);
        break;
      default:
        value = self.type == Type::f32 ? fold_real(self) : fold_integer(self);
        break;
    }
    return value ? *value : out_.append(self);
  }

 private:
  const Inst& operand(const Inst& inst, std::size_t i) const { return out_[inst.operands[i]]; }
  bool is_literal(ValueId id) const { return out_[id].op == Op::literal; }
  bool is_integer(ValueId id, std::int64_t value) const {
    return is_literal(id) && out_[id].type != Type::f32 && out_[id].integer == value;
  }
  bool is_real(ValueId id, double value) const {
    return is_literal(id) && out_[id].type == Type::f32 && out_[id].real == value &&
           std::signbit(out_[id].real) == std::signbit(value);
  }
  ValueId integer_literal(std::int64_t value, Type type) {
    Inst inst;
    inst.type = type;
    inst.integer = value;
    return out_.append(inst);
  }
  ValueId real_literal(double value) {
    Inst inst;
    inst.real = static_cast<double>(static_cast<float>(value));
    return out_.append(inst);
  }
  ValueId unary(Op op, Type type, ValueId a) {
    Inst inst;
    inst.op = op;
    inst.type = type;
    inst.operand_count = 1;
    inst.operands[0] = a;
    return out_.append(inst);
  }
  ValueId binary(Op op, Type type, ValueId a, ValueId b) {
    Inst inst;
    inst.op = op;
    inst.type = type;
    inst.operand_count = 2;
    inst.operands[0] = a;
    inst.operands[1] = b;
    return out_.append(inst);
  }

  /// Every operand a literal: compute. Floats are computed in fp64 and rounded once.
  std::optional<ValueId> evaluate(const Inst& self) {
    if (self.operand_count == 0 || self.op == Op::load) return {};
    for (std::size_t i = 0; i < self.operand_count; ++i)
      if (!is_literal(self.operands[i])) return {};
    const Inst& a = operand(self, 0);
    const Inst& b = self.operand_count > 1 ? operand(self, 1) : a;
    const Inst& c = self.operand_count > 2 ? operand(self, 2) : a;
    switch (info(self.op).typing) {
      case Typing::compare:
        return integer_literal(a.type == Type::f32 ? semantics::compare_op(self.op, a.real, b.real)
                                                   : semantics::compare_op(self.op, a.integer, b.integer),
                               Type::boolean);
      case Typing::select:
        return a.integer ? self.operands[1] : self.operands[2];
      case Typing::cast:
        if (self.type == Type::f32) return real_literal(static_cast<double>(a.integer));
        return integer_literal(
            a.type == Type::f32 ? semantics::real_to_integer(a.real, self.type) : semantics::wrap(a.integer, self.type),
            self.type);
      case Typing::logical:
        return integer_literal(self.op == Op::logical_and  ? a.integer & b.integer
                               : self.op == Op::logical_or ? a.integer | b.integer
                                                           : !a.integer,
                               Type::boolean);
      default:
        if (self.type == Type::f32) return real_literal(semantics::real_op(self.op, a.real, b.real, c.real));
        return integer_literal(semantics::integer_op(self.op, self.type, a.integer, b.integer), self.type);
    }
  }

  std::optional<ValueId> fold_real(const Inst& self) {
    const ValueId a = self.operands[0], b = self.operands[1];
    switch (self.op) {
      case Op::mul:
        if (is_real(b, 1)) return a;
        if (is_real(a, 1)) return b;
        break;
      case Op::div:
        if (is_real(b, 1)) return a;
        if (is_literal(b)) {  // by a power of two: the reciprocal is exact
          int exponent = 0;
          const double divisor = out_[b].real;
          if (std::isfinite(divisor) && std::fabs(std::frexp(divisor, &exponent)) == 0.5 && exponent > -100 &&
              exponent < 100)
            return binary(Op::mul, Type::f32, a, real_literal(1 / divisor));
        }
        break;
      case Op::add:
        if (is_real(b, -0.0)) return a;  // x + 0 is not x when x is -0
        if (is_real(a, -0.0)) return b;
        break;
      case Op::sub:
        if (is_real(b, 0.0)) return a;
        break;
      case Op::min:
      case Op::max:
        if (a == b) return a;
        break;
      case Op::neg:
        if (operand(self, 0).op == Op::neg) return operand(self, 0).operands[0];
        break;
      case Op::abs:
        if (operand(self, 0).op == Op::abs) return a;
        if (operand(self, 0).op == Op::neg) return unary(Op::abs, Type::f32, operand(self, 0).operands[0]);
        break;
      default:
        break;
    }
    return {};
  }

  std::optional<ValueId> fold_integer(const Inst& self) {
    if (self.operand_count == 0 || self.op == Op::load) return {};
    const ValueId a = self.operands[0], b = self.operands[1];
    const Type type = self.type;
    switch (self.op) {
      case Op::add:
        if (is_integer(b, 0)) return a;
        if (is_integer(a, 0)) return b;
        break;
      case Op::sub:
        if (is_integer(b, 0)) return a;
        if (a == b) return integer_literal(0, type);
        break;
      case Op::mul:
        if (is_integer(b, 1)) return a;
        if (is_integer(a, 1)) return b;
        if (is_integer(a, 0) || is_integer(b, 0)) return integer_literal(0, type);
        break;
      case Op::div:
        if (is_integer(b, 1)) return a;
        if (is_integer(b, 0)) return integer_literal(0, type);
        break;
      case Op::mod:
        if (is_integer(b, 1) || is_integer(b, -1) || is_integer(b, 0)) return integer_literal(0, type);
        break;
      case Op::neg:
        if (operand(self, 0).op == Op::neg) return operand(self, 0).operands[0];
        if (operand(self, 0).op == Op::sub)
          return binary(Op::sub, type, operand(self, 0).operands[1], operand(self, 0).operands[0]);
        break;
      case Op::abs:  // |-x| == |x| even where the negation wraps
        if (operand(self, 0).op == Op::abs) return a;
        if (operand(self, 0).op == Op::neg) return unary(Op::abs, type, operand(self, 0).operands[0]);
        break;
      case Op::min:
      case Op::max:
      case Op::bit_and:
      case Op::bit_or:
        if (a == b) return a;
        if (self.op == Op::bit_and && (is_integer(a, 0) || is_integer(b, 0))) return integer_literal(0, type);
        if (self.op == Op::bit_or && is_integer(b, 0)) return a;
        if (self.op == Op::bit_or && is_integer(a, 0)) return b;
        break;
      case Op::bit_xor:
        if (a == b) return integer_literal(0, type);
        break;
      case Op::bit_not:
        if (operand(self, 0).op == Op::bit_not) return operand(self, 0).operands[0];
        break;
      case Op::shl:
      case Op::shr:
        if (is_integer(b, 0)) return a;
        break;
      default:
        break;
    }
    return {};
  }

  std::optional<ValueId> fold_logic(const Inst& self) {
    const ValueId a = self.operands[0], b = self.operands[1];
    if (self.op == Op::logical_not) {
      const Inst& inner = operand(self, 0);
      if (inner.op == Op::logical_not) return inner.operands[0];
      // Integers are totally ordered, floats are not: !(x < y) is x >= y for the former only.
      const bool ordered = info(inner.op).typing == Typing::compare && out_[inner.operands[0]].type != Type::f32;
      if (ordered || inner.op == Op::eq || inner.op == Op::ne)
        return binary(inverse(inner.op), Type::boolean, inner.operands[0], inner.operands[1]);
      return {};
    }
    if (a == b) return a;
    const std::int64_t neutral = self.op == Op::logical_and ? 1 : 0;
    for (const auto& [one, other] : {std::pair{a, b}, std::pair{b, a}})
      if (is_literal(one)) return out_[one].integer == neutral ? other : one;
    return {};
  }

  static Op inverse(Op op) {
    switch (op) {
      case Op::eq:
        return Op::ne;
      case Op::ne:
        return Op::eq;
      case Op::lt:
        return Op::ge;
      case Op::le:
        return Op::gt;
      case Op::gt:
        return Op::le;
      default:
        return Op::lt;
    }
  }

  std::optional<ValueId> fold_compare(const Inst& self) {
    const ValueId a = self.operands[0], b = self.operands[1];
    const Type type = out_[a].type;
    if (a == b && type != Type::f32)  // NaN != NaN keeps floats out
      return integer_literal(self.op == Op::eq || self.op == Op::le || self.op == Op::ge, Type::boolean);
    if (type == Type::boolean)
      for (const auto& [one, other] : {std::pair{a, b}, std::pair{b, a}})
        if (is_literal(one))
          return (out_[one].integer != 0) == (self.op == Op::eq) ? other : unary(Op::logical_not, Type::boolean, other);
    // i32(flag) != 0 is the flag.
    if ((self.op == Op::ne || self.op == Op::eq) && (is_integer(b, 0) || is_integer(a, 0)) && type != Type::boolean) {
      const Inst& other = out_[is_integer(b, 0) ? a : b];
      if (other.op == Op::cast && out_[other.operands[0]].type == Type::boolean)
        return self.op == Op::ne ? other.operands[0] : unary(Op::logical_not, Type::boolean, other.operands[0]);
    }
    return {};
  }

  std::optional<ValueId> fold_select(const Inst& self) {
    const auto [condition, yes, no, unused4, unused5] = self.operands;
    (void)unused4, (void)unused5;
    if (is_literal(condition)) return out_[condition].integer ? yes : no;
    if (yes == no) return yes;
    if (self.type == Type::boolean && is_literal(yes) && is_literal(no) && out_[yes].integer == out_[no].integer)
      return yes;
    if (self.type == Type::boolean && is_literal(yes) && is_literal(no))
      return out_[yes].integer ? condition : unary(Op::logical_not, Type::boolean, condition);
    return {};
  }

  std::optional<ValueId> fold_cast(const Inst& self) {
    // i32 -> i64 -> f32 and the like: widening first changes nothing.
    const Inst& inner = operand(self, 0);
    if (inner.op != Op::cast) return {};
    const Type from = out_[inner.operands[0]].type;
    const bool widened = inner.type != Type::f32 && (from == Type::boolean || from == Type::i32);
    if (!widened) return {};
    if (from == self.type) return inner.operands[0];
    return unary(Op::cast, self.type, inner.operands[0]);
  }

  Program& out_;
};

}  // namespace

Program fold(const Program& program) {
  Program result = program;
  result.insts.clear();
  Folder folder(result);
  std::vector<ValueId> renamed(program.insts.size());
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    Inst inst = program.insts[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i)
      inst.operands[i] = renamed[static_cast<std::size_t>(inst.operands[i])];
    renamed[id] = folder.fold(inst);
  }
  if (program.score != ir::no_value) result.score = renamed[static_cast<std::size_t>(program.score)];
  if (program.mask != ir::no_value) result.mask = renamed[static_cast<std::size_t>(program.mask)];
  return result;
}

}  // namespace attnc::passes
