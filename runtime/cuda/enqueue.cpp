// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/enqueue.h"

namespace attnc::cuda {

bool can_overlap_launches(const DeviceInfo& device) {
  constexpr int oldest_driver_that_records_it = 12030;
  return device.target.arch >= 90 && driver().version >= oldest_driver_that_records_it;
}

void enqueue_kernel(CUfunction function, const LaunchShape& shape, bool overlaps, CUstream stream, void** arguments,
                    std::string_view what) {
  if (!overlaps) {
    check(driver().launch_kernel(function, static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y), 1,
                                 static_cast<unsigned>(shape.threads), 1, 1, static_cast<unsigned>(shape.smem_bytes),
                                 stream, arguments, nullptr),
          what);
    return;
  }
  CUlaunchAttribute overlap;
  overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  overlap.value.enabled = 1;
  CUlaunchConfig config;
  config.grid_x = static_cast<unsigned>(shape.grid_x);
  config.grid_y = static_cast<unsigned>(shape.grid_y);
  config.block_x = static_cast<unsigned>(shape.threads);
  config.smem_bytes = static_cast<unsigned>(shape.smem_bytes);
  config.stream = stream;
  config.attributes = &overlap;
  config.attribute_count = 1;
  check(driver().launch_kernel_ex(&config, function, arguments, nullptr), what);
}

}  // namespace attnc::cuda
