// SPDX-License-Identifier: Apache-2.0
// The multiply-add bound of the processor.
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "progress.h"
#include "roof.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace attnc::cli {
namespace {

/// Independent sums: latency times throughput of the multiply-add units, with room to spare.
constexpr int chains = 12;
constexpr int rounds = 4096;
constexpr double time_ms = 150;

/// One chunk of work. Returns something that depends on all of it, so that none can be left out.
struct Loop {
  float (*run)(float seed);
  int lanes;
  const char* name;
  double flop() const { return 2.0 * chains * rounds * lanes; }
};

float run_plain(float seed) {
  float sums[chains];
  for (int i = 0; i < chains; ++i) sums[i] = seed * static_cast<float>(i);
  for (int round = 0; round < rounds; ++round)
    for (float& sum : sums) sum = sum * 0.5f + seed;
  return std::accumulate(sums, sums + chains, 0.0f);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) float run_avx512(float seed) {
  __m512 sums[chains];
  const __m512 factor = _mm512_set1_ps(0.5f), term = _mm512_set1_ps(seed);
  for (int i = 0; i < chains; ++i) sums[i] = _mm512_set1_ps(seed * static_cast<float>(i));
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sums[i] = _mm512_fmadd_ps(sums[i], factor, term);
  }
  float total = 0;
  for (int i = 0; i < chains; ++i) total += _mm512_cvtss_f32(sums[i]);
  return total;
}

__attribute__((target("avx2,fma"))) float run_avx2(float seed) {
  __m256 sums[chains];
  const __m256 factor = _mm256_set1_ps(0.5f), term = _mm256_set1_ps(seed);
  for (int i = 0; i < chains; ++i) sums[i] = _mm256_set1_ps(seed * static_cast<float>(i));
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sums[i] = _mm256_fmadd_ps(sums[i], factor, term);
  }
  float total = 0;
  for (int i = 0; i < chains; ++i) total += _mm256_cvtss_f32(sums[i]);
  return total;
}
#elif defined(__aarch64__)
float run_neon(float seed) {
  using Vector = float __attribute__((vector_size(16)));
  Vector sums[chains];
  for (int i = 0; i < chains; ++i) sums[i] = Vector{} + seed * static_cast<float>(i);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sums[i] = sums[i] * 0.5f + seed;
  }
  float total = 0;
  for (int i = 0; i < chains; ++i) total += sums[i][0];
  return total;
}
#endif

Loop widest_loop() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {run_avx512, 16, "512-bit"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {run_avx2, 8, "256-bit"};
#elif defined(__aarch64__)
  return {run_neon, 4, "128-bit"};
#endif
  return {run_plain, 1, "scalar"};
}

}  // namespace

Roof measure_host_roof() {
  const Loop loop = widest_loop();
  const unsigned count = std::max(1u, std::thread::hardware_concurrency());
  std::atomic<unsigned> waiting{count};
  std::atomic<double> tflops{0};
  std::atomic<float> sink{0};
  const auto work = [&] {
    --waiting;
    while (waiting > 0) std::this_thread::yield();
    const Stopwatch watch;
    double chunks = 0;
    for (; watch.ms() < time_ms; ++chunks) sink.store(loop.run(1.0f + static_cast<float>(chunks)));
    const double rate = chunks * loop.flop() / watch.ms() / 1e9;
    for (double before = tflops; !tflops.compare_exchange_weak(before, before + rate);) {
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return {tflops, 0, std::string("f32 multiply-adds, ") + loop.name + ", " + std::to_string(count) + " threads"};
}

}  // namespace attnc::cli
