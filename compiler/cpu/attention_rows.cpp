// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/attention_emitter.h"
#include "compiler/cpu/convert.h"

namespace attnc::cpu {

void AttentionEmitter::emit_convert_row() {
  convert_row_ = c_.function("convert_row", c_.ir.getVoidTy(), {c_.ptr, c_.ptr, c_.i64, c_.i64}, true);
  Value *to = convert_row_->getArg(0), *from = convert_row_->getArg(1);
  llvm::Type* stored = c_.vec(storage_type(c_, plan_.dtype));
  const auto element_bytes = static_cast<std::int64_t>(size_bytes(plan_.dtype));
  llvm::Value* tail = c_.ir.CreateAlloca(stored);
  c_.loop(convert_row_->getArg(2), 1, [&](Value* i) {
    Value* value = c_.load(stored, c_.element(from, i, plan_.lanes * element_bytes));
    c_.store(from_storage(c_, target_, plan_.dtype, value), c_.element(to, i, vector_bytes()));
  });
  Value* tail_bytes = convert_row_->getArg(3);
  c_.if_then(c_.ir.CreateICmpNE(tail_bytes, c_.c64(0)), [&] {
    c_.store(llvm::Constant::getNullValue(stored), tail);
    Value* i = convert_row_->getArg(2);
    c_.ir.CreateMemCpy(tail, llvm::MaybeAlign(1), c_.element(from, i, plan_.lanes * element_bytes), llvm::MaybeAlign(1),
                       tail_bytes);
    c_.store(from_storage(c_, target_, plan_.dtype, c_.load(stored, tail)), c_.element(to, i, vector_bytes()));
  });
  c_.ir.CreateRetVoid();
}

void AttentionEmitter::convert_row(Value* to, Value* from, int elements) {
  const auto element_bytes = static_cast<int>(size_bytes(plan_.dtype));
  c_.ir.CreateCall(convert_row_,
                   {to, from, c_.c64(elements / plan_.lanes), c_.c64(elements % plan_.lanes * element_bytes)});
}

void AttentionEmitter::emit_pack_tile() {
  pack_tile_ = c_.function("pack_tile", c_.ir.getVoidTy(), {c_.ptr}, true);
  Value* task = pack_tile_->getArg(0);
  Value* keys = c_.wide(ATTNC_TASK(i32, keys));
  Value *k = ATTNC_TASK(ptr, k), *k_tile = ATTNC_TASK(ptr, k_tile), *k_stride = ATTNC_TASK(i64, k_row_stride_bytes);
  c_.loop(keys, 1, [&](Value* j) {
    convert_row(c_.element(k_tile, j, key_bytes()), c_.offset(k, c_.ir.CreateMul(j, k_stride)), plan_.head_dim_qk);
  });

  Value *v = ATTNC_TASK(ptr, v), *v_tile = ATTNC_TASK(ptr, v_tile), *v_stride = ATTNC_TASK(i64, v_row_stride_bytes);
  const int vectors = plan_.head_dim_v_padded() / plan_.lanes;
  const bool direct = plan_.dtype == DType::f32 && plan_.head_dim_v == plan_.head_dim_v_padded();
  Value* staging = ATTNC_TASK(ptr, row_staging);
  // x * 0 is 0 for finite x and NaN otherwise.
  const auto suspicion = c_.loop(keys, 1, {zero()}, [&](Value* j, const CodeBuilder::Carried& carried) {
    Value* row = c_.offset(v, c_.ir.CreateMul(j, v_stride));
    if (!direct) {
      convert_row(staging, row, plan_.head_dim_v);
      row = staging;
    }
    Value* to = c_.element(v_tile, j, plan_.out_panel_width() * f32_bytes);
    return c_.loop(c_.c64(plan_.out_panels()), 1, carried, [&](Value* panel, const CodeBuilder::Carried& seen) {
      Value* poison = seen[0];
      for (int i = 0; i < vectors / plan_.out_panels(); ++i) {
        Value* value = load_vector(row, panel, plan_.out_panel_width() * f32_bytes, i);
        c_.store(value, c_.offset(c_.element(to, panel, out_panel_bytes()), i * vector_bytes()));
        poison = c_.fma(value, zero(), poison);
      }
      return CodeBuilder::Carried{poison};
    });
  });
  Value* bad = c_.ir.CreateOrReduce(c_.ir.CreateFCmpUNO(suspicion[0], suspicion[0]));
  c_.store(c_.ir.CreateZExt(c_.ir.CreateNot(bad), c_.i32), c_.offset(task, offsetof(TaskAbi, v_finite)));
  c_.store(c_.c32(1), c_.offset(task, offsetof(TaskAbi, packed)));
  c_.ir.CreateRetVoid();
}

}  // namespace attnc::cpu
