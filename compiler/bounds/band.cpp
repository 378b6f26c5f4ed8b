// SPDX-License-Identifier: Apache-2.0
// Masks that keep one run of keys per row, found by solving the mask for kv_idx.
#include <limits>

#include "compiler/bounds/bounds.h"
#include "compiler/bounds/concrete.h"
#include "compiler/bounds/emitter.h"
#include "compiler/bounds/evaluate.h"
#include "compiler/passes/passes.h"

namespace attnc::bounds {
namespace {

using ir::Inst;
using ir::Level;
using ir::Program;
using ir::ValueId;

/// Keys lo <= kv_idx < hi; an absent end is open.
struct Interval {
  std::optional<Scalar> lo, hi;
};

/// The ends past any key. kv_idx < max_length, so no key is >= never.
constexpr std::int64_t always = 0, never = std::numeric_limits<std::int32_t>::max();
/// Ends are computed exactly, in int64 where need be; expressions that could come near its ends are refused.
constexpr std::int64_t largest_end = std::int64_t{1} << 60;

class Solver {
 public:
  explicit Solver(Program& program)
      : levels_(passes::placement(program)),
        ranges_(program.insts.size()),
        count_(static_cast<ValueId>(program.insts.size())),
        program_(program),
        emit_(program) {
    Concrete algebra{Knowledge{}};
    algebra.set_box(Box::anything());
    for (ValueId id = 0; id < count_; ++id)
      ranges_[static_cast<std::size_t>(id)] = evaluate(algebra, program, id, ranges_.data());
  }

  /// The keys for which boolean `id` is true.
  std::optional<Interval> keys(ValueId id, int depth = 0) {
    if (depth > max_depth) return std::nullopt;
    if (is_row(id)) return where_row(truth_of(id));
    const Inst inst = program_[id];
    const ValueId x = inst.operands[0], y = inst.operands[1], z = inst.operands[2];
    switch (inst.op) {
      case Op::logical_and:
        return both(keys(x, depth + 1), keys(y, depth + 1));
      case Op::logical_or:
        if (is_row(x)) return choose(truth_of(x), Interval{}, keys(y, depth + 1));
        if (is_row(y)) return choose(truth_of(y), Interval{}, keys(x, depth + 1));
        return either(keys(x, depth + 1), keys(y, depth + 1));
      case Op::logical_not:
        return complement(keys(x, depth + 1));
      case Op::select:
        if (!is_row(x)) return std::nullopt;
        return choose(truth_of(x), keys(y, depth + 1), keys(z, depth + 1));
      case Op::eq:
      case Op::lt:
      case Op::le:
      case Op::gt:
      case Op::ge:
        if (program_[x].type != Type::i32 && program_[x].type != Type::i64) return std::nullopt;
        if (is_row(y)) return compare(x, inst.op, scalar_of(y), depth + 1);
        if (is_row(x)) return compare(y, mirrored(inst.op), scalar_of(x), depth + 1);
        return std::nullopt;
      default:
        return std::nullopt;
    }
  }

  /// The ends as i32 values.
  RowBand finish(const Interval& interval) {
    const Scalar lowest = emit_.integer(always), highest = emit_.integer(never);
    auto clip = [&](const Scalar& end) {
      return emit_.as(emit_.assume(emit_.min(emit_.max(end, lowest), highest), always, never), Type::i32);
    };
    const ValueId lo = clip(interval.lo.value_or(lowest)), hi = clip(interval.hi.value_or(highest));
    return {program_, lo, hi};
  }

 private:
  static constexpr int max_depth = 64;
  using Result = std::optional<Interval>;

  bool is_row(ValueId id) const {
    const Level level = levels_[static_cast<std::size_t>(id)];
    return level == Level::uniform || level == Level::row;
  }
  const Range<Concrete>& range(ValueId id) const { return ranges_[static_cast<std::size_t>(id)]; }
  Scalar scalar_of(ValueId id) { return emit_.value(id, range(id).lo, range(id).hi); }
  Truth truth_of(ValueId id) {
    const Inst& inst = program_[id];
    return inst.op == Op::literal ? emit_.boolean(inst.integer != 0) : Truth{id, std::nullopt};
  }
  static Op mirrored(Op op) {
    switch (op) {
      case Op::lt:
        return Op::gt;
      case Op::le:
        return Op::ge;
      case Op::gt:
        return Op::lt;
      case Op::ge:
        return Op::le;
      default:
        return op;
    }
  }

