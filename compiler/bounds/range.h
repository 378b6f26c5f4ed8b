// SPDX-License-Identifier: Apache-2.0
// The abstract value of interval analysis, over any algebra of scalars.
//
// The rules (rules_*.h) are written once, against an algebra `A` that supplies three scalar types and straight-line
// operations on them. Two algebras exist:
//   Concrete (concrete.h)  computes at once, on int64, double and bool: the host's classifier and all proofs;
//   Symbolic (symbolic.h)  emits instructions: the classifier that runs inside kernels.
// A rule therefore never branches on a scalar's value, only on what `known()` can say, and what is tested of the one
// holds for the other.
//
//   A::Int    a mathematical integer within int64; A::Real an fp64 (emitted: f32) number or infinity; A::Bool
//   known(x)  its value where the algebra can say, for decisions about which rule to apply
//   same(x,y) certainly equal
#pragma once

#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>

#include "dsl/types.h"

namespace attnc::bounds {

/// The set of all a value can be over a box.
template <class A>
struct Range {
  using Int = typename A::Int;
  using Real = typename A::Real;
  using Bool = typename A::Bool;

  Type type = Type::i32;

  // i32, i64: lo <= value <= hi, after wrap-around.
  Int lo{}, hi{};
  /// If `linear`: value == wrap32(q_scale * q_idx + kv_scale * kv_idx + offset), so that two values which read the same
  /// coordinate can be compared. Only for i32.
  bool linear = false;
  std::int64_t q_scale = 0, kv_scale = 0;
  Int offset{};
  /// value mod modulus == residue; modulus 1 says nothing.
  std::int64_t modulus = 1, residue = 0;

  // f32: real_lo <= value <= real_hi unless it is NaN. Outward of the exact result by enough for every backend.
  Real real_lo{}, real_hi{};
  Bool may_be_nan{};

  // boolean: three-valued logic.
  Bool may_be_true{}, may_be_false{};
  /// boolean: may_be_false == !may_be_true, that is: the value itself is known when the box is.
  bool decided = false;
};

constexpr std::int64_t type_min(Type type) {
  return type == Type::i64 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int32_t>::min();
}
constexpr std::int64_t type_max(Type type) {
  return type == Type::i64 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int32_t>::max();
}

/// Coefficients of linear forms stay small, so that evaluating one over a box cannot overflow an int64.
inline constexpr std::int64_t max_linear_scale = std::int64_t{1} << 20;

template <class A>
Range<A> integers(A& a, Type type, typename A::Int lo, typename A::Int hi) {
  Range<A> r;
  r.type = type;
  r.lo = lo;
  r.hi = hi;
  if (a.same(lo, hi)) {
    if (type == Type::i32) {
      r.linear = true;
      r.offset = lo;
    }
    if (auto value = a.known(lo)) {
      r.modulus = 0;
      r.residue = *value;
    }
  }
  return r;
}

template <class A>
Range<A> any_integer(A& a, Type type) {
  return integers(a, type, a.integer(type_min(type)), a.integer(type_max(type)));
}

template <class A>
Range<A> reals(typename A::Real lo, typename A::Real hi, typename A::Bool may_be_nan) {
  Range<A> r;
  r.type = Type::f32;
  r.real_lo = lo;
  r.real_hi = hi;
  r.may_be_nan = may_be_nan;
  return r;
}

template <class A>
Range<A> any_real(A& a) {
  const double infinity = std::numeric_limits<double>::infinity();
  return reals<A>(a.real(-infinity), a.real(infinity), a.boolean(true));
}

template <class A>
Range<A> truth(typename A::Bool may_be_true, typename A::Bool may_be_false) {
  Range<A> r;
  r.type = Type::boolean;
  r.may_be_true = may_be_true;
  r.may_be_false = may_be_false;
  return r;
}

template <class A>
Range<A> any_truth(A& a) {
  return truth<A>(a.boolean(true), a.boolean(true));
}

template <class A>
Range<A> decided_truth(A& a, typename A::Bool value) {
  Range<A> r = truth<A>(value, a.lnot(value));
  r.decided = true;
  return r;
}

template <class A>
Range<A> anything(A& a, Type type) {
  switch (type) {
    case Type::boolean:
      return any_truth(a);
    case Type::f32:
      return any_real(a);
    default:
      return any_integer(a, type);
  }
}

/// The value itself is known when the box is. (Floats never count: backends may round them differently.)
template <class A>
bool is_point(A& a, const Range<A>& r) {
  switch (r.type) {
    case Type::boolean: {
      if (r.decided) return true;
      const auto t = a.known(r.may_be_true), f = a.known(r.may_be_false);
      return t && f && *t != *f;
    }
    case Type::f32:
      return false;
    default:
      return a.same(r.lo, r.hi);
  }
}

}  // namespace attnc::bounds
