// SPDX-License-Identifier: Apache-2.0
// The verdict on one block by looking at its elements. Internal: not installed.
#pragma once

#include <cstdint>
#include <memory>

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

}  // namespace attnc
