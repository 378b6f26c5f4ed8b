// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/stages.h"

namespace attnc::cpu {

using ir::Level;
using ir::ValueId;

namespace {
std::int64_t slot_bytes(Type type) { return type == Type::i64 ? 8 : 4; }
}  // namespace

Value* StageEmitter::slot_address(Level level, int slot, Value* index, Type type) {
  if (level == Level::uniform) return c_.offset(context_.uniform_slots, slot * std::int64_t{8});
  const bool row = level == Level::row;
  const std::int64_t capacity = row ? context_.row_capacity : context_.column_capacity;
  Value* base = c_.offset(row ? context_.row_slots : context_.column_slots, slot * capacity * 8);
  return c_.element(base, index, slot_bytes(type));
}

void StageEmitter::store_slots(Level level, Value* index, Scope& scope) {
  const ir::Program& program = plan_.program();
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const auto value = static_cast<ValueId>(id);
    const int slot = plan_.slot(value);
    if (plan_.level(value) != level || slot < 0) continue;
    const Type type = program[value].type;
    c_.store(mods_.to_slot(mods_.operand(value, scope), type), slot_address(level, slot, index, type));
  }
}

Scope StageEmitter::scope(bool vectors) const {
  Scope result;
  result.vectors = vectors;
  result.values.assign(plan_.program().insts.size(), nullptr);
  result.params = context_.params;
  result.buffers = context_.buffers;
  result.input = [context = context_](Input which) -> Value* {
    switch (which) {
      case Input::b:
        return context.b;
      case Input::h:
        return context.h;
      case Input::q_len:
        return context.q_len;
      case Input::kv_len:
        return context.kv_len;
      case Input::scale:
        return context.scale;
      default:
        throw Error(ErrorCode::internal, "a value was placed at a level that does not know its coordinate");
    }
  };
  return result;
}

void StageEmitter::add_uniform(Scope& scope) {
  const ir::Program& program = plan_.program();
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const auto value = static_cast<ValueId>(id);
    if (plan_.level(value) != Level::uniform || plan_.slot(value) < 0) continue;
    const Type type = program[value].type;
    scope.values[id] = mods_.from_slot(
        c_.load(mods_.slot_type(type), slot_address(Level::uniform, plan_.slot(value), nullptr, type)), type);
  }
}

void StageEmitter::add_rows(Scope& scope, Value* first) {
  const ir::Program& program = plan_.program();
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const auto value = static_cast<ValueId>(id);
    if (plan_.level(value) != Level::row || plan_.slot(value) < 0) continue;
    const Type type = program[value].type;
    Value* address = slot_address(Level::row, plan_.slot(value), first, type);
    scope.values[id] = mods_.from_slot(c_.load(c_.vec(mods_.slot_type(type)), address), type);
  }
}

void StageEmitter::add_columns(Scope& scope, Value* key) {
  const ir::Program& program = plan_.program();
  for (std::size_t id = 0; id < program.insts.size(); ++id) {
    const auto value = static_cast<ValueId>(id);
    if (plan_.level(value) != Level::column || plan_.slot(value) < 0) continue;
    const Type type = program[value].type;
    Value* address = slot_address(Level::column, plan_.slot(value), key, type);
    scope.values[id] = mods_.from_slot(c_.load(mods_.slot_type(type), address), type);
  }
}

Value* StageEmitter::q_indices(Value* q0, Value* rows, Value* first) {
  Value* start = c_.ir.CreateAdd(q0, c_.ir.CreateTrunc(first, c_.i32));
  Value* last = c_.ir.CreateSub(c_.ir.CreateAdd(q0, rows), c_.c32(1));
  return c_.intrinsic(llvm::Intrinsic::smin, c_.ir.CreateAdd(c_.splat(start), c_.iota()), c_.splat(last));
}

void StageEmitter::uniform() {
  if (plan_.slots(Level::uniform) == 0) return;
  Scope here = scope(false);
  mods_.evaluate(plan_.needed(Level::uniform, LevelPlan::all_values), here);
  store_slots(Level::uniform, nullptr, here);
}

void StageEmitter::rows(Value* q0, Value* rows, Value* extent) {
  if (plan_.slots(Level::row) == 0) return;
  Scope outer = scope(true);
  add_uniform(outer);
  c_.loop(extent, c_.lanes, [&](Value* first) {
    Scope here = outer;
    Value* indices = q_indices(q0, rows, first);
    here.input = [&, base = outer.input](Input which) { return which == Input::q_idx ? indices : base(which); };
    mods_.evaluate(plan_.needed(Level::row, LevelPlan::all_values), here);
    store_slots(Level::row, first, here);
  });
}

void StageEmitter::columns(Value* kv0, Value* keys) {
  if (plan_.slots(Level::column) == 0) return;
  Scope outer = scope(true);
  add_uniform(outer);
  c_.loop(c_.wide(keys), c_.lanes, [&](Value* first) {
    Scope here = outer;
    Value* indices = q_indices(kv0, keys, first);
    here.input = [&, base = outer.input](Input which) { return which == Input::kv_idx ? indices : base(which); };
    mods_.evaluate(plan_.needed(Level::column, LevelPlan::all_values), here);
    store_slots(Level::column, first, here);
  });
}

}  // namespace attnc::cpu
