// SPDX-License-Identifier: Apache-2.0
// The verdict on one block by looking at its elements: interpreted, or compiled for this CPU. Internal: not installed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/interpret.h"

namespace attnc {

/// Evaluates a mask at chosen elements. One object per thread.
class MaskElements {
 public:
  virtual ~MaskElements() = default;
  /// out[i] = mask(b, h, q_idx[i], kv_idx[i]), i < count.
  virtual void points(int b, int h, int count, const std::int32_t* q_idx, const std::int32_t* kv_idx,
                      std::uint8_t* out) = 0;
};

/// Through the interpreter: always there, a few ns an element and operation.
std::unique_ptr<MaskElements> interpret_mask(const ir::Program& program, const ir::Bindings& bindings, int q_len,
                                             int kv_len);

/// The exact verdict on the block. Looks at a few scattered elements first, since most undecided blocks show both
/// values at once; then splits the block into rectangles for `evaluator` to decide, and looks at every element of the
/// small ones it cannot. Stops as soon as both values have been seen.
bounds::Verdict evaluate_block(MaskElements& elements, bounds::Evaluator& evaluator, const bounds::Box& box);

/// The exact verdict on whole blocks, over values that were bound for it. One object per thread.
class BlockJudge {
 public:
  virtual ~BlockJudge() = default;
  virtual bounds::Verdict verdict(const bounds::Box& block, int q_len, int kv_len) = 0;
};

/// A mask compiled for this CPU. Immutable: judges of many threads work at once, and must not outlive it.
class CompiledMask {
 public:
  virtual ~CompiledMask() = default;
  /// Borrowed buffers must outlive the judge.
  virtual std::unique_ptr<BlockJudge> judge(const ir::Bindings& bindings) const = 0;
};

/// Compiles the mask of a program (it has one), or finds it in the cache under a directory (as
/// AttentionOptions::cache_dir). Throws Error(internal).
using MaskCompiler = std::unique_ptr<const CompiledMask> (*)(const ir::Program& program, const std::string& cache_dir);
/// Null where the library has no compiler for this CPU.
MaskCompiler host_mask_compiler();

}  // namespace attnc
