// SPDX-License-Identifier: Apache-2.0
// Launching a loaded kernel: grids, split keys, tensor maps.
#pragma once

#include "runtime/backend.h"
#include "runtime/cuda/launch_arguments.h"
#include "runtime/cuda/loaded_kernel.h"
#include "runtime/cuda/pack.h"
#include "runtime/cuda/tile_counters.h"

namespace attnc::cuda {

/// What stands before a forward on its stream.
struct ForwardQueue {
  TileCounter counter;           ///< of tile_counter()
  bool counter_is_zero = false;  ///< by then: a launch before this one resets it
  bool overlaps = false;         ///< the launch before this one allows the next to begin (runtime/cuda/enqueue.h)
};

/// The counter by which the call's tiles are taken in turn; null where their order is fixed. `counters` may be null.
TileCounter tile_counter(const LoadedKernel& kernel, const DeviceInfo& device, const ForwardCall& call,
                         TileCounters* counters);

/// Enqueues one forward on call.stream. `args` is complete but for what splitting needs. Allocates only where the keys
/// of a problem too small for the device are split among more blocks: then stream-ordered memory for the partial
/// results, returned on the same stream (both are legal under capture).
void launch_forward(const LoadedKernel& kernel, const DeviceInfo& device, const ForwardCall& call,
                    ForwardArguments args, const ParamBytes& params, const ForwardQueue& queue);

/// Whether a call's queries are few enough for tiles of packed groups (which may be of one head).
bool suits_packed_groups(const ForwardCall& call);

/// The tiles that a call's queries make, over all heads and batches.
std::int64_t count_q_tiles(const plan::TilePlan& plan, const ForwardCall& call);

/// Into how many parts the keys are split: 1 unless the query tiles leave most of the device idle or, where groups are
/// packed, unless reading K and V by more blocks takes less time.
int choose_kv_splits(const plan::TilePlan& plan, const DeviceInfo& device, std::int64_t q_tiles, int kv_len);

}  // namespace attnc::cuda
