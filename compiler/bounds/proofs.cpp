// SPDX-License-Identifier: Apache-2.0
// Proofs about whole calls: guards of loads, rows that keep a key, bounded scores, mods without effect.

#include <algorithm>
#include <cmath>

#include "compiler/bounds/bounds.h"
#include "compiler/bounds/concrete.h"
#include "compiler/bounds/evaluate.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"

namespace attnc::bounds {
namespace {

using ir::Inst;
using ir::no_value;
using ir::Program;
using ir::ValueId;

/// Depends on coordinates, lengths, parameters and integer arithmetic alone.
bool is_computed_index(const Program& program, ValueId root) {
  const std::vector<ValueId> needed = cone(program, root);
  return std::none_of(needed.begin(), needed.end(),
                      [&](ValueId id) { return program[id].op == Op::load || program[id].type == Type::f32; });
}

std::string condition_text(const Program& program, const Inst& load, int dimension, const ValueRange& index) {
  const std::string& buffer = program.buffers[static_cast<std::size_t>(load.slot)].name;
  const Inst& inst = program[load.operands[static_cast<std::size_t>(dimension)]];
  if (inst.op == Op::input) {
    switch (inst.input) {
      case Input::b:
        return attnc::format("extent {} of {} >= batch", dimension, buffer);
      case Input::h:
        return attnc::format("extent {} of {} >= heads", dimension, buffer);
      case Input::q_idx:
        return attnc::format("extent {} of {} >= q_len", dimension, buffer);
      case Input::kv_idx:
        return attnc::format("extent {} of {} >= kv_len", dimension, buffer);
      default:
        break;
    }
  }
  if (index.lo >= 0 && index.hi < max_length)
    return attnc::format("extent {} of {} >= {}", dimension, buffer, index.hi + 1);
  return attnc::format("0 <= %{} < extent {} of {} over the call's coordinates",
                       load.operands[static_cast<std::size_t>(dimension)], dimension, buffer);
}

Inst input_inst(Input which) {
  Inst inst;
  inst.op = Op::input;
  inst.type = Type::i32;
  inst.input = which;
  return inst;
}
Inst binary_inst(Op op, ValueId x, ValueId y) {
  Inst inst;
  inst.op = op;
  inst.type = Type::i32;
  inst.operand_count = 2;
  inst.operands[0] = x;
  inst.operands[1] = y;
  return inst;
}
Inst integer_inst(std::int64_t value) {
  Inst inst;
  inst.type = Type::i32;
  inst.integer = value;
  return inst;
}

/// The mask alone with a key chosen for each row.
Program with_witness(const Program& program, RowSafety::Witness witness) {
  Program result;
  result.params = program.params;
  result.buffers = program.buffers;
  ValueId key = no_value;
  switch (witness) {
    case RowSafety::Witness::same_index:
      key = result.append(input_inst(Input::q_idx));
      break;
    case RowSafety::Witness::first_key:
      key = result.append(integer_inst(0));
      break;
    case RowSafety::Witness::last_key: {
      const ValueId length = result.append(input_inst(Input::kv_len));
      key = result.append(binary_inst(Op::sub, length, result.append(integer_inst(1))));
      break;
    }
    case RowSafety::Witness::lower_right: {
      const ValueId q = result.append(input_inst(Input::q_idx));
      const ValueId sum = result.append(binary_inst(Op::add, q, result.append(input_inst(Input::kv_len))));
      key = result.append(binary_inst(Op::sub, sum, result.append(input_inst(Input::q_len))));
      break;
    }
  }
  std::vector<ValueId> renamed;
  for (const Inst& original : program.insts) {
    Inst inst = original;
    for (std::size_t i = 0; i < inst.operand_count; ++i)
      inst.operands[i] = renamed[static_cast<std::size_t>(inst.operands[i])];
    const bool is_key = inst.op == Op::input && inst.input == Input::kv_idx;
    renamed.push_back(is_key ? key : result.append(inst));
  }
  result.mask = renamed[static_cast<std::size_t>(program.mask)];
  // Not dce, which would renumber the captures: the call's bindings are in the program's order.
  for (int round = 0; round < 3; ++round) result = passes::cse(passes::fold(result));
  return result;
}

/// q_idx < q_len and kv_idx < kv_len hold in every call, which ranges of each side by itself cannot show.
std::optional<bool> index_against_length(const Program& program, const Inst& inst) {
  const auto is_input = [&](ValueId id, Input which) {
    return program[id].op == Op::input && program[id].input == which;
  };
  for (const auto& [index, length] : {std::pair{Input::q_idx, Input::q_len}, std::pair{Input::kv_idx, Input::kv_len}}) {
    const bool forward = is_input(inst.operands[0], index) && is_input(inst.operands[1], length);
    const bool backward = is_input(inst.operands[1], index) && is_input(inst.operands[0], length);
    if (!forward && !backward) continue;
    switch (inst.op) {
      case Op::lt:
      case Op::le:
        return forward;
      case Op::gt:
      case Op::ge:
        return backward;
      case Op::ne:
        return true;
      default:
        return false;
    }
  }
  return std::nullopt;
}

}  // namespace

LoadGuards load_guards(const Program& program) {
  LoadGuards guards;
  Evaluator evaluator(program, {});
  for (ValueId id = 0; id < static_cast<ValueId>(program.insts.size()); ++id) {
    const Inst& inst = program[id];
    if (inst.op != Op::load) continue;
    bool computed = true;
    for (std::size_t d = 0; d < inst.operand_count; ++d) computed &= is_computed_index(program, inst.operands[d]);
    if (!computed) {
      guards.kept.push_back(id);
      continue;
    }
    guards.droppable.push_back(id);
    for (int d = 0; d < inst.operand_count; ++d) {
      const ValueId index = inst.operands[static_cast<std::size_t>(d)];
      guards.conditions.push_back(
          {inst.slot, d, id, index, condition_text(program, inst, d, evaluator.range(index, Box::anything()))});
    }
  }
  return guards;
}

bool loads_in_range(const Program& program, const LoadGuards& guards, const ir::Bindings& bindings, int batch,
                    int heads, int q_len, int kv_len) {
  if (batch < 1 || heads < 1 || q_len < 1 || kv_len < 1) return false;
  if (q_len > max_length || kv_len > max_length) return false;
  const Box box = Box::whole(batch, heads, q_len, kv_len);
  Evaluator evaluator(program, {&bindings, nullptr});
  return std::all_of(guards.conditions.begin(), guards.conditions.end(), [&](const LoadCondition& condition) {
    const ir::BoundBuffer& buffer = bindings.buffers[static_cast<std::size_t>(condition.buffer_slot)];
    const ValueRange index = evaluator.range(condition.index, box);
    return index.lo >= 0 && index.hi < buffer.shape[static_cast<std::size_t>(condition.dimension)];
  });
}

Program without_guards(Program program, const LoadGuards& guards) {
  for (const ValueId id : guards.droppable) program[id].guarded = false;
  return program;
}

RowSafety row_safety(const Program& program) {
  RowSafety safety;
  if (program.mask == no_value) {
    safety.candidates.push_back({RowSafety::Witness::first_key, {}, true});
    return safety;
  }
  for (const RowSafety::Witness witness : {RowSafety::Witness::same_index, RowSafety::Witness::first_key,
                                           RowSafety::Witness::last_key, RowSafety::Witness::lower_right}) {
    RowSafety::Candidate candidate{witness, drop_dead_mods(with_witness(program, witness)), false};
    const Verdict verdict = classify(candidate.mask, {}, Box::anything());
    if (verdict == Verdict::empty) continue;
    candidate.always = verdict == Verdict::full;
    safety.candidates.push_back(std::move(candidate));
  }
  return safety;
}

bool rows_nonempty(const RowSafety& safety, const Knowledge& knowledge, int batch, int heads, int q_len, int kv_len) {
  if (batch < 1 || heads < 1 || q_len < 1 || kv_len < 1 || q_len > max_length || kv_len > max_length) return false;
  const Box box = Box::whole(batch, heads, q_len, kv_len);
  return std::any_of(safety.candidates.begin(), safety.candidates.end(), [&](const RowSafety::Candidate& candidate) {
    const bool diagonal =
        candidate.witness == RowSafety::Witness::same_index || candidate.witness == RowSafety::Witness::lower_right;
    if (diagonal && q_len > kv_len) return false;
    return candidate.always || classify(candidate.mask, knowledge, box) == Verdict::full;
  });
}

bool rows_nonempty_if_q_within_kv(const RowSafety& safety) {
  return std::any_of(safety.candidates.begin(), safety.candidates.end(),
                     [](const auto& candidate) { return candidate.always; });
}

std::optional<double> score_bound(const Program& program, const Knowledge& knowledge, const Box& box) {
  if (program.score == no_value) return std::nullopt;
  const ValueRange range = Evaluator(program, knowledge).range(program.score, box);
  const double bound = std::max(std::fabs(range.real_lo), std::fabs(range.real_hi));
  if (!(bound < 1e30)) return std::nullopt;
  return bound;
}

Program drop_dead_mods(const Program& program) {
  Program result = program;
  Concrete algebra{Knowledge{}};
  algebra.set_box(Box::anything());
  std::vector<Range<Concrete>> ranges(program.insts.size());
  for (ValueId id = 0; id < static_cast<ValueId>(program.insts.size()); ++id) {
    Range<Concrete>& range = ranges[static_cast<std::size_t>(id)];
    range = evaluate(algebra, result, id, ranges.data());
    const Inst& inst = program[id];
    if (inst.type != Type::boolean || inst.op == Op::literal) continue;
    std::optional<bool> value;
    if (info(inst.op).typing == Typing::compare) value = index_against_length(program, inst);
    if (!value && range.may_be_true != range.may_be_false) value = range.may_be_true;
    if (!value) continue;
    Inst literal;
    literal.type = Type::boolean;
    literal.integer = *value;
    result[id] = literal;
    range = evaluate(algebra, result, id, ranges.data());
  }
  if (result.mask != no_value && result[result.mask].op == Op::literal && result[result.mask].integer != 0)
    result.mask = no_value;
  return result;
}

}  // namespace attnc::bounds
