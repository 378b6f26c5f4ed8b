// SPDX-License-Identifier: Apache-2.0
// Counters for kernels whose blocks take work as they finish (ForwardArguments::tile_counter).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {

/// A counter that a launch leaves at 0, as it found it. `cleared` says whether that was seen to: whoever finds it unset
/// enqueues the clearing before the launch and sets it then. Whoever finds it set comes after that on the same stream.
struct TileCounter {
  std::int32_t* word = nullptr;
  std::atomic<bool>* cleared = nullptr;
};

/// One counter per stream: launches of a stream run one after the other, so they can share one. Allocated once; taking
/// a counter neither locks nor allocates.
class TileCounters {
 public:
  /// Allocates in the current context. Throws Error(out_of_memory, internal).
  TileCounters();
  ~TileCounters();
  TileCounters(const TileCounters&) = delete;
  TileCounters& operator=(const TileCounters&) = delete;

  /// The stream's counter; a null word where there is none to be had, and the kernel then keeps a fixed order: in
  /// another context, for a stream handle that means different streams (per-thread default), after `max_streams`
  /// streams, and under capture (two instances of a graph may run at once).
  TileCounter counter_for(CUstream stream);

 private:
  static constexpr std::size_t max_streams = 512;
  static constexpr std::size_t counter_stride_words = 32;  // a cache line each

  CUcontext context_ = nullptr;
  CUdeviceptr memory_ = 0;
  std::array<std::atomic<std::uintptr_t>, max_streams> owners_{};  // stream handle + 1; 0: free
  std::array<std::atomic<bool>, max_streams> cleared_{};
};

}  // namespace attnc::cuda
