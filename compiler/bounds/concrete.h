// SPDX-License-Identifier: Apache-2.0
// The algebra that computes at once (see range.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "compiler/bounds/bounds.h"
#include "compiler/bounds/range.h"
#include "compiler/ir/semantics.h"

namespace attnc::bounds {

class Concrete {
 public:
  using Int = std::int64_t;
  using Real = double;
  using Bool = bool;

  static constexpr bool has_reals = true;

  explicit Concrete(const Knowledge& knowledge) : knowledge_(knowledge) {}
  void set_box(const Box& box) { box_ = box; }

  Int integer(std::int64_t value) { return value; }
  Real real(double value) { return value; }
  Bool boolean(bool value) { return value; }

  std::optional<std::int64_t> known(Int x) const { return x; }
  std::optional<bool> known(Bool x) const { return x; }
  bool same(Int x, Int y) const { return x == y; }
  /// Whether x is certainly within [lo, hi].
  bool within(Int x, std::int64_t lo, std::int64_t hi) const { return x >= lo && x <= hi; }

  Int add(Int x, Int y) { return ir::semantics::wrapping_add(x, y); }
  Int sub(Int x, Int y) { return ir::semantics::wrapping_sub(x, y); }
  Int mul(Int x, Int y) { return ir::semantics::wrapping_mul(x, y); }
  Int div(Int x, Int y) { return ir::semantics::floor_div(x, y); }
  Int mod(Int x, Int y) { return ir::semantics::floor_mod(x, y); }
  Int min(Int x, Int y) { return std::min(x, y); }
  Int max(Int x, Int y) { return std::max(x, y); }
  /// x, which the caller knows to lie within [lo, hi].
  Int assume(Int x, std::int64_t, std::int64_t) { return x; }
  Int wrap32(Int x) { return ir::semantics::wrap(x, Type::i32); }
  /// Exactly what the instruction gives.
  Int exact(Op op, Type type, Int x, Int y) { return ir::semantics::integer_op(op, type, x, y); }
  Bool lt(Int x, Int y) { return x < y; }
  Bool le(Int x, Int y) { return x <= y; }
  Bool eq(Int x, Int y) { return x == y; }

  Bool land(Bool x, Bool y) { return x && y; }
  Bool lor(Bool x, Bool y) { return x || y; }
  Bool lnot(Bool x) { return !x; }
  template <class T>
  T select(Bool c, T x, T y) {
    return c ? x : y;
  }

  Real radd(Real x, Real y) { return x + y; }
  Real rsub(Real x, Real y) { return x - y; }
  Real rmul(Real x, Real y) { return x * y; }
  Real rdiv(Real x, Real y) { return x / y; }
  Real rmin(Real x, Real y) { return std::min(x, y); }
  Real rmax(Real x, Real y) { return std::max(x, y); }
  Real rabs(Real x) { return std::fabs(x); }
  Real rneg(Real x) { return -x; }
  Real runary(Op op, Real x) { return ir::semantics::real_op(op, x, 0, 0); }
  Real rpow(Real x, Real y) { return std::pow(x, y); }
  Bool rlt(Real x, Real y) { return x < y; }
  Bool rle(Real x, Real y) { return x <= y; }
  Real to_real(Int x) { return static_cast<double>(x); }
  Int to_integer(Real x, Type type) { return ir::semantics::real_to_integer(x, type); }

  Int first(Input which) const {
    switch (which) {
      case Input::b:
        return box_.b_first;
      case Input::h:
        return box_.h_first;
      case Input::q_idx:
        return box_.q_first;
      case Input::kv_idx:
        return box_.kv_first;
      case Input::q_len:
        return box_.q_len_first;
      default:
        return box_.kv_len_first;
    }
  }
  Int last(Input which) const {
    switch (which) {
      case Input::b:
        return box_.b_last;
      case Input::h:
        return box_.h_last;
      case Input::q_idx:
        return box_.q_last;
      case Input::kv_idx:
        return box_.kv_last;
      case Input::q_len:
        return box_.q_len_last;
      default:
        return box_.kv_len_last;
    }
  }

  Range<Concrete> param(int slot, Type type);
  Range<Concrete> load(const ir::Program& program, const ir::Inst& inst, const Range<Concrete>* values);

 private:
  Knowledge knowledge_;
  Box box_;
};

Range<Concrete> to_range(Concrete& a, const ValueRange& value);
ValueRange to_value_range(const Range<Concrete>& range);

}  // namespace attnc::bounds
