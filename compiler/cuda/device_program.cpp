// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/device_program.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <optional>

#include "compiler/cuda/operations.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

using ir::Inst;
using ir::Level;
using ir::ValueId;
using Kind = DeviceValue::Kind;

/// f32 represents every integer up to here, so float(a) + float(b) == float(a + b) below.
constexpr std::int64_t exact_in_f32 = 1 << 24;

class Builder {
 public:
  Builder(const ir::Program& program, const std::vector<std::string>& param_texts,
          const std::vector<std::string>& buffer_texts, const PrintOptions& options)
      : program_(program),
        levels_(passes::placement(program)),
        param_texts_(param_texts),
        buffer_texts_(buffer_texts),
        options_(options),
        made_(program.insts.size(), -1) {}

  DeviceProgram run(const std::vector<ValueId>& results) {
    for (const ValueId id : results) mark(id);
    // Operands precede their users, so one sweep in order suffices (and no recursion meets a deep program).
    for (std::size_t id = 0; id < program_.insts.size(); ++id) {
      if (needed(static_cast<ValueId>(id))) made_[id] = make(static_cast<ValueId>(id));
    }
    for (const ValueId id : results) result_.results.push_back(id == ir::no_value ? -1 : at(id));
    return std::move(result_);
  }

 private:
  struct Affine {  // sign * (kv_idx - q_idx) + offset
    int sign = 1;
    std::int64_t offset = 0;
    bool absolute = false;  // of all that
  };

  void mark(ValueId id) {
    if (needed_.empty()) needed_.assign(program_.insts.size(), false);
    if (id == ir::no_value || needed(id)) return;
    std::vector<ValueId> open{id};
    while (!open.empty()) {
      const ValueId top = open.back();
      open.pop_back();
      if (needed(top)) continue;
      needed_[static_cast<std::size_t>(top)] = true;
      const Inst& inst = program_[top];
      // A cast that becomes Element::delta does not need the integer difference.
      if (inst.op == Op::cast && delta_form(inst)) continue;
      if (const auto form = within_form(inst)) {
        open.push_back(form->x);
        open.push_back(form->y);
        continue;
      }
      for (std::size_t i = 0; i < inst.operand_count; ++i) open.push_back(inst.operands[i]);
    }
  }
  bool needed(ValueId id) const { return !needed_.empty() && needed_[static_cast<std::size_t>(id)]; }
  int at(ValueId id) const { return made_[static_cast<std::size_t>(id)]; }
  Level level(ValueId id) const { return levels_[static_cast<std::size_t>(id)]; }

  int add(DeviceValue value) {
    result_.values.push_back(std::move(value));
    return static_cast<int>(result_.values.size()) - 1;
  }

  int computed(ValueId inst, std::string_view label, Type type, Level level, std::string text,
               std::vector<int> operands, int cost) {
    DeviceValue value;
    value.type = type;
    value.level = level;
    value.name = attnc::format("{}_{}", label, inst);
    value.text = std::move(text);
    value.operands = std::move(operands);
    value.cost = cost;
    value.line = inst + 1;
    return add(std::move(value));
  }

  int leaf(Kind kind, Type type, Level level, std::string text = {}) {
    DeviceValue value;
    value.kind = kind;
    value.type = type;
    value.level = level;
    value.text = std::move(text);
    return add(std::move(value));
  }

  bool is_input(ValueId id, Input which) const { return program_[id].op == Op::input && program_[id].input == which; }

  /// kv_idx - q_idx (+1), q_idx - kv_idx (-1) or neither (0).
  int difference_sign(const Inst& inst) const {
    if (inst.op != Op::sub || inst.type != Type::i32) return 0;
    if (is_input(inst.operands[0], Input::kv_idx) && is_input(inst.operands[1], Input::q_idx)) return 1;
    if (is_input(inst.operands[0], Input::q_idx) && is_input(inst.operands[1], Input::kv_idx)) return -1;
    return 0;
  }

