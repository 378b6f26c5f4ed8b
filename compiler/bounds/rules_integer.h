// SPDX-License-Identifier: Apache-2.0
// Interval rules of integer operations. i32 and i64 wrap, so a result that could leave its type becomes everything.
#pragma once

#include <array>
#include <bit>

#include "compiler/bounds/range.h"
#include "dsl/ops.h"

namespace attnc::bounds::rules {

template <class A>
using Int = typename A::Int;
template <class A>
using Bool = typename A::Bool;

inline std::int64_t positive_mod(std::int64_t x, std::int64_t m) {
  const std::int64_t r = x % m;
  return r < 0 ? r + m : r;
}

/// Residues are kept in [0, modulus).
template <class A>
void set_congruence(Range<A>& r, std::int64_t modulus, std::int64_t residue) {
  if (modulus == 0) return;  // a known point already says it
  r.modulus = modulus;
  r.residue = modulus == 1 ? 0 : positive_mod(residue, modulus);
}

/// The range [lo, hi], computed without overflow where `ok`, as a value of `type`: everything if it may wrap.
template <class A>
Range<A> fit(A& a, Type type, Int<A> lo, Int<A> hi, Bool<A> ok) {
  const Int<A> min = a.integer(type_min(type)), max = a.integer(type_max(type));
  ok = a.land(ok, a.land(a.le(min, lo), a.le(hi, max)));
  auto bound = [&](Int<A> x, Int<A> otherwise) {
    return a.assume(a.select(ok, x, otherwise), type_min(type), type_max(type));
  };
  return integers(a, type, bound(lo, min), bound(hi, max));
}

/// A wrapped value keeps its residue only modulo powers of two. [lo, hi] is the result before wrapping, where `ok`.
template <class A>
void keep_congruence(A& a, Range<A>& r, Int<A> lo, Int<A> hi, Bool<A> ok, std::int64_t modulus, std::int64_t residue) {
  const bool exact = a.known(ok).value_or(false) && a.within(lo, type_min(r.type), type_max(r.type)) &&
                     a.within(hi, type_min(r.type), type_max(r.type));
  if (!exact) modulus = std::gcd(modulus, std::int64_t{1} << 32);
  if (r.modulus != 0) set_congruence(r, modulus, residue);
}

/// Operands of additions and products, cut so that the int64 arithmetic of bounds cannot overflow, and whether the cut
/// changed nothing.
template <class A>
struct Cut {
  Int<A> xlo, xhi, ylo, yhi;
  Bool<A> ok;
};
template <class A>
Cut<A> cut(A& a, const Range<A>& x, const Range<A>& y, std::int64_t limit) {
  const Int<A> low = a.integer(-limit), high = a.integer(limit);
  auto clip = [&](Int<A> v) { return a.min(a.max(v, low), high); };
  const Bool<A> ok = a.land(a.land(a.le(low, x.lo), a.le(x.hi, high)), a.land(a.le(low, y.lo), a.le(y.hi, high)));
  return {clip(x.lo), clip(x.hi), clip(y.lo), clip(y.hi), ok};
}
inline constexpr std::int64_t sum_limit = (std::int64_t{1} << 62) - 1;
inline constexpr std::int64_t product_limit = std::int64_t{1} << 31;

/// [lo, hi] of q_scale * q_idx + kv_scale * kv_idx + offset over the box, in exact arithmetic.
template <class A>
std::pair<Int<A>, Int<A>> linear_bounds(A& a, std::int64_t q_scale, std::int64_t kv_scale, Int<A> offset) {
  Int<A> lo = offset, hi = offset;
  auto accumulate = [&](std::int64_t scale, Input which) {
    if (scale == 0) return;
    const Int<A> s = a.integer(scale);
    const Int<A> first = a.mul(s, a.first(which)), last = a.mul(s, a.last(which));
    lo = a.add(lo, scale > 0 ? first : last);
    hi = a.add(hi, scale > 0 ? last : first);
  };
  accumulate(q_scale, Input::q_idx);
  accumulate(kv_scale, Input::kv_idx);
  return {lo, hi};
}

/// Residues of points can be any int64; sums of small ones cannot overflow.
template <class A>
bool small_residue(const Range<A>& x) {
  return x.residue < (std::int64_t{1} << 61) && x.residue > -(std::int64_t{1} << 61);
}

/// Gives `r` the linear form and, where it may be tighter, its bounds: a form modulo 2^32 that lies within i32 is
/// exact.
template <class A>
void set_linear(A& a, Range<A>& r, std::int64_t q_scale, std::int64_t kv_scale, Int<A> offset, bool tighten) {
  if (r.type != Type::i32) return;
  if (q_scale > max_linear_scale || q_scale < -max_linear_scale || kv_scale > max_linear_scale ||
      kv_scale < -max_linear_scale)
    return;
  r.linear = true;
  r.q_scale = q_scale;
  r.kv_scale = kv_scale;
  r.offset = offset;
  if (!tighten) return;
  auto [lo, hi] = linear_bounds(a, q_scale, kv_scale, offset);
  const Bool<A> ok = a.land(a.le(a.integer(type_min(Type::i32)), lo), a.le(hi, a.integer(type_max(Type::i32))));
  r.lo = a.assume(a.select(ok, a.max(lo, r.lo), r.lo), type_min(Type::i32), type_max(Type::i32));
  r.hi = a.assume(a.select(ok, a.min(hi, r.hi), r.hi), type_min(Type::i32), type_max(Type::i32));
}

/// Whether both read a coordinate in common, so that intervals alone lose their correlation.
template <class A>
bool correlated(const Range<A>& x, const Range<A>& y) {
  return (x.q_scale != 0 && y.q_scale != 0) || (x.kv_scale != 0 && y.kv_scale != 0);
}

template <class A>
Range<A> add_or_sub(A& a, Type type, const Range<A>& x, const Range<A>& y, int sign) {
  const Cut<A> c = cut(a, x, y, sum_limit);
  const Int<A> lo = sign > 0 ? a.add(c.xlo, c.ylo) : a.sub(c.xlo, c.yhi);
  const Int<A> hi = sign > 0 ? a.add(c.xhi, c.yhi) : a.sub(c.xhi, c.ylo);
  Range<A> r = fit(a, type, lo, hi, c.ok);
  if (small_residue(x) && small_residue(y))
    keep_congruence(a, r, lo, hi, c.ok, std::gcd(x.modulus, y.modulus), x.residue + sign * y.residue);
  if (x.linear && y.linear) {
    const Int<A> offset = a.wrap32(sign > 0 ? a.add(x.offset, y.offset) : a.sub(x.offset, y.offset));
    // Tighter also where the operands' own bounds wrapped: q_idx + huge - huge.
    set_linear(a, r, x.q_scale + sign * y.q_scale, x.kv_scale + sign * y.kv_scale, offset,
               correlated(x, y) || !a.within(lo, type_min(type), type_max(type)) ||
                   !a.within(hi, type_min(type), type_max(type)));
  }
  return r;
}

inline bool in_scale(std::int64_t factor) { return factor <= max_linear_scale && factor >= -max_linear_scale; }

template <class A>
Range<A> mul(A& a, Type type, const Range<A>& x, const Range<A>& y, bool square) {
  const Cut<A> c = cut(a, x, y, product_limit);
  Int<A> lo{}, hi{};
  if (a.same(y.lo, y.hi)) {
    const Int<A> p = a.mul(c.xlo, c.ylo), r = a.mul(c.xhi, c.ylo);
    lo = a.min(p, r);
    hi = a.max(p, r);
  } else if (a.same(x.lo, x.hi)) {
    const Int<A> p = a.mul(c.xlo, c.ylo), r = a.mul(c.xlo, c.yhi);
    lo = a.min(p, r);
    hi = a.max(p, r);
  } else {
    const Int<A> p0 = a.mul(c.xlo, c.ylo), p1 = a.mul(c.xlo, c.yhi), p2 = a.mul(c.xhi, c.ylo), p3 = a.mul(c.xhi, c.yhi);
    lo = a.min(a.min(p0, p1), a.min(p2, p3));
    hi = a.max(a.max(p0, p1), a.max(p2, p3));
    if (square) {
      const Int<A> nearest = a.max(a.max(c.xlo, a.sub(a.integer(0), c.xhi)), a.integer(0));
      lo = a.mul(nearest, nearest);
    }
  }
  Range<A> r = fit(a, type, lo, hi, c.ok);
  // k times something known modulo m is known modulo k m.
  const auto xk = a.known(x.lo), yk = a.known(y.lo);
  if (a.same(y.lo, y.hi) && yk && in_scale(*yk) && x.modulus != 0 && x.modulus <= max_linear_scale) {
    keep_congruence(a, r, lo, hi, c.ok, x.modulus * std::abs(*yk), x.residue * *yk);
    if (x.linear) set_linear(a, r, x.q_scale * *yk, x.kv_scale * *yk, a.wrap32(a.mul(x.offset, y.lo)), false);
  } else if (a.same(x.lo, x.hi) && xk && in_scale(*xk) && y.modulus != 0 && y.modulus <= max_linear_scale) {
    keep_congruence(a, r, lo, hi, c.ok, y.modulus * std::abs(*xk), y.residue * *xk);
    if (y.linear) set_linear(a, r, y.q_scale * *xk, y.kv_scale * *xk, a.wrap32(a.mul(y.offset, x.lo)), false);
  }
  return r;
}

/// Division rounds toward -inf; by zero it is 0. For one divisor it is monotone in the dividend (0 included).
template <class A>
Range<A> div(A& a, Type type, const Range<A>& x, const Range<A>& y) {
  const Cut<A> c = cut(a, x, y, sum_limit);
  const Int<A> zero = a.integer(0);
  if (a.same(y.lo, y.hi)) {
    const Int<A> p = a.div(c.xlo, c.ylo), r = a.div(c.xhi, c.ylo);
    return fit(a, type, a.min(p, r), a.max(p, r), c.ok);
  }
  // For one dividend the quotient is monotone over divisors of one sign; in general |x / y| <= |x|.
  const Int<A> p0 = a.div(c.xlo, c.ylo), p1 = a.div(c.xlo, c.yhi), p2 = a.div(c.xhi, c.ylo), p3 = a.div(c.xhi, c.yhi);
  const Bool<A> one_sign = a.lor(a.lt(zero, c.ylo), a.lt(c.yhi, zero));
  const Int<A> size = a.max(a.max(c.xhi, a.sub(zero, c.xlo)), zero);
  const Int<A> lo = a.select(one_sign, a.min(a.min(p0, p1), a.min(p2, p3)), a.sub(zero, size));
  const Int<A> hi = a.select(one_sign, a.max(a.max(p0, p1), a.max(p2, p3)), size);
  return fit(a, type, lo, hi, c.ok);
}

template <class A>
Range<A> mod(A& a, Type type, const Range<A>& x, const Range<A>& y) {
  const Int<A> zero = a.integer(0), one = a.integer(1);
  // A remainder lies between 0 and the divisor, which it never reaches.
  const Int<A> lo = a.min(a.add(a.min(y.lo, a.integer(type_max(type) - 1)), one), zero);
  const Int<A> hi = a.max(a.sub(a.max(y.hi, a.integer(type_min(type) + 1)), one), zero);
  Range<A> r;
  if (a.same(y.lo, y.hi)) {
    // Inside one period the remainder is increasing. (min / -1 wraps, but then every remainder is 0.)
    const Bool<A> one_period = a.eq(a.div(x.lo, y.lo), a.div(x.hi, y.lo));
    r = integers(a, type, a.select(one_period, a.mod(x.lo, y.lo), lo), a.select(one_period, a.mod(x.hi, y.lo), hi));
    const auto divisor = a.known(y.lo);
    if (divisor && *divisor != 0 && *divisor != std::numeric_limits<std::int64_t>::min()) {
      const std::int64_t size = std::abs(*divisor);
      const std::int64_t common = std::gcd(x.modulus, size);
      if (common == size && x.modulus != 0) {  // x is this remainder plus a multiple of the divisor
        std::int64_t remainder = positive_mod(x.residue, size);
        if (*divisor < 0 && remainder != 0) remainder -= size;
        return integers(a, type, a.integer(remainder), a.integer(remainder));
      }
      if (r.modulus != 0) set_congruence(r, common, x.residue);
    }
    return r;
  }
  const Bool<A> untouched = a.land(a.le(zero, x.lo), a.lt(x.hi, y.lo));  // 0 <= x < y
  return integers(a, type, a.select(untouched, x.lo, lo), a.select(untouched, x.hi, hi));
}

template <class A>
Range<A> neg(A& a, Type type, const Range<A>& x) {
  return add_or_sub(a, type, integers(a, type, a.integer(0), a.integer(0)), x, -1);
}

template <class A>
Range<A> min_or_max(A& a, Type type, const Range<A>& x, const Range<A>& y, bool is_max) {
  Range<A> r = is_max ? integers(a, type, a.max(x.lo, y.lo), a.max(x.hi, y.hi))
                      : integers(a, type, a.min(x.lo, y.lo), a.min(x.hi, y.hi));
  if (r.modulus != 0 && small_residue(x) && small_residue(y)) {
    const std::int64_t common = std::gcd(std::gcd(x.modulus, y.modulus), x.residue - y.residue);
    if (common > 1) set_congruence(r, common, x.residue);
  }
  return r;
}

template <class A>
Range<A> abs(A& a, Type type, const Range<A>& x) {
  const Int<A> zero = a.integer(0);
  const Int<A> low = a.integer(-std::numeric_limits<std::int64_t>::max());
  const Int<A> minus_lo = a.sub(zero, a.max(x.lo, low)), minus_hi = a.sub(zero, a.max(x.hi, low));
  const Int<A> lo = a.max(a.max(x.lo, minus_hi), zero), hi = a.max(minus_lo, x.hi);
  const Bool<A> ok = a.le(low, x.lo);  // the least i64 is its own absolute value
  return fit(a, type, lo, hi, ok);
}

template <class A>
Range<A> sign(A& a, Type type, const Range<A>& x) {
  const Int<A> zero = a.integer(0), one = a.integer(1), minus = a.integer(-1);
  auto of = [&](Int<A> v) { return a.select(a.lt(v, zero), minus, a.select(a.lt(zero, v), one, zero)); };
  return integers(a, type, of(x.lo), of(x.hi));
}

template <class A>
bool nonnegative(A& a, const Range<A>& x) {
  return a.within(x.lo, 0, std::numeric_limits<std::int64_t>::max());
}

template <class A>
Range<A> bit_and(A& a, Type type, const Range<A>& x, const Range<A>& y) {
  for (const auto* pair : {&x, &y}) {
    const Range<A>& mask = *pair;
    const Range<A>& value = pair == &x ? y : x;
    const auto bits = a.known(mask.lo);
    if (!a.same(mask.lo, mask.hi) || !bits || *bits < 0) continue;
    if (std::has_single_bit(static_cast<std::uint64_t>(*bits) + 1) && *bits < (std::int64_t{1} << 62)) {
      const Int<A> period = a.integer(*bits + 1);  // two's complement: & (2^n - 1) is floor modulo
      if (a.within(period, type_min(type), type_max(type)))
        return mod(a, type, value, integers(a, type, period, period));
    }
  }
  const Int<A> zero = a.integer(0);
  // One operand that is not negative clears the sign and bounds the result.
  const Bool<A> xp = a.le(zero, x.lo), yp = a.le(zero, y.lo);
  const Int<A> max = a.integer(type_max(type));
  const Int<A> hi = a.min(a.select(xp, x.hi, max), a.select(yp, y.hi, max));
  return integers(a, type, a.select(a.lor(xp, yp), zero, a.integer(type_min(type))), hi);
}

/// Of numbers that are not negative: max(x, y) <= x | y <= x + y, and x ^ y <= x + y.
template <class A>
Range<A> bit_or_xor(A& a, Type type, const Range<A>& x, const Range<A>& y, bool exclusive) {
  const Cut<A> c = cut(a, x, y, sum_limit);
  const Int<A> zero = a.integer(0);
  const Bool<A> ok = a.land(c.ok, a.land(a.le(zero, x.lo), a.le(zero, y.lo)));
  const Int<A> max = a.integer(type_max(type));
  const Int<A> lo = exclusive ? zero : a.max(c.xlo, c.ylo);
  return integers(a, type, a.select(ok, lo, a.integer(type_min(type))),
                  a.select(ok, a.min(a.add(c.xhi, c.yhi), max), max));
}

template <class A>
Range<A> bit_not(A& a, Type type, const Range<A>& x) {
  const Int<A> minus = a.integer(-1);
  return integers(a, type, a.sub(minus, x.hi), a.sub(minus, x.lo));  // -1 - x never overflows
}

/// The count masked to the type's width, where the count is a point.
template <class A>
Int<A> shift_count(A& a, Type type, const Range<A>& y) {
  return a.mod(y.lo, a.integer(type == Type::i64 ? 64 : 32));
}

template <class A>
Range<A> shl(A& a, Type type, const Range<A>& x, const Range<A>& y) {
  if (!a.same(y.lo, y.hi)) return any_integer(a, type);
  const Int<A> count = shift_count(a, type, y);
  if (auto known = a.known(count); known && *known <= 30) {
    const Int<A> factor = a.integer(std::int64_t{1} << *known);
    return mul(a, type, x, integers(a, type, factor, factor), false);
  }
  return any_integer(a, type);
}

template <class A>
Range<A> shr(A& a, Type type, const Range<A>& x, const Range<A>& y) {
  if (a.same(y.lo, y.hi))
    return integers(a, type, a.exact(Op::shr, type, x.lo, y.lo), a.exact(Op::shr, type, x.hi, y.lo));
  return integers(a, type, a.min(x.lo, a.integer(0)), a.max(x.hi, a.integer(-1)));
}

}  // namespace attnc::bounds::rules
