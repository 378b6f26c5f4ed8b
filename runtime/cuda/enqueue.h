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

/// Enqueues `function`. `overlaps`: it may start while the kernel launched before it on the stream still runs, and
/// waits for that one itself; only where can_overlap_launches(), and only after a kernel that was launched in the
/// ordinary way or that waits likewise. Throws Error(internal) naming `what`.
void enqueue_kernel(CUfunction function, const LaunchShape& shape, bool overlaps, CUstream stream, void** arguments,
                    std::string_view what);

}  // namespace attnc::cuda
