// SPDX-License-Identifier: Apache-2.0
// A parallel loop on the host: oneTBB's current arena where there is one in the build, plain threads elsewhere.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#ifdef ATTNC_CPU
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include "runtime/fork_join.h"
#endif

namespace attnc {

/// body(i) for every i in [0, count), in any order, from several threads. Rethrows the first exception.
template <class Body>
void parallel_for(std::int64_t count, const Body& body) {
#ifdef ATTNC_CPU
  ForkJoin loop;
  tbb::parallel_for(tbb::blocked_range<std::int64_t>(0, count, 1), [&](const tbb::blocked_range<std::int64_t>& range) {
    const ForkJoin::Piece piece(loop);
    for (std::int64_t i = range.begin(); i < range.end(); ++i) body(i);
  });
  loop.join();
#else
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  auto work = [&] {
    for (std::int64_t i = next++; i < count; i = next++) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  const auto threads = std::min<std::int64_t>(count, std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> pool;
  for (std::int64_t t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
#endif
}

}  // namespace attnc
