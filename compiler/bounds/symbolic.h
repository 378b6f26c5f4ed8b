// SPDX-License-Identifier: Apache-2.0
// The algebra that emits instructions (see range.h): the same rules, as code for a classifier inside a kernel.
//
// Floats are left out: a comparison of floats is undecided, whatever the block. Masks seldom have one, and kernels
// would need directed rounding for it.
#pragma once

#include "compiler/bounds/bounds.h"
#include "compiler/bounds/emitter.h"
#include "compiler/bounds/range.h"

namespace attnc::bounds {

class Symbolic {
 public:
  using Int = Scalar;
  using Bool = Truth;
  struct Real {};

  Symbolic(ClassifierProgram& out, const ClassifierOptions& options);

  Int integer(std::int64_t value) { return emit_.integer(value); }
  Real real(double) { return {}; }
  Bool boolean(bool value) { return emit_.boolean(value); }

  std::optional<std::int64_t> known(const Int& x) const { return x.lo == x.hi ? std::optional(x.lo) : std::nullopt; }
  std::optional<bool> known(const Bool& x) const { return x.known; }
  bool same(const Int& x, const Int& y) const {
    return (x.id == y.id && x.id != ir::no_value) || (x.lo == x.hi && y.lo == y.hi && x.lo == y.lo);
  }
  bool within(const Int& x, std::int64_t lo, std::int64_t hi) const { return x.lo >= lo && x.hi <= hi; }
  Int assume(const Int& x, std::int64_t lo, std::int64_t hi) { return emit_.assume(x, lo, hi); }

  Int add(const Int& x, const Int& y) { return emit_.add(x, y); }
  Int sub(const Int& x, const Int& y) { return emit_.sub(x, y); }
  Int mul(const Int& x, const Int& y) { return emit_.mul(x, y); }
  Int div(const Int& x, const Int& y) { return emit_.div(x, y); }
  Int mod(const Int& x, const Int& y) { return emit_.mod(x, y); }
  Int min(const Int& x, const Int& y) { return emit_.min(x, y); }
  Int max(const Int& x, const Int& y) { return emit_.max(x, y); }
  Int wrap32(const Int& x) { return emit_.wrap32(x); }
  Int exact(Op op, Type type, const Int& x, const Int& y) { return emit_.exact(op, type, x, y); }
  Bool lt(const Int& x, const Int& y) { return emit_.compare(Op::lt, x, y); }
  Bool le(const Int& x, const Int& y) { return emit_.compare(Op::le, x, y); }
  Bool eq(const Int& x, const Int& y) { return emit_.compare(Op::eq, x, y); }
  Bool land(const Bool& x, const Bool& y) { return emit_.land(x, y); }
  Bool lor(const Bool& x, const Bool& y) { return emit_.lor(x, y); }
  Bool lnot(const Bool& x) { return emit_.lnot(x); }
  Int select(const Bool& c, const Int& x, const Int& y) { return emit_.select(c, x, y); }
  Bool select(const Bool& c, const Bool& x, const Bool& y) { return emit_.select(c, x, y); }
  Real select(const Bool&, Real x, Real) { return x; }

  // Never reached: evaluate() leaves what touches floats unknown (has_reals).
  Real radd(Real x, Real) { return x; }
  Real rsub(Real x, Real) { return x; }
  Real rmul(Real x, Real) { return x; }
  Real rdiv(Real x, Real) { return x; }
  Real rmin(Real x, Real) { return x; }
  Real rmax(Real x, Real) { return x; }
  Real rabs(Real x) { return x; }
  Real rneg(Real x) { return x; }
  Real runary(Op, Real x) { return x; }
  Real rpow(Real x, Real) { return x; }
  Bool rlt(Real, Real) { return emit_.boolean(true); }
  Bool rle(Real, Real) { return emit_.boolean(true); }
  Real to_real(const Int&) { return {}; }
  Int to_integer(Real, Type type) { return emit_.integer(type_min(type)); }
  static constexpr bool has_reals = false;

  Int first(Input which);
  Int last(Input which);
  Range<Symbolic> param(int slot, Type type);
  Range<Symbolic> load(const ir::Program& program, const ir::Inst& inst, const Range<Symbolic>* values);

  Emitter& emitter() { return emit_; }

 private:
  Range<Symbolic> load_value(const ir::Program& program, const ir::Inst& inst, const Range<Symbolic>* values);
  Range<Symbolic> load_runs(const ir::Program& program, const ir::Inst& inst, const Range<Symbolic>* values,
                            int dimension);
  Int extent(int slot, int dimension);
  int extrema_slot(int source, int dimension, bool maximum);
  ir::ValueId emit_load(int slot, Type type, const std::vector<ir::ValueId>& index);

  ClassifierProgram& out_;
  ClassifierOptions options_;
  Emitter emit_;
};

}  // namespace attnc::bounds
