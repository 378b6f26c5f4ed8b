// SPDX-License-Identifier: Apache-2.0
// Tables of minima and maxima for one call: how large they are, where they lie, and the launches that fill them.
#pragma once

#include <cstdint>

#include "compiler/cuda/params.h"
#include "compiler/ir/interpret.h"
#include "runtime/cuda/block_mask_arguments.h"
#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {

/// Device memory that the tables of a call need, in bytes; a multiple of 16. `bindings` are the call's own captures.
std::int64_t extrema_bytes(const ParamLayout& layout, const ir::Bindings& bindings);

/// Appends the tables, laid out from `memory` on (16-byte aligned), to the bindings, where the layout wants them, and
/// enqueues the launches of `kernel` that fill them. `counter`: device memory that the last of them sets to 0; may be
/// null. Returns whether anything was launched: the next launch may then overlap with it (runtime/cuda/enqueue.h).
bool enqueue_extrema(const ParamLayout& layout, ir::Bindings& bindings, CUdeviceptr memory, CUfunction kernel,
                     CUstream stream, std::int32_t* counter = nullptr);

}  // namespace attnc::cuda
