// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

namespace attnc::passes {

using ir::Inst;
using ir::no_value;
using ir::Program;
using ir::ValueId;

Program dce(const Program& program) {
  std::vector<char> live(program.insts.size(), 0);
  if (program.score != no_value) live[static_cast<std::size_t>(program.score)] = 1;
  if (program.mask != no_value) live[static_cast<std::size_t>(program.mask)] = 1;
  for (std::size_t id = program.insts.size(); id-- > 0;) {
    if (!live[id]) continue;
    const Inst& inst = program.insts[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i) live[static_cast<std::size_t>(inst.operands[i])] = 1;
  }

  Program result;
  std::vector<ValueId> renamed(program.insts.size(), no_value);
  std::vector<std::int16_t> params(program.params.size(), -1);
  std::vector<std::int16_t> buffers(program.buffers.size(), -1);
  auto renumber = [](std::vector<std::int16_t>& slots, std::int16_t slot, const auto& from, auto& to) {
    std::int16_t& renamed_slot = slots[static_cast<std::size_t>(slot)];
    if (renamed_slot < 0) {
      renamed_slot = static_cast<std::int16_t>(to.size());
      to.push_back(from[static_cast<std::size_t>(slot)]);
    }
    return renamed_slot;
  };
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    if (!live[id]) continue;
    Inst inst = program.insts[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i)
      inst.operands[i] = renamed[static_cast<std::size_t>(inst.operands[i])];
    if (inst.op == Op::param) inst.slot = renumber(params, inst.slot, program.params, result.params);
    if (inst.op == Op::load) inst.slot = renumber(buffers, inst.slot, program.buffers, result.buffers);
    renamed[id] = result.append(inst);
  }
  if (program.score != no_value) result.score = renamed[static_cast<std::size_t>(program.score)];
  if (program.mask != no_value) result.mask = renamed[static_cast<std::size_t>(program.mask)];
  return result;
}

}  // namespace attnc::passes
