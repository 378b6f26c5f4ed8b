// SPDX-License-Identifier: Apache-2.0
// How long the kernel cache takes: a hit in memory (ns), a hit on disk (us), a put (us). Compiling is not included.
//
//   cache_bench [DIRECTORY]     the disk rows use a fresh directory below DIRECTORY (default: the temporary directory)
//
// Each row is the median of several runs, with the fastest and the slowest.
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/cache/kernel_cache.h"

namespace {

using attnc::BuiltKernel;
using attnc::KernelCache;
using attnc::KernelCacheOptions;

constexpr int kRuns = 9;

// Prints the median time of one of `operations` done by `run`, in `unit_ns`.
void report(const char* name, const char* unit, double unit_ns, int operations, const std::function<void()>& run) {
  std::vector<double> times;
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const double ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
    times.push_back(ns / operations / unit_ns);
  }
  std::sort(times.begin(), times.end());
  std::printf("%-46s %10.1f %s   (%.1f to %.1f)\n", name, times[kRuns / 2], unit, times.front(), times.back());
}

BuiltKernel kernel_of(size_t binary_bytes) { return {std::string(binary_bytes, 'b'), std::string(20'000, 's')}; }

std::string signature_of(int i) { return "key" + std::to_string(i) + std::string(2000, 'x'); }

void bench_memory() {
  KernelCacheOptions options;
  options.memory_only = true;
  KernelCache cache(options);
  for (int i = 0; i < 300; ++i) cache.get_or_build(signature_of(i), [] { return kernel_of(1000); });
  const std::string signature = signature_of(7);
  constexpr int kHits = 200'000;
  const auto hits = [&] {
    for (int i = 0; i < kHits; ++i) {
      if (cache.get_or_build(signature, [] { return BuiltKernel{}; })->binary.empty()) std::abort();
    }
  };
  report("memory hit, 2 kB signature, 300 kernels", "ns", 1, kHits, hits);
  report("memory hit, 4 threads on one kernel, each", "ns", 1, 4 * kHits, [&] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) threads.emplace_back(hits);
    for (std::thread& thread : threads) thread.join();
  });
}

void bench_disk(const std::filesystem::path& directory) {
  int next = 0;
  for (const size_t binary_bytes : {size_t{60'000}, size_t{1'000'000}}) {
    KernelCacheOptions options;
    options.directory = (directory / std::to_string(binary_bytes)).string();
    const std::string size = std::to_string(binary_bytes / 1000) + " kB binary";
    constexpr int kPuts = 20;
    report(("put (with fsync), " + size).c_str(), "us", 1000, kPuts, [&] {
      KernelCache cache(options);
      for (int i = 0; i < kPuts; ++i) cache.get_or_build(signature_of(next++), [&] { return kernel_of(binary_bytes); });
    });
    report(("disk hit, " + size).c_str(), "us", 1000, kPuts, [&] {
      KernelCache cache(options);  // with an empty memory
      for (int i = 1; i <= kPuts; ++i) {
        cache.get_or_build(signature_of(next - i), []() -> BuiltKernel { std::abort(); });
      }
    });
  }
  KernelCacheOptions options;
  options.directory = (directory / "full").string();
  options.max_entries = 1000;
  const auto put = [&](int count) {
    KernelCache cache(options);
    for (int i = 0; i < count; ++i) cache.get_or_build(signature_of(next++), [] { return kernel_of(1000); });
  };
  put(1000);
  report("put into a full cache of 1000, evictions incl.", "us", 1000, 200, [&] { put(200); });
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path base = argc > 1 ? std::filesystem::path(argv[1]) : std::filesystem::temp_directory_path();
  std::string directory = (base / "attnc-cache-bench-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) {
    std::perror(directory.c_str());
    return 1;
  }
  bench_memory();
  bench_disk(directory);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return 0;
}
