// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/stream_scratch.h"

#include "runtime/cuda/block_tables.h"

namespace attnc::cuda {
namespace {

constexpr const char* what = "allocating room for extremes of captured buffers";

bool is_per_thread_default(CUstream stream) {
  return reinterpret_cast<std::uintptr_t>(stream) == 2;  // CU_STREAM_PER_THREAD
}

}  // namespace

StreamScratch::Lease::Lease(StreamScratch& scratch, CUstream stream, std::int64_t bytes) : stream_(stream) {
  if (is_per_thread_default(stream) || is_capturing(stream)) {
    check(driver().mem_alloc_async(&pointer_, static_cast<std::size_t>(bytes), stream), what);
    passing_ = true;
    return;
  }
  CUcontext context = nullptr;
  check(driver().ctx_get_current(&context), "reading the current context");
  lock_ = std::unique_lock(scratch.mutex_);
  Piece& piece = scratch.pieces_[{context, stream}];
  if (piece.bytes < bytes) {
    if (piece.pointer != 0) check(driver().mem_free_async(piece.pointer, stream), what);
    piece = {};
    check(driver().mem_alloc_async(&piece.pointer, static_cast<std::size_t>(bytes), stream), what);
    piece.bytes = bytes;
  }
  pointer_ = piece.pointer;
}

StreamScratch::Lease::~Lease() {
  if (passing_) driver().mem_free_async(pointer_, stream_);
}

StreamScratch::~StreamScratch() {
  for (const auto& [place, piece] : pieces_) {
    // The context may be gone, and its memory with it.
    CUcontext popped = nullptr;
    if (piece.pointer == 0 || driver().ctx_push_current(place.first) != CUDA_SUCCESS) continue;
    driver().mem_free(piece.pointer);
    driver().ctx_pop_current(&popped);
  }
}

}  // namespace attnc::cuda
