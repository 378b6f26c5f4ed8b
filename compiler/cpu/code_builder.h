// SPDX-License-Identifier: Apache-2.0
// IRBuilder with the words the emitters use: vectors of a fixed width, byte offsets, loops.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace attnc::cpu {

using llvm::Value;

/// Builds one module. Every arithmetic helper takes scalars and vectors alike; constants take the shape of `like`.
class CodeBuilder {
 public:
  CodeBuilder(llvm::Module& module, int lanes);

  llvm::Module& module;
  llvm::LLVMContext& context;
  llvm::IRBuilder<> ir;
  const int lanes;
  llvm::Type *f32, *f64, *i1, *i8, *i16, *i32, *i64, *ptr;
  llvm::Type* vf32;  ///< <lanes x float>

  llvm::Type* vec(llvm::Type* element) const {
    return llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes));
  }
  /// `element` as a vector if `like` is one, else as it is.
  llvm::Type* shaped(llvm::Type* element, Value* like) const;
  static bool is_vector(Value* value) { return value->getType()->isVectorTy(); }

  Value* c32(std::int64_t value) { return ir.getInt32(static_cast<std::uint32_t>(value)); }
  Value* c64(std::int64_t value) { return ir.getInt64(static_cast<std::uint64_t>(value)); }
  /// A constant of the type of `like` (any float or integer type, scalar or vector).
  static llvm::Constant* real(Value* like, double value) { return llvm::ConstantFP::get(like->getType(), value); }
  static llvm::Constant* integer(Value* like, std::int64_t value) {
    return llvm::ConstantInt::get(like->getType(), static_cast<std::uint64_t>(value), true);
  }
  Value* splat(Value* scalar) { return ir.CreateVectorSplat(static_cast<unsigned>(lanes), scalar); }
  Value* iota();  ///< <0, 1, 2, ...> of i32

  /// a * b + c, fused where the target does so in hardware.
  Value* fma(Value* a, Value* b, Value* c);
  /// A polynomial in x; coefficients from the constant term up.
  Value* polynomial(Value* x, const std::vector<double>& coefficients);
  /// max(low, x) and min(high, x) that keep a NaN x.
  Value* at_least(Value* x, double low);
  Value* at_most(Value* x, double high);
  Value* intrinsic(llvm::Intrinsic::ID id, Value* x) { return ir.CreateUnaryIntrinsic(id, x); }
  Value* intrinsic(llvm::Intrinsic::ID id, Value* x, Value* y) { return ir.CreateBinaryIntrinsic(id, x, y); }

  Value* offset(Value* base, Value* bytes) { return ir.CreateGEP(i8, base, bytes); }
  Value* offset(Value* base, std::int64_t bytes) { return bytes == 0 ? base : ir.CreateGEP(i8, base, c64(bytes)); }
  /// base + index * element_bytes; index is i32 (sign-extended) or i64.
  Value* element(Value* base, Value* index, std::int64_t element_bytes);
  /// Loads and stores with the alignment of one element, never more.
  Value* load(llvm::Type* type, Value* address);
  void store(Value* value, Value* address);
  Value* field(llvm::Type* type, Value* structure, std::size_t field_offset) {
    return load(type, offset(structure, static_cast<std::int64_t>(field_offset)));
  }
  Value* wide(Value* i32_value) { return ir.CreateSExt(i32_value, i64); }

  llvm::BasicBlock* block(const char* label);
  /// for (i = 0; i < count; i += step), i64. `body` gets i and the carried values and gives their next ones; the final
  /// ones are returned. The body may make blocks of its own.
  using Carried = std::vector<Value*>;
  Carried loop(Value* count, std::int64_t step, const Carried& initial,
               const std::function<Carried(Value* index, const Carried&)>& body);
  void loop(Value* count, std::int64_t step, const std::function<void(Value* index)>& body);
  void if_then(Value* condition, const std::function<void()>& body);

  /// A function of `module`, positioned at its entry. Vector types of the builder's width stay legal in it.
  llvm::Function* function(const std::string& name, llvm::Type* result, const std::vector<llvm::Type*>& arguments,
                           bool internal);
};

}  // namespace attnc::cpu
