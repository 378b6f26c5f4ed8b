// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/mod_emitter.h"

#include <bit>
#include <limits>

#include "compiler/cpu/convert.h"
#include "compiler/cpu/kernel_abi.h"
#include "compiler/cpu/math.h"

namespace attnc::cpu {

using ir::Inst;
using ir::Level;
using ir::ValueId;
using Intrinsic = llvm::Intrinsic::ID;

llvm::Type* ModEmitter::value_type(Type type) const {
  switch (type) {
    case Type::boolean:
      return c_.i1;
    case Type::i32:
      return c_.i32;
    case Type::i64:
      return c_.i64;
    case Type::f32:
      return c_.f32;
  }
  return c_.f32;
}

llvm::Type* ModEmitter::slot_type(Type type) const { return type == Type::boolean ? c_.i32 : value_type(type); }
Value* ModEmitter::to_slot(Value* value, Type type) {
  return type == Type::boolean ? c_.ir.CreateZExt(value, c_.shaped(c_.i32, value)) : value;
}
Value* ModEmitter::from_slot(Value* stored, Type type) {
  return type == Type::boolean ? c_.ir.CreateICmpNE(stored, c_.integer(stored, 0)) : stored;
}

void ModEmitter::evaluate(const std::vector<bool>& wanted, Scope& scope) {
  for (std::size_t id = 0; id < wanted.size(); ++id)
    if (wanted[id] && scope.values[id] == nullptr) scope.values[id] = emit(static_cast<ValueId>(id), scope);
}

Value* ModEmitter::operand(ValueId id, Scope& scope) {
  Value*& known = scope.values[static_cast<std::size_t>(id)];
  if (known == nullptr) known = emit(id, scope);  // a literal, or an input that every level knows
  if (!scope.vectors || CodeBuilder::is_vector(known)) return known;
  if (auto* constant = llvm::dyn_cast<llvm::Constant>(known))
    return llvm::ConstantVector::getSplat(llvm::ElementCount::getFixed(static_cast<unsigned>(c_.lanes)), constant);
  if (scope.preheader == nullptr || plan_.level(id) != Level::uniform) return c_.splat(known);
  Value*& splat = scope.splats[id];
  if (splat == nullptr) {
    llvm::IRBuilderBase::InsertPointGuard guard(c_.ir);
    c_.ir.SetInsertPoint(scope.preheader);
    splat = c_.splat(known);
  }
  return splat;
}

Value* ModEmitter::emit(ValueId id, Scope& scope) {
  const Inst& inst = plan_.program()[id];
  switch (inst.op) {
    case Op::literal:
      if (inst.type == Type::f32) return llvm::ConstantFP::get(c_.f32, inst.real);
      return llvm::ConstantInt::get(value_type(inst.type), static_cast<std::uint64_t>(inst.integer), true);
    case Op::input:
      return scope.input(inst.input);
    case Op::param: {
      Value* slot =
          c_.offset(scope.params, static_cast<std::int64_t>(inst.slot) * static_cast<std::int64_t>(sizeof(ParamAbi)));
      return from_slot(c_.load(slot_type(inst.type), slot), inst.type);
    }
    case Op::load:
      return emit_load(inst, scope);
    default:
      break;
  }
  Value* x = operand(inst.operands[0], scope);
  Value* y = inst.operand_count > 1 ? operand(inst.operands[1], scope) : nullptr;
  Value* z = inst.operand_count > 2 ? operand(inst.operands[2], scope) : nullptr;
  switch (inst.op) {
    case Op::eq:
    case Op::ne:
    case Op::lt:
    case Op::le:
    case Op::gt:
    case Op::ge:
      return emit_compare(inst, x, y);
    case Op::logical_and:
      return c_.ir.CreateAnd(x, y);
    case Op::logical_or:
      return c_.ir.CreateOr(x, y);
    case Op::logical_not:
      return c_.ir.CreateNot(x);
    case Op::select:
      return c_.ir.CreateSelect(x, y, z);
    case Op::cast:
      return emit_cast(inst, x);
    default:
      return inst.type == Type::f32 ? emit_real(inst, x, y, z) : emit_integer(inst, scope, x, y);
  }
}

Value* ModEmitter::emit_cast(const Inst& inst, Value* x) {
  const Type from = plan_.program()[inst.operands[0]].type;
  llvm::Type* to = c_.shaped(value_type(inst.type), x);
  if (from == inst.type) return x;
  if (inst.type == Type::boolean)
    return from == Type::f32 ? c_.ir.CreateFCmpUNE(x, c_.real(x, 0)) : c_.ir.CreateICmpNE(x, c_.integer(x, 0));
  if (from == Type::f32) return c_.ir.CreateIntrinsic(llvm::Intrinsic::fptosi_sat, {to, x->getType()}, {x});
  if (inst.type == Type::f32) return from == Type::boolean ? c_.ir.CreateUIToFP(x, to) : c_.ir.CreateSIToFP(x, to);
  return from == Type::boolean ? c_.ir.CreateZExt(x, to) : c_.ir.CreateSExtOrTrunc(x, to);
}

Value* ModEmitter::emit_compare(const Inst& inst, Value* x, Value* y) {
  using llvm::CmpInst;
  const bool real = x->getType()->isFPOrFPVectorTy();
  auto pick = [&](CmpInst::Predicate for_real, CmpInst::Predicate for_integer) {
    return real ? c_.ir.CreateFCmp(for_real, x, y) : c_.ir.CreateICmp(for_integer, x, y);
  };
  switch (inst.op) {
    case Op::eq:
      return pick(CmpInst::FCMP_OEQ, CmpInst::ICMP_EQ);
    case Op::ne:
      return pick(CmpInst::FCMP_UNE, CmpInst::ICMP_NE);
    case Op::lt:
      return pick(CmpInst::FCMP_OLT, CmpInst::ICMP_SLT);
    case Op::le:
      return pick(CmpInst::FCMP_OLE, CmpInst::ICMP_SLE);
    case Op::gt:
      return pick(CmpInst::FCMP_OGT, CmpInst::ICMP_SGT);
    default:
      return pick(CmpInst::FCMP_OGE, CmpInst::ICMP_SGE);
  }
}

Value* ModEmitter::emit_real(const Inst& inst, Value* x, Value* y, Value* z) {
  auto& b = c_.ir;
  switch (inst.op) {
    case Op::add:
      return b.CreateFAdd(x, y);
    case Op::sub:
      return b.CreateFSub(x, y);
    case Op::mul:
      return b.CreateFMul(x, y);
    case Op::div:
      return b.CreateFDiv(x, y);
    case Op::neg:
      return b.CreateFNeg(x);
    // Compare and select are two instructions everywhere; the sum restores the NaN that the select may have lost.
    case Op::min:
    case Op::max: {
      Value* chosen = b.CreateSelect(inst.op == Op::min ? b.CreateFCmpOLT(x, y) : b.CreateFCmpOGT(x, y), x, y);
      return b.CreateSelect(b.CreateFCmpUNO(x, y), b.CreateFAdd(x, y), chosen);
    }
    case Op::abs:
      return c_.intrinsic(llvm::Intrinsic::fabs, x);
    case Op::sign: {
      Value* zero = c_.real(x, 0);
      Value* up = b.CreateSelect(b.CreateFCmpOGT(x, zero), c_.real(x, 1), zero);
      return b.CreateSelect(b.CreateFCmpOLT(x, zero), c_.real(x, -1), up);
    }
    case Op::floor:
      return c_.intrinsic(llvm::Intrinsic::floor, x);
    case Op::ceil:
      return c_.intrinsic(llvm::Intrinsic::ceil, x);
    case Op::round:
      return c_.intrinsic(llvm::Intrinsic::roundeven, x);
    case Op::fma:
      return c_.fma(x, y, z);
    case Op::exp:
      return math::exp(c_, x);
    case Op::exp2:
      return math::exp2(c_, x);
    case Op::log:
      return math::log(c_, x);
    case Op::log2:
      return math::log2(c_, x);
    case Op::sqrt:
      return c_.intrinsic(llvm::Intrinsic::sqrt, x);
    case Op::rsqrt:
      return math::rsqrt(c_, x);
    case Op::tanh:
      return math::tanh(c_, x);
    case Op::sigmoid:
      return math::sigmoid(c_, x);
    case Op::sin:
      return math::sin(c_, x);
    case Op::cos:
      return math::cos(c_, x);
    case Op::erf:
      return math::erf(c_, x);
    case Op::pow:
      return math::pow(c_, x, y);
    default:
      break;
  }
  throw Error(ErrorCode::internal,
              "the CPU emitter met an operation without an f32 form: " + std::string(info(inst.op).mnemonic));
}

Value* ModEmitter::emit_integer(const Inst& inst, Scope& scope, Value* x, Value* y) {
  auto& b = c_.ir;
  auto shift = [&] { return b.CreateAnd(y, c_.integer(y, inst.type == Type::i64 ? 63 : 31)); };
  (void)scope;
  switch (inst.op) {
    case Op::add:
      return b.CreateAdd(x, y);
    case Op::sub:
      return b.CreateSub(x, y);
    case Op::mul:
      return b.CreateMul(x, y);
    case Op::div:
    case Op::mod:
      return emit_division(inst, x, y);
    case Op::neg:
      return b.CreateNeg(x);
    case Op::min:
      return c_.intrinsic(llvm::Intrinsic::smin, x, y);
    case Op::max:
      return c_.intrinsic(llvm::Intrinsic::smax, x, y);
    case Op::abs:
      return b.CreateIntrinsic(llvm::Intrinsic::abs, {x->getType()}, {x, b.getFalse()});
    case Op::sign: {
      Value* zero = c_.integer(x, 0);
      Value* up = b.CreateZExt(b.CreateICmpSGT(x, zero), x->getType());
      return b.CreateSelect(b.CreateICmpSLT(x, zero), c_.integer(x, -1), up);
    }
    case Op::floor:
    case Op::ceil:
    case Op::round:
      return x;
    case Op::bit_and:
      return b.CreateAnd(x, y);
    case Op::bit_or:
      return b.CreateOr(x, y);
    case Op::bit_xor:
      return b.CreateXor(x, y);
    case Op::bit_not:
      return b.CreateNot(x);
    case Op::shl:
      return b.CreateShl(x, shift());
    case Op::shr:
      return b.CreateAShr(x, shift());
    default:
      break;
  }
  throw Error(ErrorCode::internal,
              "the CPU emitter met an operation without an integer form: " + std::string(info(inst.op).mnemonic));
}

Value* ModEmitter::emit_division(const Inst& inst, Value* x, Value* y) {
  auto& b = c_.ir;
  const bool wants_quotient = inst.op == Op::div;
  Value* zero = c_.integer(x, 0);
  const Inst& divisor = plan_.program()[inst.operands[1]];
  if (divisor.op == Op::literal) {
    const std::int64_t n = divisor.integer;
    if (n == 0) return zero;
    if (n > 0 && std::has_single_bit(static_cast<std::uint64_t>(n)))
      return wants_quotient ? b.CreateAShr(x, c_.integer(x, std::countr_zero(static_cast<std::uint64_t>(n))))
                            : b.CreateAnd(x, c_.integer(x, n - 1));
    if (n == -1) return wants_quotient ? b.CreateNeg(x) : zero;
  }
  // The truncating quotient first, without ever dividing by 0 or -1.
  Value* quotient;
  Value* is_zero = nullptr;
  Value* is_minus_one = nullptr;
  if (divisor.op == Op::literal) {
    quotient = b.CreateSDiv(x, y);  // LLVM multiplies by the reciprocal
  } else {
    is_zero = b.CreateICmpEQ(y, zero);
    is_minus_one = b.CreateICmpEQ(y, c_.integer(y, -1));
    Value* safe = b.CreateSelect(b.CreateOr(is_zero, is_minus_one), c_.integer(y, 1), y);
    if (inst.type == Type::i32) {
      // In double: vector units have no integer division. Exact: a quotient just below an integer n differs from it by
      // at least 1/|y|, relatively 2^-31 or more, far over double's rounding.
      llvm::Type* wide = c_.shaped(c_.f64, x);
      Value* ratio = b.CreateFDiv(b.CreateSIToFP(x, wide), b.CreateSIToFP(safe, wide));
      quotient = b.CreateFPToSI(ratio, x->getType());
    } else {
      quotient = b.CreateSDiv(x, safe);
    }
    y = safe;
  }
  Value* remainder = b.CreateSub(x, b.CreateMul(quotient, y));
  Value* lower = b.CreateAnd(b.CreateICmpNE(remainder, zero), b.CreateICmpSLT(b.CreateXor(remainder, y), zero));
  Value* result = wants_quotient ? b.CreateAdd(quotient, b.CreateSExt(lower, x->getType()))
                                 : b.CreateAdd(remainder, b.CreateSelect(lower, y, zero));
  if (is_zero == nullptr) return result;
  if (wants_quotient) {
    result = b.CreateSelect(is_minus_one, b.CreateNeg(x), result);
    return b.CreateSelect(is_zero, zero, result);
  }
  return b.CreateSelect(is_zero, zero, result);  // modulo 1, which stands for -1, is 0 already
}

Value* ModEmitter::emit_load(const Inst& inst, Scope& scope) {
  auto& b = c_.ir;
  const DType dtype = plan_.program().buffers[static_cast<std::size_t>(inst.slot)].dtype;
  llvm::Type* stored_type = storage_type(c_, dtype);
  const auto element_bytes = static_cast<std::int64_t>(size_bytes(dtype));

  // What does not change in the loop around goes before it.
  auto hoisted = [&](ValueId operand, const auto& make) -> Value* {
    const Level level = operand == ir::no_value ? Level::uniform : plan_.level(operand);
    if (scope.preheader == nullptr || (level != Level::uniform && level != Level::row)) return make();
    llvm::IRBuilderBase::InsertPointGuard guard(b);
    b.SetInsertPoint(scope.preheader);
    return make();
  };
  Value* buffer = hoisted(ir::no_value, [&] {
    return c_.offset(scope.buffers,
                     static_cast<std::int64_t>(inst.slot) * static_cast<std::int64_t>(sizeof(BufferAbi)));
  });
  auto field = [&](std::size_t base, std::size_t dimension) {
    return hoisted(ir::no_value, [&] { return c_.field(c_.i64, buffer, base + 8 * dimension); });
  };
  auto splat_if = [&](bool vector, Value* value) {
    return vector && !CodeBuilder::is_vector(value) ? c_.splat(value) : value;
  };
  Value* data = hoisted(ir::no_value, [&] { return c_.field(c_.ptr, buffer, offsetof(BufferAbi, data)); });

  // Index arithmetic per dimension, scalar where all lanes agree.
  struct Dimension {
    Value* index;  // i64
    Value* extent;
    Value* stride;
    bool varies;
  };
  std::vector<Dimension> dimensions;
  int varying = 0;
  for (std::size_t d = 0; d < inst.operand_count; ++d) {
    const ValueId id = inst.operands[d];
    Dimension dimension{};
    Value* index = scope.values[static_cast<std::size_t>(id)];
    if (index == nullptr) index = scope.values[static_cast<std::size_t>(id)] = emit(id, scope);
    dimension.varies = CodeBuilder::is_vector(index);
    varying += dimension.varies;
    dimension.index = hoisted(id, [&] { return b.CreateSExt(index, c_.shaped(c_.i64, index)); });
    dimension.extent = field(offsetof(BufferAbi, shape), d);
    dimension.stride = field(offsetof(BufferAbi, stride_elems), d);
    dimensions.push_back(dimension);
  }

  auto in_range = [&](const Dimension& d, ValueId id, Value* index) {
    return hoisted(id, [&] { return b.CreateICmpULT(index, splat_if(CodeBuilder::is_vector(index), d.extent)); });
  };
  // Offset and validity of the dimensions all lanes share, then of the others.
  Value* shared_offset = c_.c64(0);
  Value* shared_valid = nullptr;
  auto both = [&](Value* x, Value* y) { return x == nullptr ? y : b.CreateAnd(x, y); };
  for (std::size_t d = 0; d < dimensions.size(); ++d) {
    const Dimension& dimension = dimensions[d];
    if (dimension.varies) continue;
    const ValueId id = inst.operands[d];
    shared_offset =
        b.CreateAdd(shared_offset, hoisted(id, [&] { return b.CreateMul(dimension.index, dimension.stride); }));
    if (inst.guarded) shared_valid = both(shared_valid, in_range(dimension, id, dimension.index));
  }

  if (varying == 0) {
    if (shared_valid != nullptr) shared_offset = b.CreateSelect(shared_valid, shared_offset, c_.c64(0));
    Value* loaded =
        from_storage(c_, target_, dtype, c_.load(stored_type, c_.element(data, shared_offset, element_bytes)));
    if (shared_valid != nullptr)
      loaded = b.CreateSelect(shared_valid, loaded, llvm::Constant::getNullValue(loaded->getType()));
    return loaded;
  }

  auto gather = [&]() -> Value* {
    Value* offsets = nullptr;
    Value* valid = nullptr;
    for (std::size_t d = 0; d < dimensions.size(); ++d) {
      const Dimension& dimension = dimensions[d];
      if (!dimension.varies) continue;
      const ValueId id = inst.operands[d];
      Value* term = hoisted(id, [&] { return b.CreateMul(dimension.index, c_.splat(dimension.stride)); });
      offsets = offsets == nullptr ? term : b.CreateAdd(offsets, term);
      if (inst.guarded) valid = both(valid, in_range(dimension, id, dimension.index));
    }
    offsets = b.CreateAdd(offsets, c_.splat(shared_offset));
    if (shared_valid != nullptr) valid = both(valid, c_.splat(shared_valid));
    if (valid != nullptr) offsets = b.CreateSelect(valid, offsets, llvm::Constant::getNullValue(offsets->getType()));
    Value* addresses = b.CreateGEP(stored_type, data, offsets);
    Value* all = llvm::Constant::getAllOnesValue(c_.vec(c_.i1));
    Value* stored = b.CreateMaskedGather(c_.vec(stored_type), addresses,
                                         llvm::Align(static_cast<std::uint64_t>(element_bytes)), all);
    Value* loaded = from_storage(c_, target_, dtype, stored);
    if (valid != nullptr) loaded = b.CreateSelect(valid, loaded, llvm::Constant::getNullValue(loaded->getType()));
    return loaded;
  };

  // Neighbouring lanes often read neighbouring elements: bias[h, q_idx - kv_idx + L]. Then one vector load does it.
  const std::size_t last = dimensions.size() - 1;
  const ValueId last_id = inst.operands[last];
  if (varying != 1 || !dimensions[last].varies || plan_.lane_step(last_id) != LevelPlan::LaneStep::one) return gather();
  const Dimension& run = dimensions[last];
  Value* first_index = b.CreateExtractElement(run.index, std::uint64_t{0});
  Value* last_index = b.CreateExtractElement(run.index, static_cast<std::uint64_t>(c_.lanes - 1));
  Value* contiguous = b.CreateICmpEQ(b.CreateSub(last_index, first_index), c_.c64(c_.lanes - 1));
  contiguous = b.CreateAnd(contiguous, b.CreateICmpEQ(run.stride, c_.c64(1)));
  if (inst.guarded) {
    contiguous = b.CreateAnd(contiguous, b.CreateICmpULT(first_index, run.extent));
    contiguous = b.CreateAnd(contiguous, b.CreateICmpULT(last_index, run.extent));
    if (shared_valid != nullptr) contiguous = b.CreateAnd(contiguous, shared_valid);
  }
  llvm::BasicBlock* direct_block = c_.block("contiguous");
  llvm::BasicBlock* gather_block = c_.block("gather");
  llvm::BasicBlock* merge_block = c_.block("loaded");
  b.CreateCondBr(contiguous, direct_block, gather_block);
  b.SetInsertPoint(direct_block);
  Value* address = c_.element(data, b.CreateAdd(shared_offset, first_index), element_bytes);
  Value* direct = from_storage(c_, target_, dtype, c_.load(c_.vec(stored_type), address));
  direct_block = b.GetInsertBlock();
  b.CreateBr(merge_block);
  b.SetInsertPoint(gather_block);
  Value* gathered = gather();
  gather_block = b.GetInsertBlock();
  b.CreateBr(merge_block);
  b.SetInsertPoint(merge_block);
  auto* result = b.CreatePHI(direct->getType(), 2);
  result->addIncoming(direct, direct_block);
  result->addIncoming(gathered, gather_block);
  return result;
}

}  // namespace attnc::cpu
