// SPDX-License-Identifier: Apache-2.0
// Interval rules of f32 operations. Bounds are widened by more than any backend's rounding: fp64 in the interpreter,
// f32 (flushing subnormals, hardware approximations, fused multiply-adds) elsewhere.
#pragma once

#include <limits>

#include "compiler/bounds/range.h"
#include "dsl/ops.h"

namespace attnc::bounds::rules {

template <class A>
using Real = typename A::Real;

/// How far a backend's result may lie from the exact one: |error| <= relative * |result| + absolute.
struct RealError {
  double relative = 0x1p-20;  // f32 rounds to 2^-24; approximate division and reciprocal roots stay within 2^-22
  double absolute = 2e-38;    // subnormals may flush to zero
};

inline constexpr double largest_f32 = 3.4028234e38;
inline constexpr double real_infinity = std::numeric_limits<double>::infinity();

/// Past the f32 range a value is infinite in f32 and finite in fp64: the range has to hold both.
template <class A>
Real<A> outward_lo(A& a, Real<A> x, RealError e = {}) {
  const Real<A> margin = a.radd(a.rmul(a.rabs(x), a.real(e.relative)), a.real(e.absolute));
  const Real<A> most = a.real(largest_f32), least = a.real(-largest_f32);
  const Real<A> y = a.rsub(x, margin);
  return a.select(a.rlt(most, y), most,
                  a.select(a.rlt(x, most), a.select(a.rlt(y, least), a.real(-real_infinity), y), most));
}
template <class A>
Real<A> outward_hi(A& a, Real<A> x, RealError e = {}) {
  return a.rneg(outward_lo(a, a.rneg(x), e));
}

template <class A>
Range<A> outward(A& a, Real<A> lo, Real<A> hi, Bool<A> nan, RealError e = {}) {
  return reals<A>(outward_lo(a, lo, e), outward_hi(a, hi, e), nan);
}

template <class A>
Bool<A> has_infinity(A& a, const Range<A>& x) {
  // Bounds at the edge of f32 count: a value there may round to infinity.
  const Real<A> most = a.real(largest_f32);
  return a.lor(a.rle(x.real_lo, a.rneg(most)), a.rle(most, x.real_hi));
}
template <class A>
Bool<A> has_zero(A& a, const Range<A>& x) {
  const Real<A> tiny = a.real(2e-38);  // what may flush to zero
  return a.land(a.rle(x.real_lo, tiny), a.rle(a.rneg(tiny), x.real_hi));
}

template <class A>
Range<A> radd(A& a, const Range<A>& x, const Range<A>& y, int sign) {
  const Real<A> ylo = sign > 0 ? y.real_lo : a.rneg(y.real_hi), yhi = sign > 0 ? y.real_hi : a.rneg(y.real_lo);
  const Bool<A> risky = a.land(has_infinity(a, x), has_infinity(a, y));  // inf - inf
  const Range<A> sum = outward(a, a.radd(x.real_lo, ylo), a.radd(x.real_hi, yhi), a.boolean(false));
  return reals<A>(a.select(risky, a.real(-real_infinity), sum.real_lo),
                  a.select(risky, a.real(real_infinity), sum.real_hi), a.lor(risky, a.lor(x.may_be_nan, y.may_be_nan)));
}

template <class A>
Range<A> hull_of_corners(A& a, Real<A> p0, Real<A> p1, Real<A> p2, Real<A> p3, Bool<A> risky, Bool<A> nan,
                         RealError e = {}) {
  const Range<A> r = outward(a, a.rmin(a.rmin(p0, p1), a.rmin(p2, p3)), a.rmax(a.rmax(p0, p1), a.rmax(p2, p3)), nan, e);
  return reals<A>(a.select(risky, a.real(-real_infinity), r.real_lo), a.select(risky, a.real(real_infinity), r.real_hi),
                  nan);
}

template <class A>
Range<A> rmul(A& a, const Range<A>& x, const Range<A>& y, bool square) {
  const Bool<A> risky = a.lor(a.land(has_infinity(a, x), has_zero(a, y)), a.land(has_infinity(a, y), has_zero(a, x)));
  const Bool<A> nan = a.lor(a.lor(x.may_be_nan, y.may_be_nan), square ? a.boolean(false) : risky);
  Range<A> r = hull_of_corners(a, a.rmul(x.real_lo, y.real_lo), a.rmul(x.real_lo, y.real_hi),
                               a.rmul(x.real_hi, y.real_lo), a.rmul(x.real_hi, y.real_hi), risky, nan);
  const Real<A> zero = a.real(0);
  const Bool<A> positive = square ? a.boolean(true) : a.land(a.rle(zero, x.real_lo), a.rle(zero, y.real_lo));
  r.real_lo = a.select(a.land(positive, a.rlt(r.real_lo, zero)), zero, r.real_lo);
  return r;
}

template <class A>
Range<A> rdiv(A& a, const Range<A>& x, const Range<A>& y) {
  const Bool<A> by_zero = has_zero(a, y);
  const Bool<A> risky = a.lor(by_zero, a.land(has_infinity(a, x), has_infinity(a, y)));
  const Bool<A> nan = a.lor(a.lor(x.may_be_nan, y.may_be_nan),
                            a.lor(a.land(by_zero, has_zero(a, x)), a.land(has_infinity(a, x), has_infinity(a, y))));
  return hull_of_corners(a, a.rdiv(x.real_lo, y.real_lo), a.rdiv(x.real_lo, y.real_hi), a.rdiv(x.real_hi, y.real_lo),
                         a.rdiv(x.real_hi, y.real_hi), risky, nan);
}

/// A function that never decreases, exact on every backend (floor, ceil, round, sign) or within `e`.
template <class A>
Range<A> increasing(A& a, Op op, const Range<A>& x, bool exact, RealError e = {}) {
  const Real<A> lo = a.runary(op, x.real_lo), hi = a.runary(op, x.real_hi);
  return exact ? reals<A>(lo, hi, x.may_be_nan) : outward(a, lo, hi, x.may_be_nan, e);
}

template <class A>
Range<A> clipped(A& a, Range<A> r, double low, double high) {
  const Real<A> lo = a.real(low), hi = a.real(high);
  r.real_lo = a.select(a.rlt(r.real_lo, lo), lo, r.real_lo);
  r.real_hi = a.select(a.rlt(hi, r.real_hi), hi, r.real_hi);
  return r;
}

/// Logarithms and roots: below zero they are NaN. `x` is cut to what is not.
template <class A>
Range<A> cut_negative(A& a, const Range<A>& x) {
  const Real<A> zero = a.real(0);
  const Bool<A> negative = a.rlt(x.real_lo, zero);
  auto cut = [&](Real<A> v) { return a.select(a.rlt(v, zero), zero, v); };
  return reals<A>(cut(x.real_lo), cut(x.real_hi), a.lor(x.may_be_nan, negative));
}

template <class A>
Range<A> transcendental(A& a, Op op, const Range<A>& x) {
  switch (op) {
    case Op::exp:
    case Op::exp2:
      return clipped(a, increasing(a, op, x, false, {0x1p-15, 2e-38}), 0, real_infinity);
    case Op::log:
    case Op::log2: {
      // An argument that flushes to zero gives -inf.
      Range<A> r = increasing(a, op, cut_negative(a, x), false, {0x1p-15, 0x1p-15});
      r.real_lo = a.select(a.rle(x.real_lo, a.real(2e-38)), a.real(-real_infinity), r.real_lo);
      return r;
    }
    case Op::sqrt:
      return clipped(a, increasing(a, op, cut_negative(a, x), false, {0x1p-18, 2e-19}), 0, real_infinity);
    case Op::rsqrt: {
      const Range<A> cut = cut_negative(a, x);
      Range<A> r = outward(a, a.runary(op, cut.real_hi), a.runary(op, cut.real_lo), cut.may_be_nan, {0x1p-18, 2e-38});
      r = clipped(a, r, 0, real_infinity);
      const Bool<A> zero = a.rle(x.real_lo, a.real(2e-38));  // +0 gives inf, -0 gives -inf
      r.real_lo = a.select(zero, a.real(-real_infinity), r.real_lo);
      r.real_hi = a.select(zero, a.real(real_infinity), r.real_hi);
      return r;
    }
    case Op::tanh:
      return clipped(a, increasing(a, op, x, false, {0x1p-10, 0x1p-20}), -1, 1);
    case Op::erf:
      return clipped(a, increasing(a, op, x, false, {0x1p-15, 0x1p-15}), -1, 1);
    case Op::sigmoid:
      return clipped(a, increasing(a, op, x, false, {0x1p-10, 0x1p-10}), 0, 1);
    default:  // sin, cos
      return reals<A>(a.real(-1.001), a.real(1.001), a.lor(x.may_be_nan, has_infinity(a, x)));
  }
}

/// For bases above zero pow is monotone in each operand by itself; other bases are left unknown.
template <class A>
Range<A> rpow(A& a, const Range<A>& x, const Range<A>& y) {
  const Bool<A> usual = a.land(a.rlt(a.real(1e-30), x.real_lo), a.lnot(a.lor(has_infinity(a, x), has_infinity(a, y))));
  const Real<A> one = a.real(1), limit = a.real(1024);
  const Bool<A> moderate = a.land(usual, a.land(a.rle(a.rneg(limit), y.real_lo), a.rle(y.real_hi, limit)));
  auto base = [&](Real<A> v) { return a.select(moderate, v, one); };
  const Range<A> r = hull_of_corners(a, a.rpow(base(x.real_lo), y.real_lo), a.rpow(base(x.real_lo), y.real_hi),
                                     a.rpow(base(x.real_hi), y.real_lo), a.rpow(base(x.real_hi), y.real_hi),
                                     a.boolean(false), a.boolean(false), {0x1p-5, 2e-38});
  return reals<A>(a.select(moderate, r.real_lo, a.real(-real_infinity)),
                  a.select(moderate, r.real_hi, a.real(real_infinity)),
                  a.lor(a.lnot(moderate), a.lor(x.may_be_nan, y.may_be_nan)));
}

template <class A>
Range<A> rmin_or_max(A& a, const Range<A>& x, const Range<A>& y, bool is_max) {
  const Bool<A> nan = a.lor(x.may_be_nan, y.may_be_nan);
  return is_max ? reals<A>(a.rmax(x.real_lo, y.real_lo), a.rmax(x.real_hi, y.real_hi), nan)
                : reals<A>(a.rmin(x.real_lo, y.real_lo), a.rmin(x.real_hi, y.real_hi), nan);
}

template <class A>
Range<A> rabs(A& a, const Range<A>& x) {
  const Real<A> zero = a.real(0);
  const Real<A> lo = a.rmax(a.rmax(x.real_lo, a.rneg(x.real_hi)), zero);
  return reals<A>(lo, a.rmax(a.rneg(x.real_lo), x.real_hi), x.may_be_nan);
}

/// sign(NaN) is 0. A subnormal may count as zero.
template <class A>
Range<A> rsign(A& a, const Range<A>& x) {
  const Real<A> zero = a.real(0), one = a.real(1), tiny = a.real(2e-38);
  auto any_nan = [&](Real<A> v, bool low) {
    return a.select(x.may_be_nan, low ? a.rmin(v, zero) : a.rmax(v, zero), v);
  };
  const Real<A> lo = a.select(a.rlt(x.real_lo, zero), a.rneg(one), a.select(a.rlt(tiny, x.real_lo), one, zero));
  const Real<A> hi = a.select(a.rlt(zero, x.real_hi), one, a.select(a.rlt(x.real_hi, a.rneg(tiny)), a.rneg(one), zero));
  return reals<A>(any_nan(lo, true), any_nan(hi, false), a.boolean(false));
}

}  // namespace attnc::bounds::rules
