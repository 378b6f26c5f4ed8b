// SPDX-License-Identifier: Apache-2.0
// Launching a loaded kernel: grids, split keys, tensor maps.
#pragma once

#include "runtime/backend.h"
#include "runtime/cuda/launch_arguments.h"
#include "runtime/cuda/loaded_kernel.h"
#include "runtime/cuda/pack.h"
#include "runtime/cuda/tile_counters.h"

namespace attnc::cuda {

/// Enqueues one forward on call.stream. `args` is complete but for what splitting needs. Allocates only where the keys
/// of a problem too small for the device are split among more blocks: then stream-ordered memory for the partial
/// results, returned on the same stream (both are legal under capture). `counters` may be null.
void launch_forward(const LoadedKernel& kernel, const DeviceInfo& device, const ForwardCall& call,
                    ForwardArguments args, const ParamBytes& params, TileCounters* counters);

/// Into how many parts the keys are split: 1 unless the query tiles leave most of the device idle.
int choose_kv_splits(const plan::TilePlan& plan, int multiprocessors, std::int64_t q_tiles_total, int kv_len);

}  // namespace attnc::cuda
