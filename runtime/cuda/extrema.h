// SPDX-License-Identifier: Apache-2.0
// Tables of minima and maxima for one call: how large they are, where they lie, and the launches that fill them.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/cuda/extrema.h"
#include "compiler/ir/interpret.h"
#include "runtime/cuda/block_mask_arguments.h"
#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {

/// Device memory that the tables of a call need, in bytes; a multiple of 16. `bindings` are the call's own captures.
std::int64_t extrema_bytes(const std::vector<ExtremaTables>& tables, const ir::Bindings& bindings, int granule);

/// Appends the tables, laid out from `memory` on (16-byte aligned), to the bindings, in the order that
/// compiler/cuda/extrema.h numbers them, and enqueues the launches of `kernel` that fill them.
void enqueue_extrema(const std::vector<ExtremaTables>& tables, ir::Bindings& bindings, int granule, CUdeviceptr memory,
                     CUfunction kernel, CUstream stream);

}  // namespace attnc::cuda
