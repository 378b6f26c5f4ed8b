// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "compiler/cpu/attention_emitter.h"

namespace attnc::cpu {
namespace {

// A sum is made of parts this long, each a chain of its own: rounding errors grow with the length of a chain.
constexpr int chain_keys = 32;
int chain_dims(int head_dim) { return head_dim <= 32 ? (head_dim + 1) / 2 : 64; }

}  // namespace

void AttentionEmitter::emit_scores_gemm() {
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
    Value* to = c_.element(scores, first, panel_bytes());
    const auto add_dims = [&](Value* first_dim, Value* dims, bool is_first) {
      const auto sums = c_.loop(dims, 1, start, [&](Value* i, const CodeBuilder::Carried& acc) {
        CodeBuilder::Carried next(acc.size());
        Value* d = c_.ir.CreateAdd(first_dim, i);
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
      for (int i = 0; i < rows * vectors; ++i) {
        Value* sum = sums[static_cast<std::size_t>(i)];
        Value* at = c_.offset(to, i * vector_bytes());
        c_.store(is_first ? sum : c_.ir.CreateFAdd(c_.load(c_.vf32, at), sum), at);
      }
    };
    const int dims = plan_.head_dim_qk, chain = std::min(dims, chain_dims(dims));
    add_dims(c_.c64(0), c_.c64(chain), true);
    if (dims > chain) {
      c_.loop(c_.c64(dims - chain), chain, [&](Value* done) {
        Value* first_dim = c_.ir.CreateAdd(done, c_.c64(chain));
        Value* left = c_.ir.CreateSub(c_.c64(dims), first_dim);
        add_dims(first_dim,
                 dims % chain == 0 ? c_.c64(chain) : c_.intrinsic(llvm::Intrinsic::smin, left, c_.c64(chain)), false);
      });
    }
  });
  c_.ir.CreateRetVoid();
}

void AttentionEmitter::emit_output_gemm() {
  output_gemm_ =
      c_.function("output_gemm", c_.ir.getVoidTy(), {c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.i64, c_.i64}, true);
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
      const CodeBuilder::Carried start(static_cast<std::size_t>(rows * vectors), zero());
      c_.loop(count, chain_keys, [&](Value* first_key) {
        Value* left = c_.ir.CreateSub(count, first_key);
        Value* chain = c_.intrinsic(llvm::Intrinsic::smin, left, c_.c64(chain_keys));
        const auto sums = c_.loop(chain, 1, start, [&](Value* within, const CodeBuilder::Carried& acc) {
          CodeBuilder::Carried next(acc.size());
          Value* i = c_.ir.CreateAdd(first_key, within);
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
        // What the tiles before gave is corrected once, with the first chain.
        Value* is_first = c_.ir.CreateICmpEQ(first_key, c_.c64(0));
        for (int r = 0; r < rows; ++r) {
          Value* correct = c_.load(c_.f32, c_.offset(factor, r * f32_bytes));
          Value* scale = c_.splat(c_.ir.CreateSelect(is_first, correct, c_.real(correct, 1)));
          for (int v = 0; v < vectors; ++v) {
            Value* at = c_.offset(to, r * out_row_bytes() + v * vector_bytes());
            c_.store(c_.fma(scale, c_.load(c_.vf32, at), sums[static_cast<std::size_t>(r * vectors + v)]), at);
          }
        }
      });
    });
  });
  c_.ir.CreateRetVoid();
}

void AttentionEmitter::emit_output_careful() {
  output_careful_ =
      c_.function("output_careful", c_.ir.getVoidTy(), {c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.ptr, c_.i64, c_.i64}, true);
  Value *scores = output_careful_->getArg(0), *v_tile = output_careful_->getArg(1), *out = output_careful_->getArg(2),
        *correction = output_careful_->getArg(3), *keys = output_careful_->getArg(4),
        *count = output_careful_->getArg(5), *row_count = output_careful_->getArg(6);
  const std::int64_t width_bytes = plan_.out_panel_width() * f32_bytes;
  c_.loop(row_count, 1, [&](Value* row) {
    Value* factor = c_.splat(c_.load(c_.f32, c_.element(correction, row, f32_bytes)));
    c_.loop(c_.c64(plan_.head_dim_v_padded() / plan_.lanes), 1, [&](Value* vector) {
      Value* panel = c_.ir.CreateUDiv(vector, c_.c64(plan_.out_vectors));
      Value* within = c_.ir.CreateURem(vector, c_.c64(plan_.out_vectors));
      Value* from = c_.element(c_.element(v_tile, panel, out_panel_bytes()), within, vector_bytes());
      Value* to = c_.element(c_.element(out, row, out_row_bytes()), vector, vector_bytes());
      const auto sum = c_.loop(
          count, 1, {c_.ir.CreateFMul(factor, c_.load(c_.vf32, to))}, [&](Value* i, const CodeBuilder::Carried& acc) {
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

}  // namespace attnc::cpu
