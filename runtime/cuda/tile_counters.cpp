// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/tile_counters.h"

#include "runtime/cuda/block_tables.h"

namespace attnc::cuda {

TileCounters::TileCounters() {
  check(driver().ctx_get_current(&context_), "reading the current context");
  check(driver().mem_alloc(&memory_, max_streams * counter_stride_words * sizeof(std::int32_t)), "allocating counters");
}

TileCounters::~TileCounters() {
  // The context may be gone, and its memory with it.
  CUcontext popped = nullptr;
  if (driver().ctx_push_current(context_) != CUDA_SUCCESS) return;
  driver().mem_free(memory_);
  driver().ctx_pop_current(&popped);
}

TileCounter TileCounters::counter_for(CUstream stream) {
  constexpr std::uintptr_t per_thread_default = 2;  // CU_STREAM_PER_THREAD
  const auto handle = reinterpret_cast<std::uintptr_t>(stream);
  CUcontext current = nullptr;
  if (handle == per_thread_default || driver().ctx_get_current(&current) != CUDA_SUCCESS || current != context_)
    return {};
  if (is_capturing(stream)) return {};
  const std::uintptr_t owner = handle + 1;
  std::size_t slot = (handle >> 4) % max_streams;
  for (std::size_t probe = 0; probe < 16; ++probe, slot = (slot + 1) % max_streams) {
    std::uintptr_t found = owners_[slot].load(std::memory_order_acquire);
    if (found == 0 && owners_[slot].compare_exchange_strong(found, owner)) found = owner;
    if (found == owner)
      return {reinterpret_cast<std::int32_t*>(memory_) + slot * counter_stride_words, &cleared_[slot]};
  }
  return {};
}

}  // namespace attnc::cuda
