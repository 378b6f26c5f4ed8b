// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/attention_emitter.h"

#include <numbers>

#include "compiler/cpu/convert.h"
#include "compiler/cpu/emit.h"
#include "compiler/cpu/math.h"

namespace attnc::cpu {

using ir::Level;
using ir::no_value;
using ir::Program;

void AttentionEmitter::emit() {
  emit_convert_row();
  emit_scores_gemm();
  emit_output_gemm();
  emit_output_careful();
  emit_pack_tile();
  if (program_.mask != no_value) emit_mask_panel();
  emit_score_panel(false);
  if (program_.mask != no_value) emit_score_panel(true);
  emit_softmax_panel();
  emit_begin();
  emit_tile();
  emit_finish();
}

StageEmitter AttentionEmitter::stages(Value* task) {
  StageEmitter::Context context{};
  context.params = ATTNC_TASK(ptr, params);
  context.buffers = ATTNC_TASK(ptr, buffers);
  context.uniform_slots = ATTNC_TASK(ptr, uniform_slots);
  context.row_slots = ATTNC_TASK(ptr, row_slots);
  context.row_capacity = plan_.max_rows;
  context.column_slots = ATTNC_TASK(ptr, column_slots);
  context.column_capacity = plan_.max_keys + plan_.lanes;
  context.b = ATTNC_TASK(i32, b);
  context.h = ATTNC_TASK(i32, h);
  context.q_len = ATTNC_TASK(i32, q_len);
  context.kv_len = ATTNC_TASK(i32, kv_len);
  context.scale = ATTNC_TASK(f32, scale);
  return {c_, target_, levels_, context};
}

Value* AttentionEmitter::panels(Value* rows) {
  return c_.ir.CreateUDiv(c_.ir.CreateAdd(rows, c_.c64(plan_.panel_rows() - 1)), c_.c64(plan_.panel_rows()));
}

void AttentionEmitter::emit_begin() {
  llvm::Function* f = c_.function(begin_symbol, c_.ir.getVoidTy(), {c_.ptr}, false);
  Value* task = f->getArg(0);
  Value* rows_i32 = ATTNC_TASK(i32, rows);
  Value* rows = c_.wide(rows_i32);
  StageEmitter stage = stages(task);
  stage.uniform();
  Value* padded_rows = c_.ir.CreateMul(panels(rows), c_.c64(plan_.panel_rows()));
  stage.rows(ATTNC_TASK(i32, q0), rows_i32, padded_rows);

  Value* q_panels = ATTNC_TASK(ptr, q_panels);
  fill(q_panels, 0, c_.ir.CreateMul(padded_rows, c_.c64(plan_.head_dim_qk * f32_bytes)));
  fill(ATTNC_TASK(ptr, out_acc), 0, c_.ir.CreateMul(padded_rows, c_.c64(out_row_bytes())));
  fill(ATTNC_TASK(ptr, row_sum), 0, c_.ir.CreateMul(padded_rows, c_.c64(f32_bytes)));
  Value* row_max = ATTNC_TASK(ptr, row_max);
  c_.loop(padded_rows, plan_.lanes, [&](Value* i) { c_.store(minus_infinity(), c_.element(row_max, i, f32_bytes)); });

  Value *q = ATTNC_TASK(ptr, q), *stride = ATTNC_TASK(i64, q_row_stride_bytes), *staging = ATTNC_TASK(ptr, row_staging);
  c_.loop(rows, 1, [&](Value* row) {
    convert_row(staging, c_.offset(q, c_.ir.CreateMul(row, stride)), plan_.head_dim_qk);
    Value* panel = c_.ir.CreateUDiv(row, c_.c64(plan_.panel_rows()));
    Value* within = c_.ir.CreateURem(row, c_.c64(plan_.panel_rows()));
    Value* to = c_.element(c_.element(q_panels, panel, plan_.head_dim_qk * panel_bytes()), within, f32_bytes);
    c_.loop(c_.c64(plan_.head_dim_qk), 1, [&](Value* d) {
      c_.store(c_.load(c_.f32, c_.element(staging, d, f32_bytes)), c_.element(to, d, panel_bytes()));
    });
  });
  c_.ir.CreateRetVoid();
}

void AttentionEmitter::emit_tile() {
  llvm::Function* f = c_.function(tile_symbol, c_.ir.getVoidTy(), {c_.ptr, c_.i32}, false);
  Value *task = f->getArg(0), *masked = f->getArg(1);
  Value* rows = c_.wide(ATTNC_TASK(i32, rows));
  Value* keys_i32 = ATTNC_TASK(i32, keys);
  Value* keys = c_.wide(keys_i32);
  c_.store(c_.c32(0), c_.offset(task, offsetof(TaskAbi, packed)));
  StageEmitter stage = stages(task);
  stage.columns(ATTNC_TASK(i32, kv0), keys_i32);

  Value *k_tile = ATTNC_TASK(ptr, k_tile), *v_tile = ATTNC_TASK(ptr, v_tile), *scores = ATTNC_TASK(ptr, scores),
        *all_keys = ATTNC_TASK(ptr, all_keys), *live_keys = ATTNC_TASK(ptr, live_keys),
        *correction = ATTNC_TASK(ptr, correction);
  Value *q_panels = ATTNC_TASK(ptr, q_panels), *out_acc = ATTNC_TASK(ptr, out_acc);
  Value* is_masked = program_.mask == no_value ? c_.ir.getFalse() : c_.ir.CreateICmpNE(masked, c_.c32(0));

  c_.loop(panels(rows), 1, [&](Value* panel) {
    Value* first_row = c_.ir.CreateMul(panel, c_.c64(plan_.panel_rows()));
    Value* count = keys;
    Value* list = all_keys;
    if (program_.mask != no_value) {
      llvm::BasicBlock *ask = c_.block("ask"), *all = c_.block("all"), *known = c_.block("known");
      c_.ir.CreateCondBr(is_masked, ask, all);
      c_.ir.SetInsertPoint(ask);
      Value* live_count = c_.ir.CreateCall(mask_panel_, {task, first_row});
      c_.ir.CreateBr(known);
      c_.ir.SetInsertPoint(all);
      c_.ir.CreateBr(known);
      c_.ir.SetInsertPoint(known);
      auto* count_phi = c_.ir.CreatePHI(c_.i64, 2);
      count_phi->addIncoming(live_count, ask);
      count_phi->addIncoming(keys, all);
      count = count_phi;
      list = c_.ir.CreateSelect(is_masked, live_keys, all_keys);
    }
    c_.if_then(c_.ir.CreateICmpNE(count, c_.c64(0)), [&] {
      c_.if_then(c_.ir.CreateICmpEQ(ATTNC_TASK(i32, packed), c_.c32(0)), [&] { c_.ir.CreateCall(pack_tile_, {task}); });
      Value* q_panel = c_.element(q_panels, panel, plan_.head_dim_qk * panel_bytes());
      c_.ir.CreateCall(scores_gemm_, {k_tile, q_panel, scores, list, count});
      if (program_.mask != no_value) {
        llvm::BasicBlock *drop = c_.block("drop"), *keep = c_.block("keep"), *scored = c_.block("scored");
        c_.ir.CreateCondBr(is_masked, drop, keep);
        c_.ir.SetInsertPoint(drop);
        c_.ir.CreateCall(score_panel_masked_, {task, first_row, list, count});
        c_.ir.CreateBr(scored);
        c_.ir.SetInsertPoint(keep);
        c_.ir.CreateCall(score_panel_, {task, first_row, list, count});
        c_.ir.CreateBr(scored);
        c_.ir.SetInsertPoint(scored);
      } else {
        c_.ir.CreateCall(score_panel_, {task, first_row, list, count});
      }
      c_.ir.CreateCall(softmax_panel_, {task, first_row, count});
      Value* left = c_.ir.CreateSub(rows, first_row);
      Value* panel_row_count = c_.intrinsic(llvm::Intrinsic::smin, left, c_.c64(plan_.panel_rows()));
      Value* to = c_.element(out_acc, first_row, out_row_bytes());
      llvm::BasicBlock *fast = c_.block("fast"), *careful = c_.block("careful"), *added = c_.block("added");
      c_.ir.CreateCondBr(c_.ir.CreateICmpNE(ATTNC_TASK(i32, v_finite), c_.c32(0)), fast, careful);
      for (const auto& [block, gemm] : {std::pair{fast, output_gemm_}, std::pair{careful, output_careful_}}) {
        c_.ir.SetInsertPoint(block);
        c_.ir.CreateCall(gemm, {scores, v_tile, to, correction, list, count, panel_row_count});
        c_.ir.CreateBr(added);
      }
      c_.ir.SetInsertPoint(added);
    });
  });
  c_.ir.CreateRetVoid();
}

void AttentionEmitter::emit_finish() {
  llvm::Function* f = c_.function(finish_symbol, c_.ir.getVoidTy(), {c_.ptr}, false);
  Value* task = f->getArg(0);
  Value* rows = c_.wide(ATTNC_TASK(i32, rows));
  Value *row_sum = ATTNC_TASK(ptr, row_sum), *row_max = ATTNC_TASK(ptr, row_max);
  Value *lse = ATTNC_TASK(ptr, lse), *lse_stride = ATTNC_TASK(i64, lse_stride_elems);
  // row_sum becomes what the sums are divided by, row_max the natural-log lse. No key kept, or only scores of -inf,
  // which is the same: 0 and -inf.
  c_.loop(rows, plan_.lanes, [&](Value* i) {
    Value *sum_at = c_.element(row_sum, i, f32_bytes), *max_at = c_.element(row_max, i, f32_bytes);
    Value *sum = c_.load(c_.vf32, sum_at), *maximum = c_.load(c_.vf32, max_at);
    Value* no_score = c_.ir.CreateAnd(c_.ir.CreateFCmpOEQ(maximum, minus_infinity()), c_.ir.CreateFCmpOEQ(sum, zero()));
    Value* divisor = c_.ir.CreateSelect(no_score, c_.real(sum, 1), sum);  // sums of 0 over 1
    Value* natural = c_.ir.CreateFAdd(maximum, math::log(c_, sum));
    natural = c_.ir.CreateSelect(no_score, minus_infinity(), natural);
    c_.store(divisor, sum_at);
    c_.store(natural, max_at);
  });
  c_.if_then(c_.ir.CreateICmpNE(lse, llvm::ConstantPointerNull::get(llvm::cast<llvm::PointerType>(c_.ptr))), [&] {
    c_.loop(rows, 1, [&](Value* i) {
      c_.store(c_.load(c_.f32, c_.element(row_max, i, f32_bytes)),
               c_.element(lse, c_.ir.CreateMul(i, lse_stride), f32_bytes));
    });
  });

  Value *out = ATTNC_TASK(ptr, out), *stride = ATTNC_TASK(i64, out_row_stride_bytes),
        *out_acc = ATTNC_TASK(ptr, out_acc);
  Value* staging = ATTNC_TASK(ptr, row_staging);
  const auto element_bytes = static_cast<std::int64_t>(size_bytes(plan_.dtype));
  const int whole_vectors = plan_.head_dim_v / plan_.lanes;
  const int tail = plan_.head_dim_v % plan_.lanes;
  c_.loop(rows, 1, [&](Value* row) {
    Value* from = c_.element(out_acc, row, out_row_bytes());
    Value* to = c_.offset(out, c_.ir.CreateMul(row, stride));
    Value* divisor = c_.splat(c_.load(c_.f32, c_.element(row_sum, row, f32_bytes)));
    auto convert = [&](Value* i, Value* target) {
      Value* value = c_.ir.CreateFDiv(c_.load(c_.vf32, c_.element(from, i, vector_bytes())), divisor);
      c_.store(to_storage(c_, target_, plan_.dtype, value), target);
    };
    c_.loop(c_.c64(whole_vectors), 1, [&](Value* i) { convert(i, c_.element(to, i, plan_.lanes * element_bytes)); });
    if (tail != 0) {
      convert(c_.c64(whole_vectors), staging);
      c_.ir.CreateMemCpy(c_.offset(to, whole_vectors * plan_.lanes * element_bytes), llvm::MaybeAlign(1), staging,
                         llvm::MaybeAlign(1), c_.c64(tail * element_bytes));
    }
  });
  c_.ir.CreateRetVoid();
}

SlotCounts slot_counts(const Program& program) {
  const LevelPlan levels(program);
  return {levels.slots(Level::uniform), levels.slots(Level::row), levels.slots(Level::column)};
}

std::unique_ptr<llvm::Module> emit_attention(llvm::LLVMContext& context, const Program& program,
                                             const CpuTarget& target, const CpuPlan& plan) {
  auto module = std::make_unique<llvm::Module>("attnc", context);
  AttentionEmitter(*module, program, target, plan).emit();
  return module;
}

}  // namespace attnc::cpu
