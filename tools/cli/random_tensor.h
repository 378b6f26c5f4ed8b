// SPDX-License-Identifier: Apache-2.0
// Made-up contents for tensors nobody has: what `attnc bench` and `attnc tune` time on.
#pragma once

#include <cstdint>
#include <vector>

#include "host_tensor.h"
#include "mod_arguments.h"

namespace attnc::cli {

/// Floats: standard normal. Integers: ascending ids along the last axis, 0 to 11, with runs of random length, as the
/// document ids of packed sequences are. bool: either, evenly. The same for the same seed. `dtype`: any.
HostTensor random_tensor(DType dtype, std::vector<std::int64_t> shape, unsigned seed);

/// The sizes of one problem.
struct Extents {
  int batch = 1, heads = 1, q_len = 1, kv_len = 1;
};
/// A shape for a declared buffer, large enough for the indices that the mods form: an axis indexed by b, h, q_idx or
/// kv_idx has that extent, one indexed by both positions q_len + kv_len.
std::vector<std::int64_t> shape_for(const BoundMods& mods, const BufferDecl& buffer, const Extents& extents);

}  // namespace attnc::cli