  /// All keys where the row's condition holds, none elsewhere.
  Result where_row(const Truth& condition) {
    return Interval{emit_.select(condition, emit_.integer(always), emit_.integer(never)), std::nullopt};
  }
  Result both(const Result& a, const Result& b) {
    if (!a || !b) return std::nullopt;
    Interval r = *a;
    if (b->lo) r.lo = r.lo ? emit_.max(*r.lo, *b->lo) : *b->lo;
    if (b->hi) r.hi = r.hi ? emit_.min(*r.hi, *b->hi) : *b->hi;
    return r;
  }
  /// A union of half-lines that open the same way.
  Result either(const Result& a, const Result& b) {
    if (!a || !b) return std::nullopt;
    if (!a->hi && !b->hi) return a->lo && b->lo ? Interval{emit_.min(*a->lo, *b->lo), std::nullopt} : Interval{};
    if (!a->lo && !b->lo) return a->hi && b->hi ? Interval{std::nullopt, emit_.max(*a->hi, *b->hi)} : Interval{};
    return std::nullopt;
  }
  static Result complement(const Result& a) {
    if (!a || (a->lo && a->hi) || (!a->lo && !a->hi)) return std::nullopt;
    return a->lo ? Interval{std::nullopt, a->lo} : Interval{a->hi, std::nullopt};
  }
  Result choose(const Truth& condition, const Result& a, const Result& b) {
    if (!a || !b) return std::nullopt;
    Interval r;
    if (a->lo || b->lo)
      r.lo = emit_.select(condition, a->lo.value_or(emit_.integer(always)), b->lo.value_or(emit_.integer(always)));
    if (a->hi || b->hi)
      r.hi = emit_.select(condition, a->hi.value_or(emit_.integer(never)), b->hi.value_or(emit_.integer(never)));
    return r;
  }

  /// Keys for which value `id` compares so with the row's `bound`.
  Result compare(ValueId id, Op op, const Scalar& bound, int depth) {
    const Scalar one = emit_.integer(1);
    switch (op) {
      case Op::lt:
        return solve(id, true, emit_.sub(bound, one), depth);
      case Op::le:
        return solve(id, true, bound, depth);
      case Op::gt:
        return solve(id, false, emit_.add(bound, one), depth);
      case Op::ge:
        return solve(id, false, bound, depth);
      default:
        return both(solve(id, true, bound, depth), solve(id, false, bound, depth));
    }
  }

  /// Whether the instruction's exact result fits its type for every call, so that it can be inverted.
  bool cannot_wrap(const Inst& inst, std::int64_t lo, std::int64_t hi) const {
    return lo >= type_min(inst.type) && hi <= type_max(inst.type);
  }
  /// Operand ranges that keep sums and products of two within int64.
  bool is_moderate(ValueId id) const {
    return range(id).lo >= -(std::int64_t{1} << 31) && range(id).hi <= (std::int64_t{1} << 31);
  }

  /// Keys for which value `id` <= bound (`below`) or >= bound.
  Result solve(ValueId id, bool below, const Scalar& bound, int depth) {
    if (depth > max_depth || bound.lo < -largest_end || bound.hi > largest_end) return std::nullopt;
    if (is_row(id)) {
      const Scalar value = scalar_of(id);
      return where_row(below ? emit_.compare(Op::le, value, bound) : emit_.compare(Op::le, bound, value));
    }
    const Inst inst = program_[id];
    const ValueId x = inst.operands[0], y = inst.operands[1], z = inst.operands[2];
    switch (inst.op) {
      case Op::input:  // kv_idx, the only input below row level of integer type
        return below ? Interval{std::nullopt, emit_.add(bound, emit_.integer(1))} : Interval{bound, std::nullopt};
      case Op::add:
      case Op::sub:
        return solve_sum(inst, below, bound, depth);
      case Op::neg:
        if (!is_moderate(x) || !cannot_wrap(inst, -range(x).hi, -range(x).lo)) return std::nullopt;
        return solve(x, !below, emit_.sub(emit_.integer(0), bound), depth + 1);
      case Op::mul:
      case Op::div:
      case Op::shr:
        return solve_scale(inst, below, bound, depth);
      case Op::abs:
        if (!below || range(x).lo <= type_min(inst.type)) return std::nullopt;
        return both(solve(x, true, bound, depth + 1), solve(x, false, emit_.sub(emit_.integer(0), bound), depth + 1));
      case Op::min:
      case Op::max: {
        const Result a = solve(x, below, bound, depth + 1), b = solve(y, below, bound, depth + 1);
        if ((inst.op == Op::max) == below) return both(a, b);
        if (is_row(x)) return any_of_row(a, b);
        if (is_row(y)) return any_of_row(b, a);
        return either(a, b);
      }
      case Op::cast:
        if (inst.type != Type::i64 || program_[x].type != Type::i32) return std::nullopt;
        return solve(x, below, bound, depth + 1);
      case Op::select:
        if (!is_row(x)) return std::nullopt;
        return choose(truth_of(x), solve(y, below, bound, depth + 1), solve(z, below, bound, depth + 1));
      default:
        return std::nullopt;
    }
  }

