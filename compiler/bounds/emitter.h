// SPDX-License-Identifier: Apache-2.0
// Builds integer code with what is known of every scalar's range: picks i32 where a result provably fits, folds what is
// constant, and gives equal computations one value.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>

#include "compiler/ir/program.h"

namespace attnc::bounds {

/// An i32 or i64 value of the program under construction, always within [lo, hi].
struct Scalar {
  ir::ValueId id = ir::no_value;
  std::int64_t lo = 0, hi = 0;
};

/// A boolean value; `known` where it is constant.
struct Truth {
  ir::ValueId id = ir::no_value;
  std::optional<bool> known;
};

/// Appends to a program. Arithmetic is exact: the caller sees to it that no result leaves int64.
class Emitter {
 public:
  /// Instructions already in `out` are found again rather than repeated.
  explicit Emitter(ir::Program& out);

  Scalar integer(std::int64_t value);
  Truth boolean(bool value);
  /// A value of the program, known to lie within [lo, hi]; booleans have no range.
  Scalar value(ir::ValueId id, std::int64_t lo, std::int64_t hi) { return {id, lo, hi}; }
  Scalar input(Input which, std::int64_t lo, std::int64_t hi);
  Scalar param(int slot, Type type, std::int64_t lo, std::int64_t hi);

  Scalar add(const Scalar& x, const Scalar& y);
  Scalar sub(const Scalar& x, const Scalar& y);
  Scalar mul(const Scalar& x, const Scalar& y);
  /// Rounds toward -inf; by zero 0. Not for the least int64 by -1.
  Scalar div(const Scalar& x, const Scalar& y);
  Scalar mod(const Scalar& x, const Scalar& y);
  Scalar min(const Scalar& x, const Scalar& y);
  Scalar max(const Scalar& x, const Scalar& y);
  Scalar select(const Truth& c, const Scalar& x, const Scalar& y);
  Truth select(const Truth& c, const Truth& x, const Truth& y);
  /// x, which the caller knows to lie within [lo, hi].
  Scalar assume(const Scalar& x, std::int64_t lo, std::int64_t hi);
  Scalar wrap32(const Scalar& x);
  /// The instruction itself, wrap-around included, on operands brought to `type`.
  Scalar exact(Op op, Type type, const Scalar& x, const Scalar& y);

  Truth compare(Op op, const Scalar& x, const Scalar& y);
  Truth land(const Truth& x, const Truth& y);
  Truth lor(const Truth& x, const Truth& y);
  Truth lnot(const Truth& x);

  /// The value as exactly i32 or i64 (i32: it must be known to fit).
  ir::ValueId as(const Scalar& x, Type type);
  ir::ValueId as_boolean(const Truth& x);

  /// An instruction, or the equal one there is already.
  ir::ValueId emit(const ir::Inst& inst);
  ir::Program& program() { return out_; }
  /// Whether the value is known to be an i32.
  static bool fits32(const Scalar& x);

 private:
  Scalar arithmetic(Op op, const Scalar& x, const Scalar& y, std::int64_t lo, std::int64_t hi);

  using Key =
      std::tuple<Op, Type, Input, std::int16_t, std::array<ir::ValueId, ir::max_operands>, double, std::int64_t>;
  static Key key(const ir::Inst& inst) {
    return {inst.op, inst.type, inst.input, inst.slot, inst.operands, inst.real, inst.integer};
  }

  ir::Program& out_;
  std::map<Key, ir::ValueId> known_;
};

}  // namespace attnc::bounds
