// SPDX-License-Identifier: Apache-2.0
// What the files of mask_bench share: times with their spread, bars with their verdicts, documents.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
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

/// Figures with the limits they are held against: each is printed as it comes, and all are counted.
class Bars {
 public:
  void at_most(const std::string& what, double value, double limit, std::string_view unit) {
    const bool met = value <= limit;
    ++count_;
    missed_ += !met;
    attnc::print(stdout, "bar: {}: {:.4g} {}, at most {:.4g}: {}\n", what, value, unit, limit, met ? "met" : "MISSED");
    std::fflush(stdout);
  }
  void summary() const { attnc::print(stdout, "{} of {} bars met\n", count_ - missed_, count_); }

 private:
  int count_ = 0, missed_ = 0;
};

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

/// Document numbers of `tokens` tokens, documents of mean_length / 2 to 3 / 2 mean_length; mean_length is at least 2.
inline std::vector<std::int32_t> documents(int tokens, int mean_length, unsigned seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<std::int32_t> doc(static_cast<std::size_t>(tokens));
  std::int32_t id = 0;
  for (std::size_t at = 0; at < doc.size(); ++id) {
    const std::size_t length =
        static_cast<std::size_t>(mean_length) / 2 + random() % static_cast<std::uint64_t>(mean_length);
    for (std::size_t end = std::min(at + length, doc.size()); at < end; ++at) doc[at] = id;
  }
  return doc;
}

/// Such documents on the device, as the captured buffer "doc".
struct Documents {
  DeviceBytes memory;
  BufferValue value;

  Documents(int tokens, int mean_length, unsigned seed = 1) : memory(static_cast<std::size_t>(tokens) * 4) {
    const std::vector<std::int32_t> doc = documents(tokens, mean_length, seed);
    memory.write(doc.data(), doc.size() * 4);
    value = {"doc", TensorView(static_cast<const void*>(memory.data()), DType::i32, {tokens})};
  }
};

/// Attention over tables and without any: times beside each other, of the rows whose text holds `only`
/// (mask_bench_attention.cpp).
void time_attention(const Stream& stream, Bars& bars, std::string_view only);
/// Elements of partial blocks evaluated and read as bits, for masks cheap and dear (mask_bench_attention.cpp).
void time_element_bits(const Stream& stream, Bars& bars);

}  // namespace attnc::testing
