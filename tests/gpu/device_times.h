// SPDX-License-Identifier: Apache-2.0
// Times on the device, as the benchmarks take them.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "dsl/format.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Times {
  double median = 0, lower = 0, upper = 0;  ///< ms: median and quartiles

  explicit Times(std::vector<double> ms) {
    std::sort(ms.begin(), ms.end());
    lower = ms[ms.size() / 4], median = ms[ms.size() / 2], upper = ms[ms.size() * 3 / 4];
  }
  std::string text() const { return attnc::format("{:.4f} [{:.4f}, {:.4f}] ms", median, lower, upper); }
};

/// Device time of each of `bodies`, in turn, each run between two events after the L2 cache was overwritten.
template <class... Bodies>
std::vector<Times> device_times(const Stream& stream, int repetitions, const Bodies&... bodies) {
  using cuda::check, cuda::driver;
  static DeviceBytes& flush = *new DeviceBytes(std::size_t{256} << 20);
  const GpuScope scope;
  cuda::CUevent start = nullptr, stop = nullptr;
  check(driver().event_create(&start, 0), "event");
  check(driver().event_create(&stop, 0), "event");
  std::vector<std::vector<double>> times(sizeof...(bodies));
  const auto once = [&](std::vector<double>& into, const auto& body) {
    check(driver().memset_d32_async(reinterpret_cast<cuda::CUdeviceptr>(flush.data()), 0, std::size_t{64} << 20,
                                    stream.get()),
          "flushing");  // long enough for the host to run ahead
    check(driver().event_record(start, stream.get()), "event");
    body();
    check(driver().event_record(stop, stream.get()), "event");
    check(driver().event_synchronize(stop), "event");
    float ms = 0;
    check(driver().event_elapsed_time(&ms, start, stop), "event");
    into.push_back(ms);
  };
  for (int i = 0; i < repetitions; ++i) {
    std::size_t at = 0;
    (once(times[at++], bodies), ...);
  }
  driver().event_destroy(start);
  driver().event_destroy(stop);
  std::vector<Times> result;
  for (auto& ms : times) result.emplace_back(std::move(ms));
  return result;
}

}  // namespace attnc::testing
