// SPDX-License-Identifier: Apache-2.0
// Interval rules of comparisons, logic, choice and conversion.
#pragma once

#include <cmath>

#include "compiler/bounds/range.h"
#include "compiler/bounds/rules_integer.h"
#include "compiler/bounds/rules_real.h"

namespace attnc::bounds::rules {

template <class A>
Range<A> logical_and(A& a, const Range<A>& x, const Range<A>& y) {
  Range<A> r = truth<A>(a.land(x.may_be_true, y.may_be_true), a.lor(x.may_be_false, y.may_be_false));
  r.decided = x.decided && y.decided;
  return r;
}
template <class A>
Range<A> logical_not(A&, const Range<A>& x) {
  Range<A> r = truth<A>(x.may_be_false, x.may_be_true);
  r.decided = x.decided;
  return r;
}
template <class A>
Range<A> logical_or(A& a, const Range<A>& x, const Range<A>& y) {
  return logical_not(a, logical_and(a, logical_not(a, x), logical_not(a, y)));
}

/// All that x - y can be, in exact arithmetic over int64 (so only for operands far from its ends).
template <class A>
std::pair<Int<A>, Int<A>> difference(A& a, const Range<A>& x, const Range<A>& y) {
  Int<A> lo = a.sub(x.lo, y.hi), hi = a.sub(x.hi, y.lo);
  if (x.linear && y.linear && correlated(x, y)) {
    // Both forms exact: the difference is the difference of the forms, in which shared coordinates cancel.
    auto exact = [&](const Range<A>& v) {
      auto [first, last] = linear_bounds(a, v.q_scale, v.kv_scale, v.offset);
      return a.land(a.le(a.integer(type_min(Type::i32)), first), a.le(last, a.integer(type_max(Type::i32))));
    };
    const Bool<A> ok = a.land(exact(x), exact(y));
    auto [first, last] = linear_bounds(a, x.q_scale - y.q_scale, x.kv_scale - y.kv_scale, a.sub(x.offset, y.offset));
    lo = a.select(ok, a.max(lo, first), lo);
    hi = a.select(ok, a.min(hi, last), hi);
  }
  return {lo, hi};
}

/// Whether congruences alone keep x and y apart.
template <class A>
bool never_equal(const Range<A>& x, const Range<A>& y) {
  const std::int64_t common = std::gcd(x.modulus, y.modulus);
  if (common <= 1 || !small_residue(x) || !small_residue(y)) return false;
  return positive_mod(x.residue, common) != positive_mod(y.residue, common);
}

template <class A>
Range<A> compare_integers(A& a, Op op, const Range<A>& x, const Range<A>& y) {
  if (x.type == Type::i32 && correlated(x, y) && x.linear && y.linear) {
    const Int<A> zero = a.integer(0);
    const auto [lo, hi] = difference(a, x, y);
    const Range<A> d = integers(a, Type::i64, lo, hi);
    const Range<A> o = integers(a, Type::i64, zero, zero);
    Range<A> r = compare_integers(a, op, d, o);
    if ((op == Op::eq || op == Op::ne) && never_equal(x, y)) r = decided_truth(a, a.boolean(op == Op::ne));
    return r;
  }
  switch (op) {
    case Op::lt:
      return truth<A>(a.lt(x.lo, y.hi), a.le(y.lo, x.hi));
    case Op::le:
      return truth<A>(a.le(x.lo, y.hi), a.lt(y.lo, x.hi));
    case Op::gt:
      return compare_integers(a, Op::lt, y, x);
    case Op::ge:
      return compare_integers(a, Op::le, y, x);
    case Op::eq: {
      if (never_equal(x, y)) return decided_truth(a, a.boolean(false));
      const Bool<A> overlap = a.land(a.le(x.lo, y.hi), a.le(y.lo, x.hi));
      const Bool<A> one = a.land(a.eq(x.lo, x.hi), a.land(a.eq(y.lo, y.hi), a.eq(x.lo, y.lo)));
      return truth<A>(overlap, a.lnot(one));
    }
    default:
      return logical_not(a, compare_integers(a, Op::eq, x, y));
  }
}

/// A range that may be NaN proves nothing.
template <class A>
Range<A> compare_reals(A& a, Op op, const Range<A>& x, const Range<A>& y) {
  const Bool<A> nan = a.lor(x.may_be_nan, y.may_be_nan);
  Bool<A> t = a.boolean(true), f = a.boolean(true);
  switch (op) {
    case Op::lt:
      t = a.rlt(x.real_lo, y.real_hi), f = a.rle(y.real_lo, x.real_hi);
      break;
    case Op::le:
      t = a.rle(x.real_lo, y.real_hi), f = a.rlt(y.real_lo, x.real_hi);
      break;
    case Op::gt:
      t = a.rlt(y.real_lo, x.real_hi), f = a.rle(x.real_lo, y.real_hi);
      break;
    case Op::ge:
      t = a.rle(y.real_lo, x.real_hi), f = a.rlt(x.real_lo, y.real_hi);
      break;
    default: {
      const Bool<A> overlap = a.land(a.rle(x.real_lo, y.real_hi), a.rle(y.real_lo, x.real_hi));
      const Bool<A> point = a.land(a.rle(x.real_hi, x.real_lo), a.rle(y.real_hi, y.real_lo));
      t = overlap, f = a.lnot(a.land(point, overlap));
      if (op == Op::ne) std::swap(t, f);
    }
  }
  return truth<A>(a.lor(nan, t), a.lor(nan, f));
}

template <class A>
Range<A> compare_truths(A& a, Op op, const Range<A>& x, const Range<A>& y) {
  // x == y is x and y, or neither.
  const Range<A> equal = logical_or(a, logical_and(a, x, y), logical_and(a, logical_not(a, x), logical_not(a, y)));
  return op == Op::eq ? equal : logical_not(a, equal);
}

template <class A>
Range<A> compare(A& a, Op op, const Range<A>& x, const Range<A>& y) {
  if (x.type == Type::f32) return compare_reals(a, op, x, y);
  if (x.type == Type::boolean) return compare_truths(a, op, x, y);
  if (!is_point(a, x) || !is_point(a, y)) return compare_integers(a, op, x, y);
  switch (op) {
    case Op::eq:
      return decided_truth(a, a.eq(x.lo, y.lo));
    case Op::ne:
      return decided_truth(a, a.lnot(a.eq(x.lo, y.lo)));
    case Op::lt:
      return decided_truth(a, a.lt(x.lo, y.lo));
    case Op::le:
      return decided_truth(a, a.le(x.lo, y.lo));
    case Op::gt:
      return decided_truth(a, a.lt(y.lo, x.lo));
    default:
      return decided_truth(a, a.le(y.lo, x.lo));
  }
}

/// Of a choice: the one chosen where that is known, else all that either can be.
template <class A>
Range<A> select(A& a, Type type, const Range<A>& c, const Range<A>& x, const Range<A>& y) {
  const Bool<A> only_x = c.decided ? c.may_be_true : a.lnot(c.may_be_false);
  const Bool<A> only_y = c.decided ? c.may_be_false : a.lnot(c.may_be_true);
  if (auto chosen = a.known(only_x); chosen && *chosen) return x;
  if (auto chosen = a.known(only_y); chosen && *chosen) return y;
  auto pick = [&](auto both, auto from_x, auto from_y) {
    if (c.decided) return a.select(only_x, from_x, from_y);
    return a.select(only_x, from_x, a.select(only_y, from_y, both));
  };
  switch (type) {
    case Type::boolean: {
      Range<A> r = truth<A>(pick(a.lor(x.may_be_true, y.may_be_true), x.may_be_true, y.may_be_true),
                            pick(a.lor(x.may_be_false, y.may_be_false), x.may_be_false, y.may_be_false));
      r.decided = c.decided && x.decided && y.decided;
      return r;
    }
    case Type::f32:
      return reals<A>(pick(a.rmin(x.real_lo, y.real_lo), x.real_lo, y.real_lo),
                      pick(a.rmax(x.real_hi, y.real_hi), x.real_hi, y.real_hi),
                      pick(a.lor(x.may_be_nan, y.may_be_nan), x.may_be_nan, y.may_be_nan));
    default: {
      Range<A> r = integers(a, type, pick(a.min(x.lo, y.lo), x.lo, y.lo), pick(a.max(x.hi, y.hi), x.hi, y.hi));
      const bool near = small_residue(x) && small_residue(y);
      const std::int64_t common = near ? std::gcd(std::gcd(x.modulus, y.modulus), x.residue - y.residue) : 1;
      if (r.modulus != 0 && common > 1) set_congruence(r, common, x.residue);
      return r;
    }
  }
}

template <class A>
Range<A> cast(A& a, Type to, const Range<A>& x) {
  const Int<A> zero = a.integer(0), one = a.integer(1);
  if (to == x.type) return x;
  if (x.type == Type::boolean) {
    const Int<A> lo = a.select(x.may_be_false, zero, one), hi = a.select(x.may_be_true, one, zero);
    if (to == Type::f32) return reals<A>(a.to_real(lo), a.to_real(hi), a.boolean(false));
    return integers(a, to, lo, x.decided ? lo : hi);
  }
  if (x.type == Type::f32) {
    const Real<A> nought = a.real(0);
    if (to == Type::boolean) return compare_reals(a, Op::ne, x, reals<A>(nought, nought, a.boolean(false)));
    const Int<A> lo = a.to_integer(x.real_lo, to), hi = a.to_integer(x.real_hi, to);  // truncation never decreases
    return integers(a, to, a.select(x.may_be_nan, a.min(lo, zero), lo), a.select(x.may_be_nan, a.max(hi, zero), hi));
  }
  switch (to) {
    case Type::boolean:
      return compare_integers(a, Op::ne, x, integers(a, x.type, zero, zero));
    case Type::f32: {
      const Real<A> lo = a.to_real(x.lo), hi = a.to_real(x.hi);
      const Real<A> exact = a.real(0x1p24);  // integers up to here are f32 numbers
      const RealError rounding{0x1p-22, 0};
      return reals<A>(a.select(a.rle(a.rabs(lo), exact), lo, outward_lo(a, lo, rounding)),
                      a.select(a.rle(a.rabs(hi), exact), hi, outward_hi(a, hi, rounding)), a.boolean(false));
    }
    case Type::i64: {
      Range<A> r = integers(a, to, x.lo, x.hi);
      if (r.modulus != 0) set_congruence(r, x.modulus, x.residue);
      return r;
    }
    default: {  // i64 -> i32 wraps
      Range<A> r = fit(a, to, x.lo, x.hi, a.boolean(true));
      keep_congruence(a, r, x.lo, x.hi, a.boolean(true), x.modulus, x.residue);
      return r;
    }
  }
}

}  // namespace attnc::bounds::rules
