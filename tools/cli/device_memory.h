// SPDX-License-Identifier: Apache-2.0
// Tensors on a CUDA device, for `attnc run`.
#pragma once

#include <deque>

#include "host_tensor.h"
#include "runtime/cuda/driver_api.h"

namespace attnc::cli {

/// Makes the device's primary context current on this thread, for as long as it lives, and owns memory there. All work
/// is on the default stream. Throws Error(no_device, out_of_memory).
class CudaMemory {
 public:
  explicit CudaMemory(int index);
  ~CudaMemory();
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  /// A device tensor of the same shape; contents copied if `copy`.
  TensorView place(const HostTensor& tensor, bool copy);
  /// Waits for all work and copies back.
  void fetch(const TensorView& from, HostTensor& to);
  void synchronize();

 private:
  const cuda::DriverApi& driver_;
  cuda::CUdevice device_ = 0;
  std::deque<cuda::CUdeviceptr> owned_;
};

}  // namespace attnc::cli
