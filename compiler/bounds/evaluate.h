// SPDX-License-Identifier: Apache-2.0
// One interval rule per row of ops.def, and the loop that applies them.
#pragma once

#include <array>
#include <vector>

#include "compiler/bounds/range.h"
#include "compiler/bounds/rules_integer.h"
#include "compiler/bounds/rules_logic.h"
#include "compiler/bounds/rules_real.h"
#include "compiler/ir/program.h"

namespace attnc::bounds {

/// What a rule sees: the instruction and the ranges of its operands.
template <class A>
struct Site {
  A& a;
  const ir::Program& program;
  const ir::Inst& inst;
  const Range<A>* values;

  const Range<A>& operand(std::size_t i) const { return values[inst.operands[i]]; }
  bool real() const { return inst.type == Type::f32; }
  bool operands_equal() const { return inst.operands[0] == inst.operands[1]; }
};

/// A specialisation per operation. There is no general one: an operation added to ops.def without a rule does not
/// compile.
template <Op op>
struct Rule;

#define ATTNC_BOUNDS_RULE(name)            \
  template <>                              \
  struct Rule<Op::name> {                  \
    template <class A>                     \
    static Range<A> apply(const Site<A>&); \
  };                                       \
  template <class A>                       \
  Range<A> Rule<Op::name>::apply(const Site<A>& s)

ATTNC_BOUNDS_RULE(literal) {
  if (s.real()) {
    if (s.inst.real != s.inst.real) return any_real(s.a);  // NaN
    return reals<A>(s.a.real(s.inst.real), s.a.real(s.inst.real), s.a.boolean(false));
  }
  if (s.inst.type == Type::boolean) return decided_truth(s.a, s.a.boolean(s.inst.integer != 0));
  return integers(s.a, s.inst.type, s.a.integer(s.inst.integer), s.a.integer(s.inst.integer));
}
ATTNC_BOUNDS_RULE(input) {
  if (s.real()) return any_real(s.a);
  Range<A> r = integers(s.a, Type::i32, s.a.first(s.inst.input), s.a.last(s.inst.input));
  if (s.inst.input == Input::q_idx) rules::set_linear(s.a, r, 1, 0, s.a.integer(0), false);
  if (s.inst.input == Input::kv_idx) rules::set_linear(s.a, r, 0, 1, s.a.integer(0), false);
  return r;
}
ATTNC_BOUNDS_RULE(param) { return s.a.param(s.inst.slot, s.inst.type); }
ATTNC_BOUNDS_RULE(load) { return s.a.load(s.program, s.inst, s.values); }

ATTNC_BOUNDS_RULE(add) {
  return s.real() ? rules::radd(s.a, s.operand(0), s.operand(1), 1)
                  : rules::add_or_sub(s.a, s.inst.type, s.operand(0), s.operand(1), 1);
}
ATTNC_BOUNDS_RULE(sub) {
  return s.real() ? rules::radd(s.a, s.operand(0), s.operand(1), -1)
                  : rules::add_or_sub(s.a, s.inst.type, s.operand(0), s.operand(1), -1);
}
ATTNC_BOUNDS_RULE(mul) {
  return s.real() ? rules::rmul(s.a, s.operand(0), s.operand(1), s.operands_equal())
                  : rules::mul(s.a, s.inst.type, s.operand(0), s.operand(1), s.operands_equal());
}
ATTNC_BOUNDS_RULE(div) {
  return s.real() ? rules::rdiv(s.a, s.operand(0), s.operand(1))
                  : rules::div(s.a, s.inst.type, s.operand(0), s.operand(1));
}
ATTNC_BOUNDS_RULE(mod) { return rules::mod(s.a, s.inst.type, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(neg) {
  if (!s.real()) return rules::neg(s.a, s.inst.type, s.operand(0));
  return reals<A>(s.a.rneg(s.operand(0).real_hi), s.a.rneg(s.operand(0).real_lo), s.operand(0).may_be_nan);
}
ATTNC_BOUNDS_RULE(min) {
  return s.real() ? rules::rmin_or_max(s.a, s.operand(0), s.operand(1), false)
                  : rules::min_or_max(s.a, s.inst.type, s.operand(0), s.operand(1), false);
}
ATTNC_BOUNDS_RULE(max) {
  return s.real() ? rules::rmin_or_max(s.a, s.operand(0), s.operand(1), true)
                  : rules::min_or_max(s.a, s.inst.type, s.operand(0), s.operand(1), true);
}
ATTNC_BOUNDS_RULE(abs) {
  return s.real() ? rules::rabs(s.a, s.operand(0)) : rules::abs(s.a, s.inst.type, s.operand(0));
}
ATTNC_BOUNDS_RULE(sign) {
  return s.real() ? rules::rsign(s.a, s.operand(0)) : rules::sign(s.a, s.inst.type, s.operand(0));
}
ATTNC_BOUNDS_RULE(floor) { return s.real() ? rules::increasing(s.a, Op::floor, s.operand(0), true) : s.operand(0); }
ATTNC_BOUNDS_RULE(ceil) { return s.real() ? rules::increasing(s.a, Op::ceil, s.operand(0), true) : s.operand(0); }
ATTNC_BOUNDS_RULE(round) { return s.real() ? rules::increasing(s.a, Op::round, s.operand(0), true) : s.operand(0); }
ATTNC_BOUNDS_RULE(fma) {
  return rules::radd(s.a, rules::rmul(s.a, s.operand(0), s.operand(1), s.operands_equal()), s.operand(2), 1);
}

ATTNC_BOUNDS_RULE(exp) { return rules::transcendental(s.a, Op::exp, s.operand(0)); }
ATTNC_BOUNDS_RULE(exp2) { return rules::transcendental(s.a, Op::exp2, s.operand(0)); }
ATTNC_BOUNDS_RULE(log) { return rules::transcendental(s.a, Op::log, s.operand(0)); }
ATTNC_BOUNDS_RULE(log2) { return rules::transcendental(s.a, Op::log2, s.operand(0)); }
ATTNC_BOUNDS_RULE(sqrt) { return rules::transcendental(s.a, Op::sqrt, s.operand(0)); }
ATTNC_BOUNDS_RULE(rsqrt) { return rules::transcendental(s.a, Op::rsqrt, s.operand(0)); }
ATTNC_BOUNDS_RULE(tanh) { return rules::transcendental(s.a, Op::tanh, s.operand(0)); }
ATTNC_BOUNDS_RULE(sigmoid) { return rules::transcendental(s.a, Op::sigmoid, s.operand(0)); }
ATTNC_BOUNDS_RULE(sin) { return rules::transcendental(s.a, Op::sin, s.operand(0)); }
ATTNC_BOUNDS_RULE(cos) { return rules::transcendental(s.a, Op::cos, s.operand(0)); }
ATTNC_BOUNDS_RULE(erf) { return rules::transcendental(s.a, Op::erf, s.operand(0)); }
ATTNC_BOUNDS_RULE(pow) { return rules::rpow(s.a, s.operand(0), s.operand(1)); }

ATTNC_BOUNDS_RULE(eq) { return rules::compare(s.a, Op::eq, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(ne) { return rules::compare(s.a, Op::ne, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(lt) { return rules::compare(s.a, Op::lt, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(le) { return rules::compare(s.a, Op::le, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(gt) { return rules::compare(s.a, Op::gt, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(ge) { return rules::compare(s.a, Op::ge, s.operand(0), s.operand(1)); }

ATTNC_BOUNDS_RULE(logical_and) { return rules::logical_and(s.a, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(logical_or) { return rules::logical_or(s.a, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(logical_not) { return rules::logical_not(s.a, s.operand(0)); }

ATTNC_BOUNDS_RULE(bit_and) { return rules::bit_and(s.a, s.inst.type, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(bit_or) { return rules::bit_or_xor(s.a, s.inst.type, s.operand(0), s.operand(1), false); }
ATTNC_BOUNDS_RULE(bit_xor) { return rules::bit_or_xor(s.a, s.inst.type, s.operand(0), s.operand(1), true); }
ATTNC_BOUNDS_RULE(bit_not) { return rules::bit_not(s.a, s.inst.type, s.operand(0)); }
ATTNC_BOUNDS_RULE(shl) { return rules::shl(s.a, s.inst.type, s.operand(0), s.operand(1)); }
ATTNC_BOUNDS_RULE(shr) { return rules::shr(s.a, s.inst.type, s.operand(0), s.operand(1)); }

ATTNC_BOUNDS_RULE(select) { return rules::select(s.a, s.inst.type, s.operand(0), s.operand(1), s.operand(2)); }
ATTNC_BOUNDS_RULE(cast) { return rules::cast(s.a, s.inst.type, s.operand(0)); }

#undef ATTNC_BOUNDS_RULE

template <class A>
using RuleFunction = Range<A> (*)(const Site<A>&);

template <class A>
inline constexpr std::array<RuleFunction<A>, op_count> rule_table = {
#define ATTNC_OP(name, arity, typing, text) &Rule<Op::name>::template apply<A>,
#include "dsl/ops.def"
#undef ATTNC_OP
};

/// An integer instruction whose operands are points is a point: the instruction itself gives it, wrap-around included.
template <class A>
bool exact_integer(const Site<A>& s, Range<A>& result) {
  if (s.inst.type != Type::i32 && s.inst.type != Type::i64) return false;
  const Typing typing = info(s.inst.op).typing;
  if (typing != Typing::numeric && typing != Typing::integer) return false;
  for (std::size_t i = 0; i < s.inst.operand_count; ++i)
    if (!is_point(s.a, s.operand(i))) return false;
  const auto value = s.a.exact(s.inst.op, s.inst.type, s.operand(0).lo, s.operand(s.inst.operand_count - 1).lo);
  result = integers(s.a, s.inst.type, value, value);
  return true;
}

/// Range of one instruction whose operands have theirs.
template <class A>
Range<A> evaluate(A& a, const ir::Program& program, ir::ValueId id, const Range<A>* values) {
  const Site<A> site{a, program, program[id], values};
  if constexpr (!A::has_reals) {
    const ir::Inst& inst = site.inst;
    bool reads_real = inst.type == Type::f32;
    for (std::size_t i = 0; i < inst.operand_count; ++i) reads_real |= program[inst.operands[i]].type == Type::f32;
    if (reads_real) return anything(a, inst.type);
  }
  Range<A> result;
  if (exact_integer(site, result)) return result;
  return rule_table<A>[static_cast<std::size_t>(site.inst.op)](site);
}

/// The instructions `root` needs, in order.
std::vector<ir::ValueId> cone(const ir::Program& program, ir::ValueId root);

}  // namespace attnc::bounds
