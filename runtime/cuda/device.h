// SPDX-License-Identifier: Apache-2.0
// A CUDA device, and the context that work runs in.
#pragma once

#include <string>

#include "compiler/plan/target.h"
#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {

struct DeviceInfo {
  int ordinal = 0;
  CUdevice handle = 0;
  std::string name;
  plan::Target target;  ///< with the shared memory this very device offers
  int multiprocessors = 0;
  bool reads_pageable_memory = false;  ///< ordinary host memory is accessible to kernels
};

/// Throws Error(no_device) without a driver or for an ordinal that does not exist, Error(unsupported) for a device that
/// is too old.
DeviceInfo device_info(int ordinal);

/// While it lives, a context of the device is current on this thread: the caller's own if it is one of that device,
/// else the device's primary context, which is then retained for the life of the process (as the CUDA runtime does).
class ContextScope {
 public:
  explicit ContextScope(const DeviceInfo& device);
  ~ContextScope();
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  bool pushed_ = false;
};

}  // namespace attnc::cuda