  /// `row` keeps all keys of its rows or none: rows it keeps are whole, others keep `rest`.
  Result any_of_row(const Result& row, const Result& rest) {
    if (!row || !rest) return std::nullopt;
    const Truth all = emit_.compare(Op::le, *row->lo, emit_.integer(always));
    return choose(all, Interval{}, rest);
  }

  Result solve_sum(const Inst& inst, bool below, const Scalar& bound, int depth) {
    const ValueId x = inst.operands[0], y = inst.operands[1];
    if (!is_moderate(x) || !is_moderate(y)) return std::nullopt;
    const bool plus = inst.op == Op::add;
    const std::int64_t lo = range(x).lo + (plus ? range(y).lo : -range(y).hi),
                       hi = range(x).hi + (plus ? range(y).hi : -range(y).lo);
    if (!cannot_wrap(inst, lo, hi)) return std::nullopt;
    if (is_row(y))
      return solve(x, below, plus ? emit_.sub(bound, scalar_of(y)) : emit_.add(bound, scalar_of(y)), depth + 1);
    if (!is_row(x)) return std::nullopt;
    if (plus) return solve(y, below, emit_.sub(bound, scalar_of(x)), depth + 1);
    return solve(y, !below, emit_.sub(scalar_of(x), bound), depth + 1);  // x - y <= bound: y >= x - bound
  }

  /// Products and floor quotients by literals.
  Result solve_scale(const Inst& inst, bool below, const Scalar& bound, int depth) {
    ValueId x = inst.operands[0], factor_id = inst.operands[1];
    if (inst.op == Op::mul && program_[x].op == Op::literal) std::swap(x, factor_id);
    if (program_[factor_id].op != Op::literal) return std::nullopt;
    std::int64_t factor = program_[factor_id].integer;
    if (inst.op == Op::shr) {
      if (factor < 0 || factor > 30) return std::nullopt;
      factor = std::int64_t{1} << factor;
    }
    if (factor == 0 || factor > max_length || factor < -max_length) return std::nullopt;
    if (bound.lo < -(std::int64_t{1} << 33) || bound.hi > (std::int64_t{1} << 33) || !is_moderate(x))
      return std::nullopt;
    const Scalar zero = emit_.integer(0), size = emit_.integer(factor < 0 ? -factor : factor);
    if (inst.op != Op::mul) {
      if (factor < 0) return std::nullopt;
      const Scalar first = emit_.mul(bound, size);  // x / f >= b: x >= b f; x / f <= b: x <= b f + f - 1
      return solve(x, below, below ? emit_.add(first, emit_.integer(factor - 1)) : first, depth + 1);
    }
    const auto [lo, hi] = std::minmax({range(x).lo * factor, range(x).hi * factor});
    if (!cannot_wrap(inst, lo, hi)) return std::nullopt;
    // f x <= b: x <= floor(b / f); f x >= b: x >= ceil(b / f) = -floor(-b / f). A negative factor turns both around.
    const bool under = factor > 0 ? below : !below;
    const Scalar end = factor > 0 ? bound : emit_.sub(zero, bound);
    return solve(x, under, under ? emit_.div(end, size) : emit_.sub(zero, emit_.div(emit_.sub(zero, end), size)),
                 depth + 1);
  }

  std::vector<Level> levels_;
  std::vector<Range<Concrete>> ranges_;
  ValueId count_;
  Program& program_;
  Emitter emit_;
};

}  // namespace

std::optional<RowBand> row_band(const ir::Program& program) {
  if (program.mask == ir::no_value) return std::nullopt;
  Program extended = program;
  Solver solver(extended);
  const std::optional<Interval> interval = solver.keys(program.mask);
  if (!interval) return std::nullopt;
  return solver.finish(*interval);
}

}  // namespace attnc::bounds
