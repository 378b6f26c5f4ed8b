// SPDX-License-Identifier: Apache-2.0
// The exact verdict on a block of a mask, by evaluating its elements in compiled code.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"
#include "runtime/block_mask_exact.h"

namespace attnc::cpu {

/// A mask compiled for this CPU. About 0.3 ns an element; stops as soon as a block is known to be mixed.
/// Immutable after construction: evaluate from many threads at once.
class MaskEvaluator final : public CompiledMask {
 public:
  /// Compiles the mask of `program` (it must have one), or finds it in the cache under `cache_dir` (as
  /// AttentionOptions::cache_dir). Throws Error(internal).
  explicit MaskEvaluator(const ir::Program& program, const std::string& cache_dir = {});
  ~MaskEvaluator() override;

  /// Values bound for a number of evaluations; borrowed buffers must outlive it.
  class Bound final : public BlockJudge {
   public:
    /// Rows [q0, q1) and keys [kv0, kv1), not empty and inside the lengths, of any size.
    bounds::Verdict evaluate(int b, int h, int q0, int q1, int kv0, int kv1, int q_len, int kv_len);
    bounds::Verdict verdict(const bounds::Box& block, int q_len, int kv_len) override;
    Bound(Bound&&) noexcept;
    ~Bound() override;

   private:
    friend class MaskEvaluator;
    struct State;
    explicit Bound(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };
  /// One per thread: it holds that thread's scratch. Must not outlive the evaluator.
  Bound bind(const ir::Bindings& bindings) const;
  std::unique_ptr<BlockJudge> judge(const ir::Bindings& bindings) const override;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

}  // namespace attnc::cpu
