// SPDX-License-Identifier: Apache-2.0
// Random expressions that look for the ends of interval analysis: every operation, both integer widths, literals and
// parameters at the ends of their types, zero divisors, buffers with and without NaN, indices that miss.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"

namespace attnc::testing {

/// A program with values for its captures. The buffers' memory lives as long as the sample.
struct Sample {
  ir::Program program;  ///< canonicalized; has a mask and, half the time, a score
  ir::Bindings bindings;
  bounds::Box box;  ///< a block inside the lengths; b, h and the lengths are points
  std::vector<std::shared_ptr<void>> memory;
};

/// The same seed gives the same sample.
Sample random_sample(std::uint64_t seed);

/// One value per element of a box, by the interpreter.
struct Elements {
  std::vector<std::int32_t> q_idx, kv_idx;
  std::vector<double> value;  ///< integers and booleans exactly (below 2^53)
};
/// Up to `most` elements of the box, its corners first; all of them if they are no more.
Elements evaluate_elements(const ir::Program& program, const ir::Bindings& bindings, ir::ValueId value,
                           const bounds::Box& box, int most);

}  // namespace attnc::testing
