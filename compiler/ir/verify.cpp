// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir/verify.h"

#include "compiler/ir/print.h"

#include "dsl/format.h"

namespace attnc::ir {
namespace {

std::string violation(const Program& program, ValueId id) {
  const Inst& inst = program[id];
  const OpInfo& row = info(inst.op);
  if (row.arity >= 0 && inst.operand_count != row.arity) return "wrong number of operands";
  for (int i = 0; i < inst.operand_count; ++i) {
    const ValueId operand = inst.operands[static_cast<std::size_t>(i)];
    if (operand < 0 || operand >= id) return "an operand does not precede its user";
  }
  auto operand_type = [&](int i) { return program[inst.operands[static_cast<std::size_t>(i)]].type; };
  auto all_are = [&](Type type, int from = 0) {
    for (int i = from; i < inst.operand_count; ++i)
      if (operand_type(i) != type) return false;
    return true;
  };
  switch (row.typing) {
    case Typing::leaf:
      if (inst.op == Op::input && inst.type != type_of(inst.input)) return "an input has another type";
      if (inst.op == Op::param && (inst.slot < 0 || static_cast<std::size_t>(inst.slot) >= program.params.size()))
        return "no such parameter";
      if (inst.op == Op::param && program.params[static_cast<std::size_t>(inst.slot)].type != inst.type)
        return "a parameter has another type";
      if (inst.op == Op::literal && inst.type == Type::f32 && inst.real == inst.real &&
          static_cast<double>(static_cast<float>(inst.real)) != inst.real)
        return "an f32 literal is not a float";
      return {};
    case Typing::load: {
      if (inst.slot < 0 || static_cast<std::size_t>(inst.slot) >= program.buffers.size()) return "no such buffer";
      const BufferDecl& decl = program.buffers[static_cast<std::size_t>(inst.slot)];
      if (inst.operand_count != decl.rank) return "indices do not match the buffer's rank";
      if (inst.type != loaded_type(decl.dtype)) return "a load has another type than its buffer";
      for (int i = 0; i < inst.operand_count; ++i)
        if (operand_type(i) != Type::i32 && operand_type(i) != Type::i64) return "an index is not an integer";
      return {};
    }
    case Typing::numeric:
      if (inst.type == Type::boolean || !all_are(inst.type)) return "operand types differ from the result's";
      return {};
    case Typing::integer:
      if ((inst.type != Type::i32 && inst.type != Type::i64) || !all_are(inst.type)) return "operands are not integers";
      return {};
    case Typing::real:
      return inst.type == Type::f32 && all_are(Type::f32) ? "" : "operands are not f32";
    case Typing::compare:
      if (inst.type != Type::boolean || operand_type(0) != operand_type(1)) return "a comparison of unlike types";
      if (operand_type(0) == Type::boolean && inst.op != Op::eq && inst.op != Op::ne) return "booleans have no order";
      return {};
    case Typing::logical:
      return inst.type == Type::boolean && all_are(Type::boolean) ? "" : "operands are not bool";
    case Typing::select:
      return operand_type(0) == Type::boolean && all_are(inst.type, 1) ? "" : "a select of unlike types";
    case Typing::cast:
      if (inst.operand_count != 1 || inst.type == Type::boolean || operand_type(0) == inst.type)
        return "a cast that casts nothing";
      return {};
  }
  return {};
}

}  // namespace

void verify(const Program& program, std::string_view after_pass) {
  auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::internal,
                attnc::format("attnc bug: {} after {}. Please report this with the program below.\n{}", what,
                              after_pass, print(program)));
  };
  const auto count = static_cast<ValueId>(program.insts.size());
  for (ValueId id = 0; id < count; ++id)
    if (std::string what = violation(program, id); !what.empty()) fail(attnc::format("%{}: {}", id, what));
  if (program.score >= count || program.mask >= count) fail("a result does not exist");
  if (program.score != no_value && program[program.score].type != Type::f32) fail("the score is not f32");
  if (program.mask != no_value && program[program.mask].type != Type::boolean) fail("the mask is not bool");
}

}  // namespace attnc::ir
