// SPDX-License-Identifier: Apache-2.0
// What the machine can do at most, measured: the bounds that `attnc bench` sets its results against.
#pragma once

#include <string>

#include "dsl/types.h"
#include "runtime/cuda/device.h"
#include "timing.h"

namespace attnc::cli {

/// Rates in 10^12 operations (a multiply-add is two) and 10^9 bytes a second.
struct Roof {
  double tflops = 0;
  double copy_gbps = 0;  ///< bytes read plus bytes written; 0 if not measured
  std::string what;      ///< the loop that gave `tflops`
};

/// The tensor cores at work on random operands and nothing else: WGMMA with both operands in shared memory on sm_90a,
/// mma.sync on registers elsewhere (which understates data-center GPUs newer than Hopper). For f32, whose products the
/// kernels take as three of TF32, a third of the TF32 rate. And a copy of half a gigabyte. Compiles with NVRTC. A
/// context of the device must be current. Throws Error.
Roof measure_device_roof(const cuda::DeviceInfo& device, DType dtype, DeviceTimer& timer);

/// The source of those kernels, for a test that compiles it.
std::string roof_source(DType dtype, const plan::Target& target);

/// f32 multiply-adds on registers, in the widest vectors of this processor, on all its threads at once.
Roof measure_host_roof();

}  // namespace attnc::cli