  /// Recognises f32(+-(kv_idx - q_idx) + c) and the same under abs.
  std::optional<Affine> delta_form(const Inst& cast) const {
    if (cast.type != Type::f32 || program_[cast.operands[0]].type != Type::i32) return std::nullopt;
    Affine form;
    ValueId id = cast.operands[0];
    if (program_[id].op == Op::abs) {
      form.absolute = true;
      id = program_[id].operands[0];
    }
    // +-x + c nested to any depth; |c| stays small enough that nothing wraps and floats stay exact.
    int outer = 1;
    for (;;) {
      const Inst& inst = program_[id];
      if (const int sign = difference_sign(inst)) {
        form.sign = outer * sign;
        return std::llabs(form.offset) < exact_in_f32 ? std::optional(form) : std::nullopt;
      }
      const auto literal = [&](int i) -> std::optional<std::int64_t> {
        const Inst& operand = program_[inst.operands[static_cast<std::size_t>(i)]];
        if (operand.op != Op::literal || std::llabs(operand.integer) >= exact_in_f32) return std::nullopt;
        return operand.integer;
      };
      if (inst.op == Op::neg) {
        outer = -outer;
        id = inst.operands[0];
      } else if (inst.op == Op::add && literal(0)) {
        form.offset += outer * *literal(0);
        id = inst.operands[1];
      } else if (inst.op == Op::add && literal(1)) {
        form.offset += outer * *literal(1);
        id = inst.operands[0];
      } else if (inst.op == Op::sub && literal(1)) {
        form.offset -= outer * *literal(1);
        id = inst.operands[0];
      } else if (inst.op == Op::sub && literal(0)) {
        form.offset += outer * *literal(0);
        outer = -outer;
        id = inst.operands[1];
      } else {
        return std::nullopt;
      }
    }
  }

  int make_delta(ValueId id, const Affine& form) {
    const int delta = leaf(Kind::delta, Type::f32, Level::diagonal);
    std::string text = form.sign > 0 ? "$0" : "-$0";
    if (form.offset != 0) text += attnc::format(" {} {}.0f", form.offset < 0 ? "-" : "+", std::llabs(form.offset));
    if (form.absolute) text = attnc::format("fabsf({})", text);
    const int cost = form.offset != 0 ? 1 : 0;  // signs and absolute values are operand modifiers
    const int value = computed(id, "distance", Type::f32, Level::diagonal, text, {delta}, cost);
    result_[value].comment = "f32 of a difference of coordinates";
    return value;
  }

  /// Whether a value is >= 0 whatever the call: coordinates, lengths, and what preserves that.
  bool nonnegative(ValueId id, int depth = 0) const {
    const Inst& inst = program_[id];
    if (inst.op == Op::literal) return inst.integer >= 0;
    if (inst.op == Op::input) return inst.type == Type::i32;
    if (depth > 16) return false;
    const auto of = [&](int i) { return nonnegative(inst.operands[static_cast<std::size_t>(i)], depth + 1); };
    const auto positive_literal = [&](int i) {
      const Inst& operand = program_[inst.operands[static_cast<std::size_t>(i)]];
      return operand.op == Op::literal && operand.integer > 0;
    };
    switch (inst.op) {
      case Op::div:
        return of(0) && positive_literal(1);
      case Op::mod:
        return positive_literal(1);
      case Op::min:
        return of(0) && of(1);
      case Op::max:
        return of(0) || of(1);
      case Op::bit_and:
        return of(0) || of(1);
      case Op::shr:
        return of(0);
      case Op::select:
        return of(1) && of(2);
      case Op::cast:
        return inst.type != Type::f32 && program_[inst.operands[0]].type == Type::i32 && inst.type == Type::i64 &&
               of(0);
      default:
        return false;
    }
  }

