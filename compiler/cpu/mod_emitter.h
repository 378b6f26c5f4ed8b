// SPDX-License-Identifier: Apache-2.0
// The mods as LLVM IR: which values each level computes and hands on, and the code of one level.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "compiler/cpu/code_builder.h"
#include "compiler/cpu/plan.h"
#include "compiler/ir/program.h"

namespace attnc::cpu {

/// Where the values of a program live between the levels. Vectors run across q rows, so a uniform or column value is
/// one scalar for all lanes and a row value a vector; diagonal values are treated as elements.
class LevelPlan {
 public:
  /// `program` must outlive this.
  explicit LevelPlan(const ir::Program& program);

  const ir::Program& program() const { return program_; }
  ir::Level level(ir::ValueId id) const { return levels_[static_cast<std::size_t>(id)]; }
  /// The slot through which a value reaches later levels, or -1. Literals, and inputs that every level knows, need
  /// none.
  int slot(ir::ValueId id) const { return slots_[static_cast<std::size_t>(id)]; }
  int slots(ir::Level level) const { return slot_count_[static_cast<std::size_t>(level)]; }
  /// The values of `level` that `root` depends on, by id; none for no_value. Everything, if `root` is all_values.
  std::vector<bool> needed(ir::Level level, ir::ValueId root) const;
  static constexpr ir::ValueId all_values = -2;
  /// How a value moves from one lane (q row) to the next.
  enum class LaneStep : std::uint8_t { none, one, other };
  LaneStep lane_step(ir::ValueId id) const { return lane_steps_[static_cast<std::size_t>(id)]; }

 private:
  const ir::Program& program_;
  std::vector<ir::Level> levels_;
  std::vector<int> slots_;
  std::vector<LaneStep> lane_steps_;
  int slot_count_[5] = {};
};

/// The values known at one place of the generated code. Scalars serve all lanes.
struct Scope {
  bool vectors = true;                 ///< false: this level computes scalars
  std::vector<Value*> values;          ///< by ValueId; null: not known (yet)
  std::function<Value*(Input)> input;  ///< coordinates, the score and lengths
  Value* params = nullptr;             ///< const ParamAbi*
  Value* buffers = nullptr;            ///< const BufferAbi*
  /// Where to put what does not change in the loop around this scope: before its preheader's terminator. Null: here.
  llvm::Instruction* preheader = nullptr;
  std::map<ir::ValueId, Value*> splats;  ///< uniform values as vectors, made in the preheader
};

class ModEmitter {
 public:
  ModEmitter(CodeBuilder& code, const CpuTarget& target, const LevelPlan& plan)
      : c_(code), target_(target), plan_(plan) {}

  /// Emits the wanted values in order into scope.values.
  void evaluate(const std::vector<bool>& wanted, Scope& scope);
  /// The value in the scope's shape.
  Value* operand(ir::ValueId id, Scope& scope);

  /// Size in a slot; booleans are kept as i32.
  llvm::Type* slot_type(Type type) const;
  Value* to_slot(Value* value, Type type);
  Value* from_slot(Value* stored, Type type);

 private:
  Value* emit(ir::ValueId id, Scope& scope);
  Value* emit_load(const ir::Inst& inst, Scope& scope);
  Value* emit_cast(const ir::Inst& inst, Value* x);
  Value* emit_compare(const ir::Inst& inst, Value* x, Value* y);
  Value* emit_real(const ir::Inst& inst, Value* x, Value* y, Value* z);
  Value* emit_integer(const ir::Inst& inst, Scope& scope, Value* x, Value* y);
  Value* emit_division(const ir::Inst& inst, Value* x, Value* y);
  llvm::Type* value_type(Type type) const;

  CodeBuilder& c_;
  const CpuTarget& target_;
  const LevelPlan& plan_;
};

}  // namespace attnc::cpu
