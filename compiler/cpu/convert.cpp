// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/convert.h"

namespace attnc::cpu {
namespace {

Value* as_i32(CodeBuilder& c, Value* x) { return c.ir.CreateBitCast(x, c.shaped(c.i32, x)); }
Value* as_f32(CodeBuilder& c, Value* x) { return c.ir.CreateBitCast(x, c.shaped(c.f32, x)); }

/// For targets without the instruction: LLVM would call a run-time function per element.
Value* f16_bits_to_f32(CodeBuilder& c, Value* stored) {
  Value* h = c.ir.CreateZExt(stored, c.shaped(c.i32, stored));
  Value* sign = c.ir.CreateShl(c.ir.CreateAnd(h, c.integer(h, 0x8000)), c.integer(h, 16));
  Value* magnitude = c.ir.CreateShl(c.ir.CreateAnd(h, c.integer(h, 0x7fff)), c.integer(h, 13));
  // Rebias by multiplication, which also normalises subnormals; infinity and NaN need their exponent filled.
  Value* rebias = c.real(as_f32(c, magnitude), 0x1p112);
  Value* value = as_i32(c, c.ir.CreateFMul(as_f32(c, magnitude), rebias));
  Value* special = c.ir.CreateICmpUGE(magnitude, c.integer(magnitude, 0x7c00 << 13));
  value = c.ir.CreateSelect(special, c.ir.CreateOr(magnitude, c.integer(magnitude, 0x7f800000)), value);
  return as_f32(c, c.ir.CreateOr(value, sign));
}

Value* f32_to_f16_bits(CodeBuilder& c, Value* value) {
  Value* bits = as_i32(c, value);
  Value* sign = c.ir.CreateAnd(c.ir.CreateLShr(bits, c.integer(bits, 16)), c.integer(bits, 0x8000));
  Value* magnitude = c.ir.CreateAnd(bits, c.integer(bits, 0x7fffffff));
  Value* odd = c.ir.CreateAnd(c.ir.CreateLShr(magnitude, c.integer(bits, 13)), c.integer(bits, 1));
  Value* rounded = c.ir.CreateAdd(c.ir.CreateAdd(magnitude, c.integer(bits, 0xfff - 0x38000000)), odd);
  Value* normal = c.ir.CreateLShr(rounded, c.integer(bits, 13));
  // Adding 0.5 puts f16's smallest unit at the last place of the float, so that the addition rounds as wanted.
  Value* shifted = c.ir.CreateFAdd(as_f32(c, magnitude), c.real(value, 0.5));
  Value* subnormal = c.ir.CreateSub(as_i32(c, shifted), c.integer(bits, 0x3f000000));
  Value* result = c.ir.CreateSelect(c.ir.CreateICmpULT(magnitude, c.integer(bits, 0x38800000)), subnormal, normal);
  result =
      c.ir.CreateSelect(c.ir.CreateICmpUGE(magnitude, c.integer(bits, 0x477ff000)), c.integer(bits, 0x7c00), result);
  result =
      c.ir.CreateSelect(c.ir.CreateICmpUGT(magnitude, c.integer(bits, 0x7f800000)), c.integer(bits, 0x7e00), result);
  return c.ir.CreateTrunc(c.ir.CreateOr(result, sign), c.shaped(c.i16, value));
}

Value* f32_to_bf16_bits(CodeBuilder& c, Value* value) {
  Value* bits = as_i32(c, value);
  Value* high = c.ir.CreateLShr(bits, c.integer(bits, 16));
  Value* odd = c.ir.CreateAnd(high, c.integer(bits, 1));
  Value* rounded =
      c.ir.CreateLShr(c.ir.CreateAdd(c.ir.CreateAdd(bits, c.integer(bits, 0x7fff)), odd), c.integer(bits, 16));
  Value* quiet = c.ir.CreateOr(high, c.integer(bits, 0x40));
  Value* result = c.ir.CreateSelect(c.ir.CreateFCmpUNO(value, value), quiet, rounded);
  return c.ir.CreateTrunc(result, c.shaped(c.i16, value));
}

}  // namespace

llvm::Type* storage_type(CodeBuilder& c, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return c.f32;
    case DType::f16:
    case DType::bf16:
      return c.i16;
    case DType::i64:
      return c.i64;
    case DType::i32:
      return c.i32;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return c.i8;
  }
  return c.f32;
}

Value* from_storage(CodeBuilder& c, const CpuTarget& target, DType dtype, Value* stored) {
  switch (dtype) {
    case DType::f32:
    case DType::i64:
    case DType::i32:
      return stored;
    case DType::f16:
      if (!target.has_f16_conversion) return f16_bits_to_f32(c, stored);
      return c.ir.CreateFPExt(c.ir.CreateBitCast(stored, c.shaped(c.ir.getHalfTy(), stored)), c.shaped(c.f32, stored));
    case DType::bf16:
      return as_f32(c, c.ir.CreateShl(c.ir.CreateZExt(stored, c.shaped(c.i32, stored)),
                                      llvm::ConstantInt::get(c.shaped(c.i32, stored), 16)));
    case DType::i8:
      return c.ir.CreateSExt(stored, c.shaped(c.i32, stored));
    case DType::u8:
      return c.ir.CreateZExt(stored, c.shaped(c.i32, stored));
    case DType::boolean:
      return c.ir.CreateICmpNE(stored, c.integer(stored, 0));
  }
  return stored;
}

Value* to_storage(CodeBuilder& c, const CpuTarget& target, DType dtype, Value* value) {
  switch (dtype) {
    case DType::f16:
      if (!target.has_f16_conversion) return f32_to_f16_bits(c, value);
      return c.ir.CreateBitCast(c.ir.CreateFPTrunc(value, c.shaped(c.ir.getHalfTy(), value)), c.shaped(c.i16, value));
    case DType::bf16:
      return f32_to_bf16_bits(c, value);
    default:
      return value;
  }
}

}  // namespace attnc::cpu