  int make(ValueId id) {
    const Inst& inst = program_[id];
    switch (inst.op) {
      case Op::literal:
        return leaf(Kind::literal, inst.type, Level::uniform, literal_text(inst));
      case Op::input: {
        const int value = leaf(Kind::input, inst.type, level(id));
        result_[value].input = inst.input;
        return value;
      }
      case Op::param: {
        const std::string& text = param_texts_[static_cast<std::size_t>(inst.slot)];
        return leaf(Kind::param, inst.type, Level::uniform,
                    inst.type == Type::boolean ? attnc::format("({} != 0)", text) : text);
      }
      case Op::load:
        return make_load(id);
      default:
        break;
    }
    if (inst.op == Op::cast) {
      if (const auto form = delta_form(inst)) return make_delta(id, *form);
    }
    if (const int sign = difference_sign(inst)) {
      const int difference = leaf(Kind::difference, Type::i32, Level::diagonal);
      if (sign < 0) return difference;
      return computed(id, "sub", Type::i32, Level::diagonal, "-$0", {difference}, 1);
    }
    if (!options_.precise && inst.op == Op::div && inst.type == Type::f32 && level(id) == Level::element &&
        level(inst.operands[1]) != Level::element) {
      return make_division_by_outer(id);
    }
    if (const auto form = within_form(inst)) return make_within(id, *form);
    OperationStyle style;
    style.precise = options_.precise;
    if ((inst.op == Op::div || inst.op == Op::mod) && inst.type != Type::f32) {
      const Inst& divisor = program_[inst.operands[1]];
      if (divisor.op == Op::literal && divisor.integer > 0) {
        style.nonnegative_dividend = nonnegative(inst.operands[0]);
        const auto bits = static_cast<std::uint64_t>(divisor.integer);
        if (std::has_single_bit(bits)) style.divisor_log2 = std::countr_zero(bits);
      }
    }
    std::vector<std::string> slots;
    std::vector<Type> types;
    std::vector<int> operands;
    for (std::size_t i = 0; i < inst.operand_count; ++i) {
      slots.push_back(attnc::format("${}", i));
      types.push_back(program_[inst.operands[i]].type);
      operands.push_back(at(inst.operands[i]));
    }
    const int value =
        computed(id, info(inst.op).mnemonic, inst.type, level(id), operation_text(inst, slots, types, style),
                 std::move(operands), operation_cost(inst, types[0], style));
    result_[value].op = inst.op;
    result_[value].comment = attnc::format("{} {}", info(inst.op).mnemonic, name(inst.type));
    return value;
  }

  struct Within {
    ValueId x = ir::no_value, y = ir::no_value;
    std::int64_t reach = 0;  // |x - y| <= reach
  };

  /// Recognises |x - y| < c and |x - y| <= c for x and y that are >= 0 and a literal c.
  std::optional<Within> within_form(const Inst& inst) const {
    if (inst.op != Op::lt && inst.op != Op::le) return std::nullopt;
    const Inst& distance = program_[inst.operands[0]];
    const Inst& limit = program_[inst.operands[1]];
    if (distance.op != Op::abs || distance.type != Type::i32 || limit.op != Op::literal) return std::nullopt;
    const Inst& difference = program_[distance.operands[0]];
    const std::int64_t reach = inst.op == Op::lt ? limit.integer - 1 : limit.integer;
    // Differences of values >= 0 do not wrap. That of the coordinates themselves is known without them.
    const bool known = difference.op == Op::sub && difference_sign(difference) == 0 &&
                       nonnegative(difference.operands[0]) && nonnegative(difference.operands[1]);
    if (!known || reach < 0 || reach >= exact_in_f32) return std::nullopt;
    return Within{difference.operands[0], difference.operands[1], reach};
  }

