// SPDX-License-Identifier: Apache-2.0
// What the files of mask_bench share: bars with their verdicts, documents.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "dsl/format.h"
#include "tests/gpu/device_times.h"

namespace attnc::testing {

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
