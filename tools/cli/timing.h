// SPDX-License-Identifier: Apache-2.0
// Timing of repeated calls, on the CPU's clock or by CUDA events.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "runtime/cuda/device.h"

namespace attnc::cli {

/// How often to run what is timed.
struct Repeats {
  int runs = 0;          ///< exactly so often, if not 0
  double time_ms = 500;  ///< else for about this long, but at least 5 and at most 1000 times
};

/// Times of single runs, in milliseconds.
class Times {
 public:
  explicit Times(std::vector<double> ms);
  double median() const { return percentile(50); }
  /// The nearest rank; 0 to 100.
  double percentile(double percent) const;
  double best() const { return sorted_ms_.front(); }
  std::size_t runs() const { return sorted_ms_.size(); }

 private:
  std::vector<double> sorted_ms_;  ///< ascending, at least one
};

/// Wall time of `call`, which returns when its work is done. Two runs are not counted.
Times time_host(const Repeats& repeats, const std::function<void()>& call);

/// The size of the device's L2 cache; 64 MiB if it does not say.
std::size_t l2_bytes(const cuda::DeviceInfo& device);

/// Times work on the default stream of a CUDA device whose context is current.
class DeviceTimer {
 public:
  /// `l2_bytes`: twice as much is overwritten before each run, so that none finds its inputs in the L2 cache.
  explicit DeviceTimer(std::size_t l2_bytes);
  ~DeviceTimer();
  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;

  /// Device time between an event before and one after what `enqueue` enqueues. Two runs are not counted.
  Times time(const Repeats& repeats, const std::function<void()>& enqueue);

 private:
  double run_ms(const std::function<void()>& enqueue);

  std::size_t flush_bytes_ = 0;
  cuda::CUdeviceptr flush_ = 0;
  cuda::CUevent start_ = nullptr, end_ = nullptr;
};

}  // namespace attnc::cli