  /// One unsigned comparison, 0 <= x - y + reach <= 2 reach, whose constant joins the side that is not staged.
  int make_within(ValueId id, const Within& form) {
    const bool moves_x = level(form.x) <= Level::row;
    const ValueId moving = moves_x ? form.x : form.y;
    const int moved = computed(id, "moved", Type::i32, level(moving),
                               attnc::format("wrap_add($0, {})", moves_x ? form.reach : -form.reach), {at(moving)}, 1);
    const std::vector<int> sides = moves_x ? std::vector<int>{moved, at(form.y)} : std::vector<int>{at(form.x), moved};
    const int value = computed(id, "within", Type::boolean, level(id),
                               attnc::format("static_cast<uint32>(wrap_sub($0, $1)) <= {}u", 2 * form.reach), sides, 2);
    result_[moved].comment = result_[value].comment = "of a distance";
    return value;
  }

  /// A score divided by what is known outside the element loop: one reciprocal there, one multiplication per score.
  int make_division_by_outer(ValueId id) {
    const Inst& inst = program_[id];
    const int divisor = at(inst.operands[1]);
    const int reciprocal =
        computed(id, "reciprocal", Type::f32, level(inst.operands[1]), "approximate::reciprocal($0)", {divisor}, 9);
    const int value = computed(id, "div", Type::f32, Level::element, "$0 * $1", {at(inst.operands[0]), reciprocal}, 1);
    result_[reciprocal].comment = result_[value].comment = "div f32";
    return value;
  }

  /// buffer[i, j, ...]: the part of the address (and of the guard) that each level knows is computed at that level, so
  /// that a load per score costs one addition and one comparison at most.
  int make_load(ValueId id) {
    const Inst& inst = program_[id];
    const std::string& buffer = buffer_texts_[static_cast<std::size_t>(inst.slot)];
    const Level own = level(id);
    struct Part {
      int offset = -1;  // i64 elements
      int inside = -1;  // bool
    };
    std::array<Part, 5> parts;
    const auto join = [&](Part& part, Level level, std::string_view offset_label, const std::string& offset_text,
                          const std::string& inside_text, std::vector<int> operands) {
      std::vector<int> offset_operands = operands, inside_operands = std::move(operands);
      std::string offset = offset_text, inside = inside_text;
      const auto extend = [&](std::string& text, std::vector<int>& all, int previous, std::string_view op) {
        if (previous < 0) return;
        text = attnc::format("${} {} {}", all.size(), op, text);
        all.push_back(previous);
      };
      extend(offset, offset_operands, part.offset, "+");
      part.offset = computed(id, attnc::format("{}_{}", offset_label, result_.values.size()), Type::i64, level, offset,
                             std::move(offset_operands), 2);
      if (!inst.guarded) return;
      extend(inside, inside_operands, part.inside, "&&");
      part.inside = computed(id, attnc::format("inside_{}", result_.values.size()), Type::boolean, level, inside,
                             std::move(inside_operands), 1);
    };
    for (std::size_t d = 0; d < inst.operand_count; ++d) {
      const Level at_level = level(inst.operands[d]);
      join(parts[static_cast<std::size_t>(at_level)], at_level, "offset", attnc::format("along<{}>({}, $0)", d, buffer),
           attnc::format("inside<{}>({}, $0)", d, buffer), {at(inst.operands[d])});
    }
    // Outer parts flow inwards: uniform into the first finer level there is, then all into the load's own.
    const auto index = [](Level l) { return static_cast<std::size_t>(l); };
    Part& uniform = parts[index(Level::uniform)];
    Part& mine = parts[index(own)];
    const auto pour = [&](Part& from, Part& into, Level level) {
      if (from.offset < 0 || &from == &into) return;
      if (into.offset < 0) {
        into = from;
      } else {
        into.offset = computed(id, attnc::format("offset_{}", result_.values.size()), Type::i64, level, "$0 + $1",
                               {from.offset, into.offset}, 2);
        if (inst.guarded) {
          into.inside = computed(id, attnc::format("inside_{}", result_.values.size()), Type::boolean, level,
                                 "$0 && $1", {from.inside, into.inside}, 1);
        }
      }
      from = Part{};
    };
    for (const Level finer : {Level::row, Level::column, Level::diagonal}) {
      if (finer != own && parts[index(finer)].offset >= 0) pour(uniform, parts[index(finer)], finer);
    }
    for (const Level outer : {Level::uniform, Level::row, Level::column, Level::diagonal}) {
      if (outer != own) pour(parts[index(outer)], mine, own);
    }
    std::string text;
    std::vector<int> operands;
    const std::string_view zero = inst.type == Type::boolean ? "false" : inst.type == Type::f32 ? "0.0f" : "0";
    if (mine.offset < 0) {  // rank 0
      text = attnc::format("load({}.data)", buffer);
    } else if (inst.guarded) {
      text = attnc::format("$0 ? load({}.data + $1) : {}", buffer, zero);
      operands = {mine.inside, mine.offset};
    } else {
      text = attnc::format("load({}.data + $0)", buffer);
      operands = {mine.offset};
    }
    const int value = computed(id, "load", inst.type, own, std::move(text), std::move(operands), 24);
    result_[value].comment = attnc::format("load {}", name(inst.type));
    return value;
  }

