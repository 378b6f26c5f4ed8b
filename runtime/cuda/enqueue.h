// SPDX-License-Identifier: Apache-2.0
// One kernel launch.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/cuda/device.h"

namespace attnc::cuda {

struct LaunchShape {
  std::int64_t grid_x = 1;
  int grid_y = 1;
  int threads = 128;
  int smem_bytes = 0;
};

/// Whether launches on the device may overlap (templates/dependent_launch.cuh), into graphs too.
bool can_overlap_launches(const DeviceInfo& device);

/// Enqueues `function`. `overlaps`: it may start while the kernel launched before it on the stream still runs; only
/// where can_overlap_launches(), and only a kernel that itself waits for that one, by wait_for_previous_launch(), until
/// it reads or writes what may depend on it. Throws Error(internal) naming `what`.
void enqueue_kernel(CUfunction function, const LaunchShape& shape, bool overlaps, CUstream stream, void** arguments,
                    std::string_view what);

}  // namespace attnc::cuda
