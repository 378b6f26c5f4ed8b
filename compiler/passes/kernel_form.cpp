// SPDX-License-Identifier: Apache-2.0
#include <unordered_map>
#include <vector>

#include "compiler/ir/verify.h"
#include "compiler/passes/passes.h"

namespace attnc::passes {
namespace {

using ir::Inst;
using ir::Level;
using ir::no_value;
using ir::Program;
using ir::ValueId;

constexpr double log2_e = 1.4426950408889634;

/// Rebuilds a program value by value, keeping products with uniform factors in the form core * factor, where `factor`
/// is one uniform value: (dot * scale) / cap becomes dot * (scale * (1 / cap)).
class KernelForm {
 public:
  KernelForm(const Program& program, ScoreUnits units)
      : source_(program), units_(units), levels_(placement(program)), uses_(program.insts.size(), 0) {
    for (const Inst& inst : program.insts)
      for (std::size_t i = 0; i < inst.operand_count; ++i) ++uses_[static_cast<std::size_t>(inst.operands[i])];
    result_.params = program.params;
    result_.buffers = program.buffers;
  }

  Program run() {
    renamed_.resize(source_.insts.size(), no_value);
    for (std::size_t id = 0; id < source_.insts.size(); ++id) renamed_[id] = rebuild(static_cast<ValueId>(id));
    result_.mask = source_.mask == no_value ? no_value : renamed_[static_cast<std::size_t>(source_.mask)];
    if (source_.score != no_value) {
      result_.score = units_ == ScoreUnits::log2 ? scaled(source_.score, literal(log2_e), 0) : renamed(source_.score);
    }
    return std::move(result_);
  }

 private:
  static constexpr int max_push_depth = 32;

  bool is_uniform(ValueId source_id) const { return levels_[static_cast<std::size_t>(source_id)] == Level::uniform; }
  ValueId renamed(ValueId source_id) const { return renamed_[static_cast<std::size_t>(source_id)]; }

  ValueId literal(double value) {
    Inst inst;
    inst.real = static_cast<double>(static_cast<float>(value));
    return result_.append(inst);
  }
  ValueId input(Input which) {
    Inst inst;
    inst.op = Op::input;
    inst.input = which;
    inst.type = type_of(which);
    return result_.append(inst);
  }
  ValueId binary(Op op, ValueId a, ValueId b) {
    Inst inst;
    inst.op = op;
    inst.type = Type::f32;
    inst.operand_count = 2;
    inst.operands[0] = a;
    inst.operands[1] = b;
    return result_.append(inst);
  }
  ValueId select(ValueId condition, ValueId yes, ValueId no) {
    Inst inst;
    inst.op = Op::select;
    inst.type = Type::f32;
    inst.operand_count = 3;
    inst.operands = {condition, yes, no, no_value, no_value};
    return result_.append(inst);
  }

  struct Product {
    ValueId core;
    ValueId factor;  // no_value: 1
  };
  /// A rebuilt value as core * factor.
  Product as_product(ValueId id) {
    const auto where = products_.find(id);
    return where == products_.end() ? Product{id, no_value} : where->second;
  }
  /// core * (factor * more), all but one multiplication at uniform level.
  ValueId multiply(ValueId value, ValueId uniform) {
    const Product parts = as_product(value);
    const ValueId factor = parts.factor == no_value ? uniform : binary(Op::mul, parts.factor, uniform);
    const ValueId id = binary(Op::mul, parts.core, factor);
    products_.emplace(id, Product{parts.core, factor});
    return id;
  }

  ValueId rebuild(ValueId id) {
    Inst inst = source_[id];
    if (inst.op == Op::input && inst.input == Input::score) {
      return multiply(input(Input::dot), input(Input::scale));
    }
    const bool is_real = inst.type == Type::f32;
    const ValueId a = inst.operands[0], b = inst.operands[1];
    if (is_real && !is_uniform(id)) {
      if (inst.op == Op::mul && is_uniform(b)) return multiply(renamed(a), renamed(b));
      if (inst.op == Op::mul && is_uniform(a)) return multiply(renamed(b), renamed(a));
      if (inst.op == Op::div && is_uniform(b)) return multiply(renamed(a), binary(Op::div, literal(1), renamed(b)));
    }
    for (std::size_t i = 0; i < inst.operand_count; ++i) inst.operands[i] = renamed(inst.operands[i]);
    return result_.append(inst);
  }

  /// The source value `id` times the uniform `factor`, with the factor pushed to where it costs least: into sums (so
  /// that what is not element level takes it outside the element loop), into choices, and into factors already there.
  ValueId scaled(ValueId id, ValueId factor, int depth) {
    const Inst& inst = source_[id];
    const bool shared = uses_[static_cast<std::size_t>(id)] > 1;
    if (depth < max_push_depth && !shared && !is_uniform(id)) {
      const ValueId a = inst.operands[0], b = inst.operands[1], c = inst.operands[2];
      if (inst.op == Op::add || inst.op == Op::sub) {
        const ValueId left = scaled(a, factor, depth + 1);
        const ValueId right = scaled(b, factor, depth + 1);
        return binary(inst.op, left, right);
      }
      if (inst.op == Op::select) {
        const ValueId yes = scaled(b, factor, depth + 1);
        const ValueId no = scaled(c, factor, depth + 1);
        return select(renamed(a), yes, no);
      }
    }
    return multiply(renamed(id), factor);
  }

  const Program& source_;
  ScoreUnits units_;
  std::vector<Level> levels_;
  std::vector<int> uses_;
  std::vector<ValueId> renamed_;
  std::unordered_map<ValueId, Product> products_;
  Program result_;
};

}  // namespace

Program kernel_form(const Program& program, ScoreUnits units) {
  const Program result = canonicalize(KernelForm(program, units).run());
  ir::verify(result, "kernel_form");
  return result;
}

}  // namespace attnc::passes
