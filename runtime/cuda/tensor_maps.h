// SPDX-License-Identifier: Apache-2.0
// Descriptions of q, k and v for Hopper's bulk tensor copy engine.
#pragma once

#include "compiler/plan/tile_plan.h"
#include "runtime/backend.h"
#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {

/// The same as attnc::sm90::TensorMaps in templates/sm90/tma.cuh.
struct TensorMaps {
  CUtensorMap q, k, v;
};

/// Whether the engine takes these views: 16-byte aligned rows, positive strides under 2^40 bytes, and extents of at
/// least one. Others run on the portable kernel.
bool can_encode_tensor_maps(const ForwardCall& call);

/// Maps of [batch, heads, rows, columns] with boxes of 64 columns by the plan's rows, swizzled over 128 bytes. Recent
/// maps are remembered per thread, since encoding one takes about a microsecond.
TensorMaps encode_tensor_maps(const plan::TilePlan& plan, const ForwardCall& call);

}  // namespace attnc::cuda
