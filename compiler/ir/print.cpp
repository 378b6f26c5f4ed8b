// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir/print.h"

#include <iterator>

#include "dsl/format.h"

namespace attnc::ir {
namespace {

std::string literal_text(const Inst& inst, bool canonical) {
  if (inst.type == Type::boolean) return inst.integer ? "true" : "false";
  if (inst.type != Type::f32) return attnc::format("{}", inst.integer);
  // %a is exact, so equal text means equal value; people read decimals.
  return canonical ? attnc::format("{:a}", inst.real) : attnc::format("{}", static_cast<float>(inst.real));
}

}  // namespace

std::string print(const Program& program, bool canonical) {
  std::string text;
  for (std::size_t i = 0; i < program.params.size(); ++i) {
    const ParamDecl& decl = program.params[i];
    if (canonical)
      attnc::append(text, "param p{} {}\n", i, name(decl.type));
    else if (!decl.has_default)
      attnc::append(text, "param {} {}\n", decl.name, name(decl.type));
    else if (decl.type == Type::f32)
      attnc::append(text, "param {} f32 = {}\n", decl.name, static_cast<float>(decl.default_value));
    else
      attnc::append(text, "param {} {} = {}\n", decl.name, name(decl.type), decl.default_int);
  }
  for (std::size_t i = 0; i < program.buffers.size(); ++i) {
    const BufferDecl& decl = program.buffers[i];
    attnc::append(text, "buffer {} {} rank {}\n", canonical ? attnc::format("b{}", i) : decl.name, name(decl.dtype),
                  decl.rank);
  }
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const Inst& inst = program.insts[id];
    attnc::append(text, "%{} = ", id);
    switch (inst.op) {
      case Op::literal:
        attnc::append(text, "literal {} {}", name(inst.type), literal_text(inst, canonical));
        break;
      case Op::input:
        attnc::append(text, "input {} {}", name(inst.type), name(inst.input));
        break;
      case Op::param:
        attnc::append(
            text, "param {} {}", name(inst.type),
            canonical ? attnc::format("p{}", inst.slot) : program.params[static_cast<std::size_t>(inst.slot)].name);
        break;
      case Op::load:
        attnc::append(
            text, "load {} {}{}", name(inst.type),
            canonical ? attnc::format("b{}", inst.slot) : program.buffers[static_cast<std::size_t>(inst.slot)].name,
            inst.guarded ? "" : " unguarded");
        break;
      default:
        attnc::append(text, "{} {}", info(inst.op).mnemonic, name(inst.type));
        break;
    }
    for (int i = 0; i < inst.operand_count; ++i)
      attnc::append(text, "{} %{}", i == 0 && inst.op != Op::load ? "" : ",",
                    inst.operands[static_cast<std::size_t>(i)]);
    attnc::append(text, "\n");
  }
  if (program.score != no_value) attnc::append(text, "score %{}\n", program.score);
  if (program.mask != no_value) attnc::append(text, "mask %{}\n", program.mask);
  return text;
}

}  // namespace attnc::ir
