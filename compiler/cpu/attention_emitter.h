// SPDX-License-Identifier: Apache-2.0
// The attention kernel, one generated function a phase: pack, Q K^T, mask and score, softmax, P V, write.
//
// Everything is held transposed: scores[key][row]. Vectors run across q rows, so a key of K and a probability of P are
// broadcast operands, row statistics are plain vectors, and a key that no row keeps is simply not in the list of keys.
#pragma once

#include <vector>

#include "compiler/cpu/kernel_abi.h"
#include "compiler/cpu/stages.h"

namespace attnc::cpu {

/// A field of the TaskAbi that `task` points at.
#define ATTNC_TASK(type, name) c_.field(c_.type, task, offsetof(TaskAbi, name))

/// Fills one module. The functions it defines call each other, so the order in emit() matters.
class AttentionEmitter {
 public:
  AttentionEmitter(llvm::Module& module, const ir::Program& program, const CpuTarget& target, const CpuPlan& plan)
      : c_(module, plan.lanes), program_(program), target_(target), plan_(plan), levels_(program) {}

  void emit();

 private:
  static constexpr std::int64_t f32_bytes = 4;

  StageEmitter stages(Value* task);
  std::int64_t vector_bytes() const { return plan_.lanes * f32_bytes; }
  std::int64_t panel_bytes() const { return plan_.panel_rows() * f32_bytes; }
  Value* zero() { return llvm::Constant::getNullValue(c_.vf32); }
  Value* minus_infinity() { return llvm::ConstantFP::getInfinity(c_.vf32, true); }
  Value* load_vector(Value* base, Value* index, std::int64_t bytes, int vector) {
    return c_.load(c_.vf32, c_.offset(c_.element(base, index, bytes), vector * vector_bytes()));
  }
  void fill(Value* address, int byte, Value* bytes) {
    c_.ir.CreateMemSet(address, c_.ir.getInt8(static_cast<std::uint8_t>(byte)), bytes, llvm::MaybeAlign(4));
  }

  /// Distance between rows of k_tile: whole vectors, so that a row may be converted in place.
  std::int64_t key_bytes() const { return (plan_.head_dim_qk + plan_.lanes - 1) / plan_.lanes * vector_bytes(); }
  std::int64_t out_panel_bytes() const {
    return static_cast<std::int64_t>(plan_.max_keys) * plan_.out_panel_width() * f32_bytes;
  }
  std::int64_t out_row_bytes() const { return plan_.head_dim_v_padded() * f32_bytes; }

  // attention_rows.cpp: between the tensors and scratch
  /// convert_row(to, from, full_vectors, tail_bytes): one row of the tensors' dtype to f32. A partial last vector goes
  /// through a small zeroed buffer, so nothing outside the row is read; `to` has room for whole vectors.
  void emit_convert_row();
  void convert_row(Value* to, Value* from, int elements);
  /// pack_tile(task): K rows to f32, V rows to f32 panels; notes whether all of V is finite.
  void emit_pack_tile();

  // attention_products.cpp: the two matrix products
  /// scores_gemm(k_tile, q_panel, scores, keys, count): scores[i][row] = dot(k_tile[keys[i]], q[row]), i < count
  /// rounded up to whole register blocks.
  void emit_scores_gemm();
  /// output_gemm(scores, v_tile, out_acc, correction, keys, count, rows):
  /// out_acc[row] = out_acc[row] * correction[row] + sum over i of scores[i][row] * v_tile[keys[i]].
  void emit_output_gemm();
  /// output_careful(same arguments): the same sum where V holds an infinity or NaN, leaving out keys of weight 0: 0
  /// times infinity must not reach a row that dropped the key.
  void emit_output_careful();

  // attention_scores.cpp: the mods and the softmax, between the products
  /// What the element level knows of one panel, before its loop over keys.
  struct PanelScopes {
    Scope base;
    std::vector<Scope> vectors;  // by vector of the panel
    std::vector<Value*> q_idx;   // likewise
    Value* kv0;
  };
  PanelScopes panel_scopes(StageEmitter& stage, Value* task, Value* first_row);
  /// The scope of one vector of scores at one key. `score_input`: what the mods read as score, or as dot; null:
  /// nothing.
  Scope element_scope(const PanelScopes& panel, int vector, const Scope& columns, Value* key, Value* score_input);
  /// mask_panel(task, first_row) -> count: evaluates the mask, lists the keys that some row of the panel keeps, and
  /// their bits; pads the list to whole register blocks.
  void emit_mask_panel();
  /// score_panel(task, first_row, keys, count): dot products to modified scores (log2 units or natural ones, as the
  /// plan says), -inf where dropped; the running maximum and the correction of what was summed before.
  void emit_score_panel(bool masked);
  /// What to subtract from scores: 0 where no score counts yet, so that -inf - max is -inf.
  Value* finite_maximum(Value* maximum);
  /// The exponential of a difference of scores, which is not positive.
  Value* exponential(Value* x);
  /// softmax_panel(task, first_row, count): scores to unnormalised probabilities, and their sums.
  void emit_softmax_panel();

  // attention_emitter.cpp: what the host calls
  Value* panels(Value* rows);
  void emit_begin();
  void emit_tile();
  void emit_finish();

  CodeBuilder c_;
  const ir::Program& program_;
  const CpuTarget& target_;
  const CpuPlan& plan_;
  LevelPlan levels_;
  llvm::Function *convert_row_ = nullptr, *pack_tile_ = nullptr, *scores_gemm_ = nullptr, *output_gemm_ = nullptr,
                 *output_careful_ = nullptr, *mask_panel_ = nullptr, *score_panel_ = nullptr,
                 *score_panel_masked_ = nullptr, *softmax_panel_ = nullptr;
};

}  // namespace attnc::cpu