  const ir::Program& program_;
  const std::vector<Level> levels_;
  const std::vector<std::string>& param_texts_;
  const std::vector<std::string>& buffer_texts_;
  const PrintOptions& options_;
  std::vector<bool> needed_;
  std::vector<int> made_;
  DeviceProgram result_;
};

}  // namespace

DeviceProgram make_device_program(const ir::Program& program, const std::vector<ir::ValueId>& results,
                                  const std::vector<std::string>& param_texts,
                                  const std::vector<std::string>& buffer_texts, const PrintOptions& options) {
  return Builder(program, param_texts, buffer_texts, options).run(results);
}

void recompute_cheap_values(DeviceProgram& program) {
  // A word from shared memory costs about four multiply-adds; a column's word is used by the two rows of a thread.
  constexpr int diagonal_word_cost = 4;
  constexpr int column_word_cost = 3;
  std::vector<bool> fetched(program.values.size(), false);  // used at element level
  const auto is_staged = [&](const DeviceValue& value) {
    return value.kind == Kind::computed && (value.level == Level::column || value.level == Level::diagonal);
  };
  for (const int result : program.results)
    if (result >= 0) fetched[static_cast<std::size_t>(result)] = true;
  // From users to operands, so that what moves passes the question on to its operands.
  for (int id = static_cast<int>(program.values.size()) - 1; id >= 0; --id) {
    DeviceValue& value = program[id];
    if (is_staged(value) && fetched[static_cast<std::size_t>(id)]) {
      // The cost of the cone, shared parts counted once per path: an overestimate, so never a bad move.
      int cost = 0;
      std::vector<int> open{id};
      const int limit =
          (value.level == Level::column ? column_word_cost : diagonal_word_cost) * (value.type == Type::i64 ? 2 : 1);
      while (!open.empty() && cost <= limit) {
        const DeviceValue& part = program[open.back()];
        open.pop_back();
        cost += part.kind == Kind::difference ? 1 : part.cost;
        for (const int operand : part.operands)
          if (is_staged(program[operand]) || program[operand].kind == Kind::difference) open.push_back(operand);
      }
      value.recomputed = cost <= limit;
    }
    if (computed_per_element(value)) {
      for (const int operand : value.operands) fetched[static_cast<std::size_t>(operand)] = true;
    }
  }
}

void recompute_head_values(DeviceProgram& program) {
  std::vector<bool> reads_head(program.values.size(), false);
  for (std::size_t id = 0; id < program.values.size(); ++id) {
    DeviceValue& value = program.values[id];
    reads_head[id] = value.kind == Kind::input && value.input == Input::h;
    for (const int operand : value.operands)
      reads_head[id] = reads_head[id] || reads_head[static_cast<std::size_t>(operand)];
    const bool is_shared = value.level == Level::column || value.level == Level::diagonal;
    if (reads_head[id] && is_shared) value.recomputed = true;
  }
}

}  // namespace attnc::cuda
