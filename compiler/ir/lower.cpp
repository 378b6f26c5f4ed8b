// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir/lower.h"

#include <unordered_map>

#include "dsl/format.h"

namespace attnc::ir {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_expression, message); }

class Lowering {
 public:
  /// Post-order over the expression graph with an explicit stack, so depth costs heap and not stack.
  ValueId lower(const NodePtr& root) {
    struct Frame {
      const Node* node;
      std::size_t next_operand;
    };
    std::vector<Frame> stack{{root.get(), 0}};
    while (!stack.empty()) {
      Frame& frame = stack.back();
      if (values_.count(frame.node)) {
        stack.pop_back();
      } else if (frame.next_operand < frame.node->operands.size()) {
        const Node* operand = frame.node->operands[frame.next_operand++].get();
        stack.push_back({operand, 0});
      } else {
        const Node* node = frame.node;
        stack.pop_back();
        values_.emplace(node, emit(*node));
      }
    }
    return values_.at(root.get());
  }

  Program program;

 private:
  ValueId emit(const Node& node) {
    if (program.insts.size() >= static_cast<std::size_t>(ModLimits::max_nodes))
      refuse(attnc::format("the expression has more than {} operations, the limit of a mod", ModLimits::max_nodes));
    Inst inst;
    inst.op = node.op;
    inst.type = node.type;
    inst.operand_count = static_cast<std::uint8_t>(node.operands.size());
    for (std::size_t i = 0; i < node.operands.size(); ++i) inst.operands[i] = values_.at(node.operands[i].get());
    if (node.op == Op::literal) {
      inst.real = node.type == Type::f32 ? node.real : 0;
      inst.integer = node.type == Type::f32 ? 0 : node.integer;
    }
    if (node.op == Op::input) inst.input = node.input;
    if (node.op == Op::param) inst.slot = param_slot(*node.param);
    if (node.op == Op::load) inst.slot = buffer_slot(*node.buffer);
    return program.append(inst);
  }

  std::int16_t param_slot(const ParamDecl& decl) {
    for (std::size_t i = 0; i < program.params.size(); ++i) {
      const ParamDecl& known = program.params[i];
      if (known.name != decl.name) continue;
      if (known.type != decl.type)
        refuse(attnc::format("parameter '{}' is declared twice, as {} and as {}", decl.name, name(known.type),
                             name(decl.type)));
      if (known.has_default != decl.has_default || known.default_value != decl.default_value ||
          known.default_int != decl.default_int)
        refuse(attnc::format("parameter '{}' is declared twice with different defaults", decl.name));
      return static_cast<std::int16_t>(i);
    }
    if (program.params.size() >= static_cast<std::size_t>(ModLimits::max_captures))
      refuse(attnc::format("more than {} parameters, the limit of a mod", ModLimits::max_captures));
    refuse_shared_name(decl.name, program.buffers);
    program.params.push_back(decl);
    return static_cast<std::int16_t>(program.params.size() - 1);
  }

  std::int16_t buffer_slot(const BufferDecl& decl) {
    for (std::size_t i = 0; i < program.buffers.size(); ++i) {
      const BufferDecl& known = program.buffers[i];
      if (known.name != decl.name) continue;
      if (known.dtype != decl.dtype || known.rank != decl.rank)
        refuse(attnc::format("buffer '{}' is declared twice, as {} of rank {} and as {} of rank {}", decl.name,
                             name(known.dtype), known.rank, name(decl.dtype), decl.rank));
      return static_cast<std::int16_t>(i);
    }
    if (program.buffers.size() >= static_cast<std::size_t>(ModLimits::max_captures))
      refuse(attnc::format("more than {} captured buffers, the limit of a mod", ModLimits::max_captures));
    refuse_shared_name(decl.name, program.params);
    program.buffers.push_back(decl);
    return static_cast<std::int16_t>(program.buffers.size() - 1);
  }

  template <class Decls>
  static void refuse_shared_name(const std::string& name, const Decls& others) {
    for (const auto& other : others)
      if (other.name == name) refuse(attnc::format("'{}' names both a parameter and a buffer", name));
  }

  std::unordered_map<const Node*, ValueId> values_;
};

}  // namespace

Program lower(const ScoreMod& score_mod, const MaskMod& mask_mod) {
  Lowering lowering;
  if (!score_mod.is_identity()) lowering.program.score = lowering.lower(score_mod.result().ptr());
  if (!mask_mod.is_everything()) lowering.program.mask = lowering.lower(mask_mod.result().ptr());
  return std::move(lowering.program);
}

}  // namespace attnc::ir
