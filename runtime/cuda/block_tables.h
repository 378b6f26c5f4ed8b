// SPDX-License-Identifier: Apache-2.0
// A device's copy of a BlockMask's tables.
#pragma once

#include <memory>

#include "runtime/backend.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/launch_arguments.h"

namespace attnc::cuda {

/// The tables of `mask` in device memory, as the kernels' argument. The first call for a mask copies them
/// (synchronously, so it is refused while `stream` captures); they are kept with the mask. A context of the device must
/// be current. Throws Error(invalid_argument, out_of_memory, internal).
BlockTableArgument device_tables(const BlockMask& mask, const DeviceInfo& device, CUstream stream);

/// Whether work on the stream is being recorded into a graph.
bool is_capturing(CUstream stream);

}  // namespace attnc::cuda
