// SPDX-License-Identifier: Apache-2.0
// The outer levels of a mod as code: uniform values once per tile, row values once per q tile, column values once per
// kv tile, each into its slots. Shared by the attention kernel and the mask kernel.
#pragma once

#include "compiler/cpu/mod_emitter.h"

namespace attnc::cpu {

/// Emits into the current function.
class StageEmitter {
 public:
  /// The pointers and coordinates every stage may read. `row_capacity` and `column_capacity`: elements per slot.
  struct Context {
    Value* params;
    Value* buffers;
    Value* uniform_slots;
    Value* row_slots;
    std::int64_t row_capacity;
    Value* column_slots;
    std::int64_t column_capacity;
    Value *b, *h, *q_len, *kv_len, *scale;  // i32, scale f32
  };

  StageEmitter(CodeBuilder& code, const CpuTarget& target, const LevelPlan& plan, const Context& context)
      : c_(code), plan_(plan), mods_(code, target, plan), context_(context) {}

  ModEmitter& mods() { return mods_; }

  void uniform();
  /// Rows q0 ... q0 + rows - 1; lanes past the last row repeat it, so no mod sees q_idx >= q_len. Slots are filled up
  /// to row number `extent` (i64), in whole vectors.
  void rows(Value* q0, Value* rows, Value* extent);
  /// Keys kv0 ... kv0 + keys - 1, in whole vectors, likewise.
  void columns(Value* kv0, Value* keys);

  /// A scope of this stage's coordinates with nothing known yet.
  Scope scope(bool vectors) const;
  void add_uniform(Scope& scope);
  /// Row values of the vector that starts at row `first`.
  void add_rows(Scope& scope, Value* first);
  /// Column values of key number `key` of the tile.
  void add_columns(Scope& scope, Value* key);
  /// q_idx of the lanes that start at row `first` of the tile.
  Value* q_indices(Value* q0, Value* rows, Value* first);

 private:
  Value* slot_address(ir::Level level, int slot, Value* index, Type type);
  void store_slots(ir::Level level, Value* index, Scope& scope);

  CodeBuilder& c_;
  const LevelPlan& plan_;
  ModEmitter mods_;
  Context context_;
};

}  // namespace attnc::cpu
