// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/mod_emitter.h"
#include "compiler/passes/passes.h"

namespace attnc::cpu {

using ir::Inst;
using ir::Level;
using ir::ValueId;

LevelPlan::LevelPlan(const ir::Program& program) : program_(program), levels_(passes::placement(program)) {
  const std::size_t count = program.insts.size();
  for (Level& level : levels_)
    if (level == Level::diagonal) level = Level::element;

  std::vector<bool> leaves_level(count, false);
  for (std::size_t id = 0; id < count; ++id) {
    const Inst& inst = program.insts[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i) {
      const auto operand = static_cast<std::size_t>(inst.operands[i]);
      if (levels_[operand] != levels_[id]) leaves_level[operand] = true;
    }
  }
  // Results are asked for at element level.
  for (const ValueId result : {program.score, program.mask})
    if (result != ir::no_value && level(result) != Level::element)
      leaves_level[static_cast<std::size_t>(result)] = true;

  slots_.assign(count, -1);
  for (std::size_t id = 0; id < count; ++id) {
    const Inst& inst = program.insts[id];
    if (leaves_level[id] && inst.op != Op::literal && inst.op != Op::input)
      slots_[id] = slot_count_[static_cast<std::size_t>(levels_[id])]++;
  }

  lane_steps_.assign(count, LaneStep::other);
  for (std::size_t id = 0; id < count; ++id) {
    const Inst& inst = program.insts[id];
    LaneStep& step = lane_steps_[id];
    if (levels_[id] == Level::uniform || levels_[id] == Level::column) {
      step = LaneStep::none;
    } else if (inst.op == Op::input && inst.input == Input::q_idx) {
      step = LaneStep::one;
    } else if (inst.op == Op::add || inst.op == Op::sub) {
      const LaneStep a = lane_step(inst.operands[0]), b = lane_step(inst.operands[1]);
      if (a == LaneStep::one && b == LaneStep::none) step = LaneStep::one;
      if (inst.op == Op::add && a == LaneStep::none && b == LaneStep::one) step = LaneStep::one;
    }
  }
}

std::vector<bool> LevelPlan::needed(Level wanted, ValueId root) const {
  std::vector<bool> reachable(program_.insts.size(), root == all_values);
  if (root >= 0) reachable[static_cast<std::size_t>(root)] = true;
  for (std::size_t id = program_.insts.size(); id-- > 0;) {
    if (!reachable[id]) continue;
    const Inst& inst = program_.insts[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i) reachable[static_cast<std::size_t>(inst.operands[i])] = true;
  }
  for (std::size_t id = 0; id < reachable.size(); ++id)
    if (levels_[id] != wanted) reachable[id] = false;
  return reachable;
}

}  // namespace attnc::cpu
