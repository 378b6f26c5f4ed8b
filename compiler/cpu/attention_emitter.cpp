// SPDX-License-Identifier: Apache-2.0
// The attention kernel, one function a phase: pack, Q K^T, score and mask, softmax, P V, write.
//
// Everything is held transposed: scores[key][row]. Vectors run across q rows, so a key of K and a probability of P are
// broadcast operands, row statistics are plain vectors, and a key that no row keeps is simply not in the list of keys.
#include <cmath>
#include <numbers>

#include "compiler/cpu/convert.h"
#include "compiler/cpu/emit.h"
#include "compiler/cpu/kernel_abi.h"
#include "compiler/cpu/math.h"
#include "compiler/cpu/stages.h"

namespace attnc::cpu {
namespace {

using ir::Level;
using ir::no_value;
using ir::Program;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t f32_bytes = 4;

class AttentionEmitter {
 public:
  AttentionEmitter(llvm::Module& module, const Program& program, const CpuTarget& target, const CpuPlan& plan)
      : c_(module, plan.lanes), program_(program), target_(target), plan_(plan), levels_(program) {}

  void emit() {
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

 private:
#define ATTNC_TASK(type, name) c_.field(c_.type, task, offsetof(TaskAbi, name))

  StageEmitter stages(Value* task) {
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

  std::int64_t vector_bytes() const { return plan_.lanes * f32_bytes; }
  std::int64_t panel_bytes() const { return plan_.panel_rows() * f32_bytes; }
  Value* zero() { return llvm::Constant::getNullValue(c_.vf32); }
  Value* minus_infinity() { return llvm::ConstantFP::get(c_.vf32, -infinity); }
  Value* load_vector(Value* base, Value* index, std::int64_t bytes, int vector) {
    return c_.load(c_.vf32, c_.offset(c_.element(base, index, bytes), vector * vector_bytes()));
  }
  void fill(Value* address, int byte, Value* bytes) {
    c_.ir.CreateMemSet(address, c_.ir.getInt8(static_cast<std::uint8_t>(byte)), bytes, llvm::MaybeAlign(4));
  }

  // Rows in memory -----------------------------------------------------------------------------------------------------

  /// convert_row(to, from, full_vectors, tail_bytes): one row of the tensors' dtype to f32. A partial last vector goes
  /// through a small zeroed buffer, so nothing outside the row is read; `to` has room for whole vectors.
  void emit_convert_row() {
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
      c_.ir.CreateMemCpy(tail, llvm::MaybeAlign(1), c_.element(from, i, plan_.lanes * element_bytes), llvm::MaybeAlign(1), tail_bytes);
      c_.store(from_storage(c_, target_, plan_.dtype, c_.load(stored, tail)), c_.element(to, i, vector_bytes()));
    });
    c_.ir.CreateRetVoid();
  }

  void convert_row(Value* to, Value* from, int elements) {
    const auto element_bytes = static_cast<int>(size_bytes(plan_.dtype));
    c_.ir.CreateCall(convert_row_, {to, from, c_.c64(elements / plan_.lanes), c_.c64(elements % plan_.lanes * element_bytes)});
  }

  /// Distance between rows of k_tile: whole vectors, so that a row may be converted in place.
  std::int64_t key_bytes() const {
    return (plan_.head_dim_qk + plan_.lanes - 1) / plan_.lanes * vector_bytes();
  }
  std::int64_t out_panel_bytes() const { return static_cast<std::int64_t>(plan_.max_keys) * plan_.out_panel_width() * f32_bytes; }
  std::int64_t out_row_bytes() const { return plan_.head_dim_v_padded() * f32_bytes; }

