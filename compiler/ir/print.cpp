// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir/print.h"

#include <fmt/format.h>

#include <iterator>

namespace attnc::ir {
namespace {

std::string literal_text(const Inst& inst, bool canonical) {
  if (inst.type == Type::boolean) return inst.integer ? "true" : "false";
  if (inst.type != Type::f32) return fmt::format("{}", inst.integer);
  // %a is exact, so equal text means equal value; people read decimals.
  return canonical ? fmt::format("{:a}", inst.real) : fmt::format("{}", static_cast<float>(inst.real));
}

}  // namespace

std::string print(const Program& program, bool canonical) {
  fmt::memory_buffer text;
  auto out = std::back_inserter(text);
  for (std::size_t i = 0; i < program.params.size(); ++i) {
    const ParamDecl& decl = program.params[i];
    if (canonical)
      fmt::format_to(out, "param p{} {}\n", i, name(decl.type));
    else if (!decl.has_default)
      fmt::format_to(out, "param {} {}\n", decl.name, name(decl.type));
    else if (decl.type == Type::f32)
      fmt::format_to(out, "param {} f32 = {}\n", decl.name, static_cast<float>(decl.default_value));
    else
      fmt::format_to(out, "param {} {} = {}\n", decl.name, name(decl.type), decl.default_int);
  }
  for (std::size_t i = 0; i < program.buffers.size(); ++i) {
    const BufferDecl& decl = program.buffers[i];
    fmt::format_to(out, "buffer {} {} rank {}\n", canonical ? fmt::format("b{}", i) : decl.name, name(decl.dtype),
                   decl.rank);
  }
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const Inst& inst = program.insts[id];
    fmt::format_to(out, "%{} = ", id);
    switch (inst.op) {
      case Op::literal:
        fmt::format_to(out, "literal {} {}", name(inst.type), literal_text(inst, canonical));
        break;
      case Op::input:
        fmt::format_to(out, "input {} {}", name(inst.type), name(inst.input));
        break;
      case Op::param:
        fmt::format_to(
            out, "param {} {}", name(inst.type),
            canonical ? fmt::format("p{}", inst.slot) : program.params[static_cast<std::size_t>(inst.slot)].name);
        break;
      case Op::load:
        fmt::format_to(
            out, "load {} {}{}", name(inst.type),
            canonical ? fmt::format("b{}", inst.slot) : program.buffers[static_cast<std::size_t>(inst.slot)].name,
            inst.guarded ? "" : " unguarded");
        break;
      default:
        fmt::format_to(out, "{} {}", info(inst.op).mnemonic, name(inst.type));
        break;
    }
    for (int i = 0; i < inst.operand_count; ++i)
      fmt::format_to(out, "{} %{}", i == 0 && inst.op != Op::load ? "" : ",",
                     inst.operands[static_cast<std::size_t>(i)]);
    fmt::format_to(out, "\n");
  }
  if (program.score != no_value) fmt::format_to(out, "score %{}\n", program.score);
  if (program.mask != no_value) fmt::format_to(out, "mask %{}\n", program.mask);
  return fmt::to_string(text);
}

}  // namespace attnc::ir
