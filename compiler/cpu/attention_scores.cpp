// SPDX-License-Identifier: Apache-2.0
#include <numbers>

#include "compiler/cpu/attention_emitter.h"
#include "compiler/cpu/math.h"

namespace attnc::cpu {

using ir::Level;
using ir::no_value;

AttentionEmitter::PanelScopes AttentionEmitter::panel_scopes(StageEmitter& stage, Value* task, Value* first_row) {
  PanelScopes result;
  result.base = stage.scope(true);
  stage.add_uniform(result.base);
  Value* q0 = ATTNC_TASK(i32, q0);
  Value* rows = ATTNC_TASK(i32, rows);
  result.kv0 = ATTNC_TASK(i32, kv0);
  for (int v = 0; v < plan_.q_vectors; ++v) {
    Value* first = c_.ir.CreateAdd(first_row, c_.c64(v * plan_.lanes));
    Scope scope = result.base;
    stage.add_rows(scope, first);
    result.q_idx.push_back(stage.q_indices(q0, rows, first));
    result.vectors.push_back(std::move(scope));
  }
  // A block that ends here is the preheader: what the mods want hoisted goes before its terminator.
  llvm::BasicBlock* body = c_.block("keys");
  llvm::Instruction* terminator = c_.ir.CreateBr(body);
  for (Scope& scope : result.vectors) scope.preheader = terminator;
  result.base.preheader = terminator;
  c_.ir.SetInsertPoint(body);
  return result;
}

Scope AttentionEmitter::element_scope(const PanelScopes& panel, int vector, const Scope& columns, Value* key,
                                      Value* score_input) {
  Scope scope = panel.vectors[static_cast<std::size_t>(vector)];
  for (std::size_t id = 0; id < scope.values.size(); ++id)
    if (scope.values[id] == nullptr && levels_.level(static_cast<ir::ValueId>(id)) == Level::column)
      scope.values[id] = columns.values[id];
  Value* q_idx = panel.q_idx[static_cast<std::size_t>(vector)];
  scope.input = [this, base = scope.input, q_idx, score_input, key, kv0 = panel.kv0](Input which) -> Value* {
    switch (which) {
      case Input::q_idx:
        return q_idx;
      case Input::kv_idx:
        return c_.ir.CreateAdd(kv0, c_.ir.CreateTrunc(key, c_.i32));
      case Input::dot:
      case Input::score:
        if (score_input != nullptr) return score_input;
        [[fallthrough]];
      default:
        return base(which);
    }
  };
  return scope;
}

void AttentionEmitter::emit_mask_panel() {
  mask_panel_ = c_.function("mask_panel", c_.i64, {c_.ptr, c_.i64}, true);
  Value *task = mask_panel_->getArg(0), *first_row = mask_panel_->getArg(1);
  StageEmitter stage = stages(task);
  Value *live = ATTNC_TASK(ptr, live_keys), *bits = ATTNC_TASK(ptr, keep_bits);
  Value* keys = c_.wide(ATTNC_TASK(i32, keys));
  const PanelScopes panel = panel_scopes(stage, task, first_row);
  const std::vector<bool> wanted = levels_.needed(Level::element, program_.mask);
  llvm::Type* lane_bits = c_.ir.getIntNTy(static_cast<unsigned>(c_.lanes));

  const auto result = c_.loop(keys, 1, {c_.c64(0)}, [&](Value* key, const CodeBuilder::Carried& carried) {
    Scope columns = panel.base;
    stage.add_columns(columns, key);
    Value* any = nullptr;
    Value* to = c_.element(bits, carried[0], plan_.q_vectors * 2);
    for (int v = 0; v < plan_.q_vectors; ++v) {
      Scope scope = element_scope(panel, v, columns, key, nullptr);
      stage.mods().evaluate(wanted, scope);
      Value* keep = stage.mods().operand(program_.mask, scope);
      Value* word = c_.ir.CreateZExtOrTrunc(c_.ir.CreateBitCast(keep, lane_bits), c_.i16);
      c_.store(word, c_.offset(to, v * 2));
      any = any == nullptr ? word : c_.ir.CreateOr(any, word);
    }
    c_.store(c_.ir.CreateTrunc(key, c_.i32), c_.element(live, carried[0], 4));
    Value* is_live = c_.ir.CreateZExt(c_.ir.CreateICmpNE(any, c_.integer(any, 0)), c_.i64);
    return CodeBuilder::Carried{c_.ir.CreateAdd(carried[0], is_live)};
  });
  for (int i = 0; i < plan_.key_rows; ++i) c_.store(c_.c32(0), c_.offset(c_.element(live, result[0], 4), i * 4));
  c_.ir.CreateRet(result[0]);
}

void AttentionEmitter::emit_score_panel(bool masked) {
  llvm::Function* f = c_.function(masked ? "score_panel_masked" : "score_panel", c_.ir.getVoidTy(),
                                  {c_.ptr, c_.i64, c_.ptr, c_.i64}, true);
  (masked ? score_panel_masked_ : score_panel_) = f;
  Value *task = f->getArg(0), *first_row = f->getArg(1), *keys = f->getArg(2), *count = f->getArg(3);
  StageEmitter stage = stages(task);
  Value* scores = ATTNC_TASK(ptr, scores);
  Value* bits = masked ? ATTNC_TASK(ptr, keep_bits) : nullptr;
  Value* row_max = c_.element(ATTNC_TASK(ptr, row_max), first_row, f32_bytes);
  Value* correction = ATTNC_TASK(ptr, correction);
  Value* factor = ATTNC_TASK(f32, scale);
  factor = c_.splat(factor);
  const PanelScopes panel = panel_scopes(stage, task, first_row);
  const std::vector<bool> wanted = levels_.needed(Level::element, program_.score);

  const CodeBuilder::Carried start(static_cast<std::size_t>(plan_.q_vectors), minus_infinity());
  const auto maxima = c_.loop(count, 1, start, [&](Value* i, const CodeBuilder::Carried& carried) {
    Value* key = c_.ir.CreateZExt(c_.load(c_.i32, c_.element(keys, i, 4)), c_.i64);
    Scope columns = panel.base;
    stage.add_columns(columns, key);
    CodeBuilder::Carried next;
    for (int v = 0; v < plan_.q_vectors; ++v) {
      Value* address = c_.offset(c_.element(scores, i, panel_bytes()), v * vector_bytes());
      Value* dot = c_.load(c_.vf32, address);
      Value* score;
      if (program_.score == no_value) {
        score = c_.ir.CreateFMul(dot, factor);
      } else {
        // In kernel form the mods scale the dot product themselves.
        Scope scope = element_scope(panel, v, columns, key, dot);
        stage.mods().evaluate(wanted, scope);
        score = stage.mods().operand(program_.score, scope);
      }
      if (masked) {
        Value* word = c_.load(c_.i16, c_.offset(c_.element(bits, i, plan_.q_vectors * 2), v * 2));
        llvm::Type* lane_bits = c_.ir.getIntNTy(static_cast<unsigned>(c_.lanes));
        Value* keep = c_.ir.CreateBitCast(c_.ir.CreateZExtOrTrunc(word, lane_bits), c_.vec(c_.i1));
        score = c_.ir.CreateSelect(keep, score, minus_infinity());
      }
      c_.store(score, address);
      Value* best = carried[static_cast<std::size_t>(v)];
      // A NaN score is not taken: it poisons its row through its own exponential.
      next.push_back(c_.ir.CreateSelect(c_.ir.CreateFCmpOGT(score, best), score, best));
    }
    return next;
  });
  for (int v = 0; v < plan_.q_vectors; ++v) {
    Value* address = c_.offset(row_max, v * vector_bytes());
    Value* before = c_.load(c_.vf32, address);
    Value* found = maxima[static_cast<std::size_t>(v)];
    Value* now = c_.ir.CreateSelect(c_.ir.CreateFCmpOGT(found, before), found, before);
    c_.store(now, address);
    c_.store(exponential(c_.ir.CreateFSub(before, finite_maximum(now))), c_.offset(correction, v * vector_bytes()));
  }
  c_.ir.CreateRetVoid();
}

Value* AttentionEmitter::finite_maximum(Value* maximum) {
  return c_.ir.CreateSelect(c_.ir.CreateFCmpOEQ(maximum, minus_infinity()), zero(), maximum);
}

Value* AttentionEmitter::exponential(Value* x) {
  return math::exp2_nonpositive(c_, c_.ir.CreateFMul(x, c_.real(x, std::numbers::log2e)));
}

void AttentionEmitter::emit_softmax_panel() {
  softmax_panel_ = c_.function("softmax_panel", c_.ir.getVoidTy(), {c_.ptr, c_.i64, c_.i64}, true);
  Value *task = softmax_panel_->getArg(0), *first_row = softmax_panel_->getArg(1), *count = softmax_panel_->getArg(2);
  Value *scores = ATTNC_TASK(ptr, scores), *correction = ATTNC_TASK(ptr, correction);
  Value* row_max = c_.element(ATTNC_TASK(ptr, row_max), first_row, f32_bytes);
  Value* row_sum = c_.element(ATTNC_TASK(ptr, row_sum), first_row, f32_bytes);
  CodeBuilder::Carried start;
  std::vector<Value*> maximum;
  for (int v = 0; v < plan_.q_vectors; ++v) {
    maximum.push_back(finite_maximum(c_.load(c_.vf32, c_.offset(row_max, v * vector_bytes()))));
    start.push_back(zero());
  }
  // Equal weights, one after the other, are rounded the same way: a long chain of them would drift by half an ulp a
  // key. Short chains, then, each added with what its addition loses.
  constexpr int chain_keys = 8;
  const auto vectors = static_cast<std::size_t>(plan_.q_vectors);
  CodeBuilder::Carried sums_and_losses(2 * vectors, zero());
  sums_and_losses = c_.loop(count, chain_keys, sums_and_losses, [&](Value* first, const CodeBuilder::Carried& before) {
    Value* left = c_.ir.CreateSub(count, first);
    Value* chain = c_.intrinsic(llvm::Intrinsic::smin, left, c_.c64(chain_keys));
    const auto sums = c_.loop(chain, 1, start, [&](Value* within, const CodeBuilder::Carried& carried) {
      CodeBuilder::Carried next;
      Value* i = c_.ir.CreateAdd(first, within);
      for (int v = 0; v < plan_.q_vectors; ++v) {
        const auto at = static_cast<std::size_t>(v);
        Value* address = c_.offset(c_.element(scores, i, panel_bytes()), v * vector_bytes());
        Value* p = exponential(c_.ir.CreateFSub(c_.load(c_.vf32, address), maximum[at]));
        c_.store(p, address);
        next.push_back(c_.ir.CreateFAdd(carried[at], p));
      }
      return next;
    });
    CodeBuilder::Carried next(2 * vectors);
    for (std::size_t at = 0; at < vectors; ++at) {
      next[at] = c_.ir.CreateFAdd(before[at], sums[at]);
      Value* lost = c_.ir.CreateFAdd(c_.ir.CreateFSub(before[at], next[at]), sums[at]);
      next[vectors + at] = c_.ir.CreateFAdd(before[vectors + at], lost);
    }
    return next;
  });
  for (int v = 0; v < plan_.q_vectors; ++v) {
    Value* address = c_.offset(row_sum, v * vector_bytes());
    Value* factor = c_.load(c_.vf32, c_.offset(correction, v * vector_bytes()));
    const auto at = static_cast<std::size_t>(v);
    Value* sum = c_.ir.CreateFAdd(sums_and_losses[at], sums_and_losses[vectors + at]);
    c_.store(c_.fma(c_.load(c_.vf32, address), factor, sum), address);
  }
  c_.ir.CreateRetVoid();
}

}  // namespace attnc::cpu
