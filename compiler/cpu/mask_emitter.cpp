// SPDX-License-Identifier: Apache-2.0
// The exact evaluation of a mask over a block of elements, stopping as soon as the block is known to be mixed.
#include "compiler/cpu/emit.h"
#include "compiler/cpu/kernel_abi.h"
#include "compiler/cpu/stages.h"

namespace attnc::cpu {

using ir::Level;

std::unique_ptr<llvm::Module> emit_mask(llvm::LLVMContext& context, const ir::Program& program,
                                        const CpuTarget& target) {
  auto module = std::make_unique<llvm::Module>("attnc_mask", context);
  CodeBuilder c(*module, target.vector_bits / 32);
  const LevelPlan levels(program);
  llvm::Function* f = c.function(mask_symbol, c.i32, {c.ptr}, false);
  Value* task = f->getArg(0);
#define ATTNC_TASK(type, name) c.field(c.type, task, offsetof(MaskTaskAbi, name))
  StageEmitter::Context where{};
  where.params = ATTNC_TASK(ptr, params);
  where.buffers = ATTNC_TASK(ptr, buffers);
  where.uniform_slots = ATTNC_TASK(ptr, uniform_slots);
  where.row_slots = ATTNC_TASK(ptr, row_slots);
  where.row_capacity = max_mask_rows;
  where.b = ATTNC_TASK(i32, b);
  where.h = ATTNC_TASK(i32, h);
  where.q_len = ATTNC_TASK(i32, q_len);
  where.kv_len = ATTNC_TASK(i32, kv_len);
  where.scale = llvm::ConstantFP::get(c.f32, 1);  // a mask cannot read it
  Value *q0 = ATTNC_TASK(i32, q0), *rows = ATTNC_TASK(i32, rows), *kv0 = ATTNC_TASK(i32, kv0);
  Value* keys = c.wide(ATTNC_TASK(i32, keys));
#undef ATTNC_TASK
  StageEmitter stage(c, target, levels, where);
  stage.uniform();
  stage.rows(q0, rows, c.wide(rows));

  Scope outer = stage.scope(true);
  stage.add_uniform(outer);
  llvm::BasicBlock* start = c.ir.GetInsertBlock();
  llvm::BasicBlock* body = c.block("keys");
  outer.preheader = c.ir.CreateBr(body);
  c.ir.SetInsertPoint(body);
  llvm::Type* flags = c.vec(c.i1);
  auto* key = c.ir.CreatePHI(c.i64, 2);
  auto* any_before = c.ir.CreatePHI(flags, 2);
  auto* all_before = c.ir.CreatePHI(flags, 2);
  key->addIncoming(c.c64(0), start);
  any_before->addIncoming(llvm::Constant::getNullValue(flags), start);
  all_before->addIncoming(llvm::Constant::getAllOnesValue(flags), start);

  // Column values have no slots here: a key is visited once, so they are computed where they are used, as scalars.
  Value* kv_idx = c.ir.CreateAdd(kv0, c.ir.CreateTrunc(key, c.i32));
  Scope columns = outer;
  columns.vectors = false;
  columns.preheader = nullptr;
  columns.input = [&, base = outer.input](Input which) { return which == Input::kv_idx ? kv_idx : base(which); };
  stage.mods().evaluate(levels.needed(Level::column, program.mask), columns);

  const std::vector<bool> wanted = levels.needed(Level::element, program.mask);
  const auto result =
      c.loop(c.wide(rows), c.lanes, {any_before, all_before}, [&](Value* first, const CodeBuilder::Carried& seen) {
        Scope scope = outer;
        scope.preheader = nullptr;
        for (std::size_t id = 0; id < scope.values.size(); ++id)
          if (levels.level(static_cast<ir::ValueId>(id)) == Level::column) scope.values[id] = columns.values[id];
        stage.add_rows(scope, first);
        Value* q_idx = stage.q_indices(q0, rows, first);
        scope.input = [&, base = outer.input](Input which) {
          return which == Input::q_idx ? q_idx : which == Input::kv_idx ? kv_idx : base(which);
        };
        stage.mods().evaluate(wanted, scope);
        Value* keep = stage.mods().operand(program.mask, scope);
        return CodeBuilder::Carried{c.ir.CreateOr(seen[0], keep), c.ir.CreateAnd(seen[1], keep)};
      });

  llvm::Type* lane_bits = c.ir.getIntNTy(static_cast<unsigned>(c.lanes));
  Value* any_bits = c.ir.CreateBitCast(result[0], lane_bits);
  Value* all_bits = c.ir.CreateBitCast(result[1], lane_bits);
  Value* any = c.ir.CreateICmpNE(any_bits, c.integer(any_bits, 0));
  Value* all = c.ir.CreateICmpEQ(all_bits, c.integer(all_bits, -1));
  Value* next_key = c.ir.CreateAdd(key, c.c64(1));
  Value* is_mixed = c.ir.CreateAnd(any, c.ir.CreateNot(all));
  Value* more = c.ir.CreateAnd(c.ir.CreateICmpSLT(next_key, keys), c.ir.CreateNot(is_mixed));
  llvm::BasicBlock* latch = c.ir.GetInsertBlock();
  llvm::BasicBlock* done = c.block("done");
  key->addIncoming(next_key, latch);
  any_before->addIncoming(result[0], latch);
  all_before->addIncoming(result[1], latch);
  c.ir.CreateCondBr(more, body, done);
  c.ir.SetInsertPoint(done);
  Value* any_flag = c.ir.CreateSelect(any, c.c32(mask_any), c.c32(0));
  c.ir.CreateRet(c.ir.CreateOr(any_flag, c.ir.CreateSelect(all, c.c32(mask_all), c.c32(0))));
  return module;
}

}  // namespace attnc::cpu
