// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

namespace attnc::passes {
namespace {

using ir::Inst;
using ir::Level;
using ir::Program;

/// The outermost level that knows both.
Level join(Level a, Level b) {
  if (a == Level::uniform) return b;
  if (b == Level::uniform || a == b) return a;
  return Level::element;
}

Level input_level(Input which) {
  switch (which) {
    case Input::q_idx:
      return Level::row;
    case Input::kv_idx:
      return Level::column;
    case Input::score:
    case Input::dot:
      return Level::element;
    case Input::b:
    case Input::h:
    case Input::q_len:
    case Input::kv_len:
    case Input::scale:
      return Level::uniform;
  }
  return Level::element;
}

/// q_idx - kv_idx or kv_idx - q_idx. (The fold pass brings `q_idx - kv_idx + offset` and its like into this shape.)
bool is_difference_of_coordinates(const Program& program, const Inst& inst) {
  if (inst.op != Op::sub || inst.type != Type::i32) return false;
  auto is_input = [&](ir::ValueId id, Input which) {
    return program[id].op == Op::input && program[id].input == which;
  };
  const auto a = inst.operands[0], b = inst.operands[1];
  return (is_input(a, Input::q_idx) && is_input(b, Input::kv_idx)) ||
         (is_input(a, Input::kv_idx) && is_input(b, Input::q_idx));
}

}  // namespace

std::vector<Level> placement(const Program& program) {
  std::vector<Level> levels(program.insts.size(), Level::uniform);
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const Inst& inst = program.insts[id];
    if (inst.op == Op::input) {
      levels[id] = input_level(inst.input);
    } else if (is_difference_of_coordinates(program, inst)) {
      levels[id] = Level::diagonal;
    } else {
      for (std::size_t i = 0; i < inst.operand_count; ++i)
        levels[id] = join(levels[id], levels[static_cast<std::size_t>(inst.operands[i])]);
    }
  }
  return levels;
}

}  // namespace attnc::passes
