// SPDX-License-Identifier: Apache-2.0
// Runs a Problem on a CUDA device: uploads every tensor whole, margins and all, and brings the outputs back.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/driver_api.h"
#include "tests/support/runner.h"

namespace attnc::testing {

/// Whether there is a device to test on. Tests skip, visibly, when there is none.
bool has_gpu();
#define ATTNC_REQUIRE_GPU() \
  if (!::attnc::testing::has_gpu()) GTEST_SKIP() << "no CUDA device"

/// Device memory of a test; freed with the object.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes);
  explicit DeviceBytes(const std::vector<std::byte>& host);
  ~DeviceBytes();
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  DeviceBytes(DeviceBytes&& other) noexcept : pointer_(std::exchange(other.pointer_, 0)), bytes_(other.bytes_) {}
  std::byte* data() const { return reinterpret_cast<std::byte*>(pointer_); }
  void read(void* host, std::size_t bytes, std::size_t offset = 0) const;
  void write(const void* host, std::size_t bytes, std::size_t offset = 0);

 private:
  cuda::CUdeviceptr pointer_ = 0;
  std::size_t bytes_ = 0;
};

/// Makes device 0's primary context current on this thread while it lives.
class GpuScope {
 public:
  GpuScope() : scope_(cuda::device_info(0)) {}

 private:
  cuda::ContextScope scope_;
};

class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cuda::CUstream get() const { return stream_; }
  void synchronize() const;

 private:
  cuda::CUstream stream_ = nullptr;
};

/// A problem's tensors on the device, and the options of a call on them.
class DeviceProblem {
 public:
  DeviceProblem(const Problem& problem, const ModCase& mods);
  /// Enqueues one forward.
  void forward(const Attention& attention, const BlockMask* block_mask, void* stream);
  /// Copies out and lse back into the problem they came from.
  void download(Problem& problem) const;
  /// Fills the outputs with the bytes of the problem's (NaN) again.
  void poison(const Problem& problem);

  TensorView q, k, v, out, lse;
  std::vector<BufferValue> buffers;
  std::vector<ParamValue> params;
  float scale = 1;

 private:
  TensorView upload(const GuardedTensor& tensor);
  std::vector<DeviceBytes> memory_;
  std::size_t out_index_ = 0, lse_index_ = 0;
};

class GpuRunner : public Runner {
 public:
  Device device() const override { return Device::cuda(0); }
  void forward(const Attention& attention, Problem& problem, const ModCase& mods, const BlockMask* block_mask) override;
};

/// Causal attention over q, k, v and out, of even head dimensions, whose rows start one element beside the 16-byte
/// grid: no 16-byte copy can read or write them. "" when 64 of the rows are right and nothing beside them was written.
std::string judge_off_the_grid(const ProblemSpec& spec);

/// Options of a case for the GPU that count compiles: each adds one to `*compiles`.
AttentionOptions counting_options(const ModCase& mods, const ProblemSpec& spec,
                                  std::shared_ptr<std::atomic<int>> compiles);

}  // namespace attnc::testing
