// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/code_builder.h"

#include <llvm/IR/Intrinsics.h>

namespace attnc::cpu {

CodeBuilder::CodeBuilder(llvm::Module& m, int lane_count)
    : module(m), context(m.getContext()), ir(context), lanes(lane_count) {
  f32 = ir.getFloatTy();
  f64 = ir.getDoubleTy();
  i1 = ir.getInt1Ty();
  i8 = ir.getInt8Ty();
  i16 = ir.getInt16Ty();
  i32 = ir.getInt32Ty();
  i64 = ir.getInt64Ty();
  ptr = ir.getPtrTy();
  vf32 = vec(f32);
}

llvm::Type* CodeBuilder::shaped(llvm::Type* element, Value* like) const {
  return is_vector(like) ? vec(element) : element;
}

Value* CodeBuilder::iota() {
  std::vector<llvm::Constant*> values;
  for (int i = 0; i < lanes; ++i) values.push_back(ir.getInt32(static_cast<std::uint32_t>(i)));
  return llvm::ConstantVector::get(values);
}

Value* CodeBuilder::fma(Value* a, Value* b, Value* c) {
  return ir.CreateIntrinsic(llvm::Intrinsic::fmuladd, {a->getType()}, {a, b, c});
}

Value* CodeBuilder::polynomial(Value* x, const std::vector<double>& coefficients) {
  Value* result = real(x, coefficients.back());
  for (std::size_t i = coefficients.size() - 1; i-- > 0;) result = fma(result, x, real(x, coefficients[i]));
  return result;
}

// Written as compare and select in the order that x86's max and min have: the second operand where either is NaN.
Value* CodeBuilder::at_least(Value* x, double low) {
  Value* bound = real(x, low);
  return ir.CreateSelect(ir.CreateFCmpOGT(bound, x), bound, x);
}
Value* CodeBuilder::at_most(Value* x, double high) {
  Value* bound = real(x, high);
  return ir.CreateSelect(ir.CreateFCmpOLT(bound, x), bound, x);
}

Value* CodeBuilder::element(Value* base, Value* index, std::int64_t element_bytes) {
  if (index->getType() == i32) index = wide(index);
  return offset(base, ir.CreateMul(index, c64(element_bytes)));
}

namespace {
llvm::Align element_align(llvm::Type* type) {
  llvm::Type* scalar = type->getScalarType();
  return llvm::Align(scalar->isPointerTy()
                         ? 8
                         : std::max(1u, scalar->getPrimitiveSizeInBits().getFixedValue()
                                            ? unsigned(scalar->getPrimitiveSizeInBits().getFixedValue() / 8)
                                            : 1u));
}
}  // namespace

Value* CodeBuilder::load(llvm::Type* type, Value* address) {
  return ir.CreateAlignedLoad(type, address, element_align(type));
}
void CodeBuilder::store(Value* value, Value* address) {
  ir.CreateAlignedStore(value, address, element_align(value->getType()));
}

llvm::BasicBlock* CodeBuilder::block(const char* label) {
  return llvm::BasicBlock::Create(context, label, ir.GetInsertBlock()->getParent());
}

CodeBuilder::Carried CodeBuilder::loop(Value* count, std::int64_t step, const Carried& initial,
                                       const std::function<Carried(Value*, const Carried&)>& body) {
  // Guarded and bottom-tested: the shape loop rotation would give, without running it.
  llvm::BasicBlock* entry = ir.GetInsertBlock();
  llvm::BasicBlock* head = block("loop");
  llvm::BasicBlock* exit = llvm::BasicBlock::Create(context, "done");
  ir.CreateCondBr(ir.CreateICmpSGT(count, c64(0)), head, exit);
  ir.SetInsertPoint(head);
  llvm::PHINode* index = ir.CreatePHI(i64, 2, "i");
  index->addIncoming(c64(0), entry);
  std::vector<llvm::PHINode*> phis;
  Carried carried;
  for (Value* value : initial) {
    phis.push_back(ir.CreatePHI(value->getType(), 2));
    phis.back()->addIncoming(value, entry);
    carried.push_back(phis.back());
  }
  const Carried next = body(index, carried);
  Value* next_index = ir.CreateNSWAdd(index, c64(step));
  llvm::BasicBlock* latch = ir.GetInsertBlock();
  index->addIncoming(next_index, latch);
  for (std::size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], latch);
  ir.CreateCondBr(ir.CreateICmpSLT(next_index, count), head, exit);
  exit->insertInto(entry->getParent());
  ir.SetInsertPoint(exit);
  Carried result;
  for (std::size_t i = 0; i < phis.size(); ++i) {
    llvm::PHINode* final_value = ir.CreatePHI(initial[i]->getType(), 2);
    final_value->addIncoming(initial[i], entry);
    final_value->addIncoming(next[i], latch);
    result.push_back(final_value);
  }
  return result;
}

void CodeBuilder::loop(Value* count, std::int64_t step, const std::function<void(Value*)>& body) {
  loop(count, step, {}, [&](Value* index, const Carried&) {
    body(index);
    return Carried{};
  });
}

void CodeBuilder::if_then(Value* condition, const std::function<void()>& body) {
  llvm::BasicBlock* then = block("then");
  llvm::BasicBlock* after = llvm::BasicBlock::Create(context, "after");
  ir.CreateCondBr(condition, then, after);
  ir.SetInsertPoint(then);
  body();
  ir.CreateBr(after);
  after->insertInto(then->getParent());
  ir.SetInsertPoint(after);
}

llvm::Function* CodeBuilder::function(const std::string& name, llvm::Type* result,
                                      const std::vector<llvm::Type*>& arguments, bool internal) {
  auto* type = llvm::FunctionType::get(result, arguments, false);
  auto* f = llvm::Function::Create(type, internal ? llvm::Function::InternalLinkage : llvm::Function::ExternalLinkage,
                                   name, module);
  const std::string bits = std::to_string(lanes * 32);
  f->addFnAttr("prefer-vector-width", bits);
  f->addFnAttr("min-legal-vector-width", bits);
  f->addFnAttr(llvm::Attribute::NoUnwind);
  if (internal) f->addFnAttr(llvm::Attribute::NoInline);
  ir.SetInsertPoint(llvm::BasicBlock::Create(context, "entry", f));
  return f;
}

}  // namespace attnc::cpu
