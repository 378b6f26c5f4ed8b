// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <unordered_map>

#include "compiler/passes/passes.h"

namespace attnc::passes {
namespace {

using ir::Inst;
using ir::Program;
using ir::ValueId;

bool commutes(Op op) {
  switch (op) {
    case Op::add:
    case Op::mul:
    case Op::min:
    case Op::max:
    case Op::eq:
    case Op::ne:
    case Op::logical_and:
    case Op::logical_or:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
      return true;
    default:
      return false;
  }
}

/// Literals compare by bits, so that 0 and -0 stay apart and NaN equals itself.
struct Same {
  bool operator()(const Inst& a, const Inst& b) const {
    Inst x = a, y = b;
    const bool same_bits = std::bit_cast<std::uint64_t>(x.real) == std::bit_cast<std::uint64_t>(y.real);
    x.real = y.real = 0;
    return same_bits && x == y;
  }
};

struct Hash {
  std::size_t operator()(const Inst& inst) const {
    std::size_t hash = static_cast<std::size_t>(inst.op) * 31 + static_cast<std::size_t>(inst.type);
    auto mix = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15ull; };
    for (ValueId operand : inst.operands) mix(static_cast<std::uint64_t>(operand) + 2);
    mix(std::bit_cast<std::uint64_t>(inst.real));
    mix(static_cast<std::uint64_t>(inst.integer));
    mix(static_cast<std::uint64_t>(inst.input) << 16 | static_cast<std::uint16_t>(inst.slot));
    return hash ^ (hash >> 32);
  }
};

}  // namespace

Program cse(const Program& program) {
  Program result = program;
  result.insts.clear();
  std::unordered_map<Inst, ValueId, Hash, Same> known;
  std::vector<ValueId> renamed(program.insts.size());
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    Inst inst = program.insts[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i)
      inst.operands[i] = renamed[static_cast<std::size_t>(inst.operands[i])];
    if (commutes(inst.op) && inst.operands[0] > inst.operands[1]) std::swap(inst.operands[0], inst.operands[1]);
    auto [where, is_new] = known.try_emplace(inst, static_cast<ValueId>(result.insts.size()));
    if (is_new) result.append(inst);
    renamed[id] = where->second;
  }
  if (program.score != ir::no_value) result.score = renamed[static_cast<std::size_t>(program.score)];
  if (program.mask != ir::no_value) result.mask = renamed[static_cast<std::size_t>(program.mask)];
  return result;
}

}  // namespace attnc::passes