  /// pack_tile(task): K rows to f32, V rows to f32 panels; notes whether all of V is finite.
  void emit_pack_tile() {
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

  // Matrix products ----------------------------------------------------------------------------------------------------

  /// scores_gemm(k_tile, q_panel, scores, keys, count): scores[i][row] = dot(k_tile[keys[i]], q[row]), i < count rounded
  /// up to whole register blocks.
  void emit_scores_gemm() {
    scores_gemm_ = c_.function("scores_gemm", c_.ir.getVoidTy(), {c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.i64}, true);
    Value *k_tile = scores_gemm_->getArg(0), *q_panel = scores_gemm_->getArg(1), *scores = scores_gemm_->getArg(2),
          *keys = scores_gemm_->getArg(3), *count = scores_gemm_->getArg(4);
    const int rows = plan_.key_rows, vectors = plan_.q_vectors;
    c_.loop(count, rows, [&](Value* first) {
      std::vector<Value*> key(static_cast<std::size_t>(rows));
      Value* list = c_.element(keys, first, 4);
      for (int r = 0; r < rows; ++r)
        key[static_cast<std::size_t>(r)] = c_.element(k_tile, c_.load(c_.i32, c_.offset(list, r * 4)), key_bytes());
      const CodeBuilder::Carried start(static_cast<std::size_t>(rows * vectors), zero());
      const auto sums = c_.loop(c_.c64(plan_.head_dim_qk), 1, start, [&](Value* d, const CodeBuilder::Carried& acc) {
        CodeBuilder::Carried next(acc.size());
        std::vector<Value*> q;
        for (int v = 0; v < vectors; ++v) q.push_back(load_vector(q_panel, d, panel_bytes(), v));
        for (int r = 0; r < rows; ++r) {
          Value* broadcast = c_.splat(c_.load(c_.f32, c_.element(key[static_cast<std::size_t>(r)], d, f32_bytes)));
          for (int v = 0; v < vectors; ++v) {
            const auto at = static_cast<std::size_t>(r * vectors + v);
            next[at] = c_.fma(broadcast, q[static_cast<std::size_t>(v)], acc[at]);
          }
        }
        return next;
      });
      Value* to = c_.element(scores, first, panel_bytes());
      for (int i = 0; i < rows * vectors; ++i) c_.store(sums[static_cast<std::size_t>(i)], c_.offset(to, i * vector_bytes()));
    });
    c_.ir.CreateRetVoid();
  }

  /// output_gemm(scores, v_tile, out_acc, correction, keys, count, rows):
  /// out_acc[row] = out_acc[row] * correction[row] + sum over i of scores[i][row] * v_tile[keys[i]].
  void emit_output_gemm() {
    output_gemm_ = c_.function("output_gemm", c_.ir.getVoidTy(), {c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.i64, c_.i64}, true);
    Value *scores = output_gemm_->getArg(0), *v_tile = output_gemm_->getArg(1), *out = output_gemm_->getArg(2),
          *correction = output_gemm_->getArg(3), *keys = output_gemm_->getArg(4), *count = output_gemm_->getArg(5),
          *row_count = output_gemm_->getArg(6);
    const int rows = plan_.out_rows, vectors = plan_.out_vectors;
    const std::int64_t width_bytes = plan_.out_panel_width() * f32_bytes;
    c_.loop(c_.c64(plan_.out_panels()), 1, [&](Value* panel) {
      Value* v_panel = c_.element(v_tile, panel, out_panel_bytes());
      c_.loop(row_count, rows, [&](Value* first) {
        Value* p = c_.element(scores, first, f32_bytes);
        Value* to = c_.offset(c_.element(out, first, out_row_bytes()), c_.ir.CreateMul(panel, c_.c64(width_bytes)));
        Value* factor = c_.element(correction, first, f32_bytes);
        CodeBuilder::Carried start;
        for (int r = 0; r < rows; ++r) {
          Value* scale = c_.splat(c_.load(c_.f32, c_.offset(factor, r * f32_bytes)));
          for (int v = 0; v < vectors; ++v)
            start.push_back(c_.ir.CreateFMul(scale, c_.load(c_.vf32, c_.offset(to, r * out_row_bytes() + v * vector_bytes()))));
        }
        const auto sums = c_.loop(count, 1, start, [&](Value* i, const CodeBuilder::Carried& acc) {
          CodeBuilder::Carried next(acc.size());
          Value* key = c_.load(c_.i32, c_.element(keys, i, 4));
          std::vector<Value*> value;
          for (int v = 0; v < vectors; ++v) value.push_back(load_vector(v_panel, key, width_bytes, v));
          Value* weights = c_.element(p, i, panel_bytes());
          for (int r = 0; r < rows; ++r) {
            Value* weight = c_.splat(c_.load(c_.f32, c_.offset(weights, r * f32_bytes)));
            for (int v = 0; v < vectors; ++v) {
              const auto at = static_cast<std::size_t>(r * vectors + v);
              next[at] = c_.fma(weight, value[static_cast<std::size_t>(v)], acc[at]);
            }
          }
          return next;
        });
        for (int r = 0; r < rows; ++r)
          for (int v = 0; v < vectors; ++v)
            c_.store(sums[static_cast<std::size_t>(r * vectors + v)], c_.offset(to, r * out_row_bytes() + v * vector_bytes()));
      });
    });
    c_.ir.CreateRetVoid();
  }

  /// output_careful(same arguments): the same sum where V holds an infinity or NaN, leaving out keys of weight 0: 0 times
  /// infinity must not reach a row that dropped the key.
  void emit_output_careful() {
    output_careful_ = c_.function("output_careful", c_.ir.getVoidTy(), {c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.i64, c_.i64}, true);
    Value *scores = output_careful_->getArg(0), *v_tile = output_careful_->getArg(1), *out = output_careful_->getArg(2),
          *correction = output_careful_->getArg(3), *keys = output_careful_->getArg(4), *count = output_careful_->getArg(5),
          *row_count = output_careful_->getArg(6);
    const std::int64_t width_bytes = plan_.out_panel_width() * f32_bytes;
    c_.loop(row_count, 1, [&](Value* row) {
      Value* factor = c_.splat(c_.load(c_.f32, c_.element(correction, row, f32_bytes)));
      c_.loop(c_.c64(plan_.head_dim_v_padded() / plan_.lanes), 1, [&](Value* vector) {
        Value* panel = c_.ir.CreateUDiv(vector, c_.c64(plan_.out_vectors));
        Value* within = c_.ir.CreateURem(vector, c_.c64(plan_.out_vectors));
        Value* from = c_.element(c_.element(v_tile, panel, out_panel_bytes()), within, vector_bytes());
        Value* to = c_.element(c_.element(out, row, out_row_bytes()), vector, vector_bytes());
        const auto sum = c_.loop(count, 1, {c_.ir.CreateFMul(factor, c_.load(c_.vf32, to))}, [&](Value* i, const CodeBuilder::Carried& acc) {
          Value* weight = c_.load(c_.f32, c_.element(c_.element(scores, i, panel_bytes()), row, f32_bytes));
          Value* value = c_.load(c_.vf32, c_.element(from, c_.load(c_.i32, c_.element(keys, i, 4)), width_bytes));
          Value* more = c_.fma(c_.splat(weight), value, acc[0]);
          Value* dropped = c_.ir.CreateFCmpOEQ(weight, c_.real(weight, 0));
          return CodeBuilder::Carried{c_.ir.CreateSelect(dropped, acc[0], more)};
        });
        c_.store(sum[0], to);
      });
    });
    c_.ir.CreateRetVoid();
  }

  // Mods ---------------------------------------------------------------------------------------------------------------

  /// What the element level knows of one panel, before its loop over keys.
  struct PanelScopes {
    Scope base;
    std::vector<Scope> vectors;        // by vector of the panel
    std::vector<Value*> q_idx;         // likewise
    Value* kv0;
  };
  PanelScopes panel_scopes(StageEmitter& stage, Value* task, Value* first_row) {
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

  /// The scope of one vector of scores at one key.
  Scope element_scope(const PanelScopes& panel, int vector, const Scope& columns, Value* key, Value* dot) {
    Scope scope = panel.vectors[static_cast<std::size_t>(vector)];
    for (std::size_t id = 0; id < scope.values.size(); ++id)
      if (scope.values[id] == nullptr && levels_.level(static_cast<ir::ValueId>(id)) == Level::column) scope.values[id] = columns.values[id];
    Value* q_idx = panel.q_idx[static_cast<std::size_t>(vector)];
    scope.input = [this, base = scope.input, q_idx, dot, key, kv0 = panel.kv0](Input which) -> Value* {
      switch (which) {
        case Input::q_idx: return q_idx;
        case Input::kv_idx: return c_.ir.CreateAdd(kv0, c_.ir.CreateTrunc(key, c_.i32));
        case Input::dot:
          if (dot != nullptr) return dot;
          [[fallthrough]];
        default: return base(which);
      }
    };
    return scope;
  }

  /// mask_panel(task, first_row) -> count: evaluates the mask, lists the keys that some row of the panel keeps, and their
  /// bits; pads the list to whole register blocks.
  void emit_mask_panel() {
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

  /// score_panel(task, first_row, keys, count): dot products to modified scores in log2 units, -inf where dropped; the
  /// running maximum and the correction of what was summed before.
  void emit_score_panel(bool masked) {
    llvm::Function* f = c_.function(masked ? "score_panel_masked" : "score_panel", c_.ir.getVoidTy(), {c_.ptr, c_.i64, c_.ptr, c_.i64}, true);
    (masked ? score_panel_masked_ : score_panel_) = f;
    Value *task = f->getArg(0), *first_row = f->getArg(1), *keys = f->getArg(2), *count = f->getArg(3);
    StageEmitter stage = stages(task);
    Value* scores = ATTNC_TASK(ptr, scores);
    Value* bits = masked ? ATTNC_TASK(ptr, keep_bits) : nullptr;
    Value* row_max = c_.element(ATTNC_TASK(ptr, row_max), first_row, f32_bytes);
    Value* correction = ATTNC_TASK(ptr, correction);
    Value* factor = c_.ir.CreateFMul(ATTNC_TASK(f32, scale), llvm::ConstantFP::get(c_.f32, std::numbers::log2e));
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
      c_.store(math::exp2_nonpositive(c_, c_.ir.CreateFSub(before, finite_maximum(now))), c_.offset(correction, v * vector_bytes()));
    }
    c_.ir.CreateRetVoid();
  }

  /// What to subtract from scores: 0 where no score counts yet, so that -inf - max is -inf.
  Value* finite_maximum(Value* maximum) {
    return c_.ir.CreateSelect(c_.ir.CreateFCmpOEQ(maximum, minus_infinity()), zero(), maximum);
  }

  /// softmax_panel(task, first_row, count): scores to unnormalised probabilities, and their sums.
  void emit_softmax_panel() {
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
    const auto sums = c_.loop(count, 1, start, [&](Value* i, const CodeBuilder::Carried& carried) {
      CodeBuilder::Carried next;
      for (int v = 0; v < plan_.q_vectors; ++v) {
        const auto at = static_cast<std::size_t>(v);
        Value* address = c_.offset(c_.element(scores, i, panel_bytes()), v * vector_bytes());
        Value* p = math::exp2_nonpositive(c_, c_.ir.CreateFSub(c_.load(c_.vf32, address), maximum[at]));
        c_.store(p, address);
        next.push_back(c_.ir.CreateFAdd(carried[at], p));
      }
      return next;
    });
    for (int v = 0; v < plan_.q_vectors; ++v) {
      Value* address = c_.offset(row_sum, v * vector_bytes());
      Value* factor = c_.load(c_.vf32, c_.offset(correction, v * vector_bytes()));
      c_.store(c_.fma(c_.load(c_.vf32, address), factor, sums[static_cast<std::size_t>(v)]), address);
    }
    c_.ir.CreateRetVoid();
  }

  // The three entries --------------------------------------------------------------------------------------------------

  Value* panels(Value* rows) {
    return c_.ir.CreateUDiv(c_.ir.CreateAdd(rows, c_.c64(plan_.panel_rows() - 1)), c_.c64(plan_.panel_rows()));
  }

  void emit_begin() {
    llvm::Function* f = c_.function(begin_symbol, c_.ir.getVoidTy(), {c_.ptr}, false);
    Value* task = f->getArg(0);
    Value* rows_i32 = ATTNC_TASK(i32, rows);
    Value* rows = c_.wide(rows_i32);
    StageEmitter stage = stages(task);
    stage.uniform();
    stage.rows(ATTNC_TASK(i32, q0), rows_i32);

    Value* padded_rows = c_.ir.CreateMul(panels(rows), c_.c64(plan_.panel_rows()));
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

  void emit_tile() {
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

  void emit_finish() {
    llvm::Function* f = c_.function(finish_symbol, c_.ir.getVoidTy(), {c_.ptr}, false);
    Value* task = f->getArg(0);
    Value* rows = c_.wide(ATTNC_TASK(i32, rows));
    Value *row_sum = ATTNC_TASK(ptr, row_sum), *row_max = ATTNC_TASK(ptr, row_max);
    Value *lse = ATTNC_TASK(ptr, lse), *lse_stride = ATTNC_TASK(i64, lse_stride_elems);
    // row_sum becomes the reciprocal, row_max the natural-log lse. No key kept, or only scores of -inf, which is
    // the same: 0 and -inf.
    c_.loop(rows, plan_.lanes, [&](Value* i) {
      Value *sum_at = c_.element(row_sum, i, f32_bytes), *max_at = c_.element(row_max, i, f32_bytes);
      Value *sum = c_.load(c_.vf32, sum_at), *maximum = c_.load(c_.vf32, max_at);
      Value* no_score = c_.ir.CreateAnd(c_.ir.CreateFCmpOEQ(maximum, minus_infinity()), c_.ir.CreateFCmpOEQ(sum, zero()));
      Value* reciprocal = c_.ir.CreateFDiv(c_.real(sum, 1), sum);
      reciprocal = c_.ir.CreateSelect(no_score, zero(), reciprocal);
      Value* log_sum = c_.ir.CreateFAdd(maximum, math::log2(c_, sum));
      Value* natural = c_.ir.CreateFMul(log_sum, c_.real(sum, std::numbers::ln2));
      natural = c_.ir.CreateSelect(no_score, minus_infinity(), natural);
      c_.store(reciprocal, sum_at);
      c_.store(natural, max_at);
    });
    c_.if_then(c_.ir.CreateICmpNE(lse, llvm::ConstantPointerNull::get(llvm::cast<llvm::PointerType>(c_.ptr))), [&] {
      c_.loop(rows, 1, [&](Value* i) {
        c_.store(c_.load(c_.f32, c_.element(row_max, i, f32_bytes)), c_.element(lse, c_.ir.CreateMul(i, lse_stride), f32_bytes));
      });
    });

    Value *out = ATTNC_TASK(ptr, out), *stride = ATTNC_TASK(i64, out_row_stride_bytes), *out_acc = ATTNC_TASK(ptr, out_acc);
    Value* staging = ATTNC_TASK(ptr, row_staging);
    const auto element_bytes = static_cast<std::int64_t>(size_bytes(plan_.dtype));
    const int whole_vectors = plan_.head_dim_v / plan_.lanes;
    const int tail = plan_.head_dim_v % plan_.lanes;
    c_.loop(rows, 1, [&](Value* row) {
      Value* from = c_.element(out_acc, row, out_row_bytes());
      Value* to = c_.offset(out, c_.ir.CreateMul(row, stride));
      Value* factor = c_.splat(c_.load(c_.f32, c_.element(row_sum, row, f32_bytes)));
      // 0 / 0 stays out: a row without keys has factor 0 and sums of 0.
      auto convert = [&](Value* i, Value* target) {
        Value* value = c_.ir.CreateFMul(factor, c_.load(c_.vf32, c_.element(from, i, vector_bytes())));
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
#undef ATTNC_TASK

  CodeBuilder c_;
  const Program& program_;
  const CpuTarget& target_;
  const CpuPlan& plan_;
  LevelPlan levels_;
  llvm::Function *convert_row_ = nullptr, *pack_tile_ = nullptr, *scores_gemm_ = nullptr, *output_gemm_ = nullptr,
                 *output_careful_ = nullptr, *mask_panel_ = nullptr, *score_panel_ = nullptr, *score_panel_masked_ = nullptr,
                 *softmax_panel_ = nullptr;
};

}  // namespace

SlotCounts slot_counts(const Program& kernel_program) {
  const LevelPlan levels(kernel_program);
  return {levels.slots(Level::uniform), levels.slots(Level::row), levels.slots(Level::column)};
}

std::unique_ptr<llvm::Module> emit_attention(llvm::LLVMContext& context, const Program& kernel_program,
                                             const CpuTarget& target, const CpuPlan& plan) {
  auto module = std::make_unique<llvm::Module>("attnc", context);
  AttentionEmitter(*module, kernel_program, target, plan).emit();
  return module;
}

}  // namespace attnc::cpu
