// SPDX-License-Identifier: Apache-2.0
#include "timing.h"

#include <algorithm>
#include <cmath>

#include "progress.h"

namespace attnc::cli {
namespace {

using cuda::check;
using cuda::driver;

constexpr int uncounted_runs = 2;
constexpr std::size_t least_runs = 5, most_runs = 1000;

/// `run_ms`: one run's time.
Times repeat(const Repeats& repeats, const std::function<double()>& run_ms) {
  for (int i = 0; i < uncounted_runs; ++i) run_ms();
  std::vector<double> ms;
  const Stopwatch watch;
  const auto enough = [&] {
    if (repeats.runs > 0) return ms.size() >= static_cast<std::size_t>(repeats.runs);
    return ms.size() >= least_runs && (watch.ms() >= repeats.time_ms || ms.size() >= most_runs);
  };
  while (!enough()) ms.push_back(run_ms());
  return Times(std::move(ms));
}

}  // namespace

Times::Times(std::vector<double> ms) : sorted_ms_(std::move(ms)) { std::sort(sorted_ms_.begin(), sorted_ms_.end()); }

double Times::percentile(double percent) const {
  const auto last = static_cast<double>(sorted_ms_.size() - 1);
  return sorted_ms_[static_cast<std::size_t>(std::lround(percent / 100 * last))];
}

Times time_host(const Repeats& repeats, const std::function<void()>& call) {
  return repeat(repeats, [&] {
    const Stopwatch watch;
    call();
    return watch.ms();
  });
}

std::size_t l2_bytes(const cuda::DeviceInfo& device) {
  constexpr int CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38;
  int bytes = 0;
  const bool known =
      driver().device_get_attribute(&bytes, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, device.handle) == cuda::CUDA_SUCCESS;
  return known && bytes > 0 ? static_cast<std::size_t>(bytes) : std::size_t{64} << 20;
}

DeviceTimer::DeviceTimer(std::size_t l2_bytes) : flush_bytes_(2 * l2_bytes) {
  check(driver().mem_alloc(&flush_, flush_bytes_), "allocating what flushes the L2 cache");
  check(driver().event_create(&start_, 0), "creating an event");
  check(driver().event_create(&end_, 0), "creating an event");
}

DeviceTimer::~DeviceTimer() {
  driver().event_destroy(start_);
  driver().event_destroy(end_);
  driver().mem_free(flush_);
}

double DeviceTimer::run_ms(const std::function<void()>& enqueue) {
  // While the device is busy with this, the host enqueues what follows: its own time is not in the result.
  check(driver().memset_d32_async(flush_, 0, flush_bytes_ / 4, nullptr), "flushing the L2 cache");
  check(driver().event_record(start_, nullptr), "recording an event");
  enqueue();
  check(driver().event_record(end_, nullptr), "recording an event");
  check(driver().event_synchronize(end_), "waiting for what is timed");
  float ms = 0;
  check(driver().event_elapsed_time(&ms, start_, end_), "reading a time");
  return static_cast<double>(ms);
}

Times DeviceTimer::time(const Repeats& repeats, const std::function<void()>& enqueue) {
  return repeat(repeats, [&] { return run_ms(enqueue); });
}

}  // namespace attnc::cli
