// SPDX-License-Identifier: Apache-2.0
// Device memory that launches on a stream use one after the other.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {

/// One piece of memory per stream, as large as the largest use so far: after the first call of a size nothing is
/// allocated. Thread-safe.
class StreamScratch {
 public:
  StreamScratch() = default;
  ~StreamScratch();
  StreamScratch(const StreamScratch&) = delete;
  StreamScratch& operator=(const StreamScratch&) = delete;

  /// Memory for what is enqueued on the stream while the lease lives; other leases wait for its end, since their
  /// launches would come in between. Under capture, and for the per-thread default stream, whose handle stands for many
  /// streams, the memory is allocated and freed in stream order: a graph then owns its own, and two instances of it may
  /// run at once.
  class Lease {
   public:
    Lease(StreamScratch& scratch, CUstream stream, std::int64_t bytes);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    CUdeviceptr get() const { return pointer_; }

   private:
    std::unique_lock<std::mutex> lock_;
    CUstream stream_;
    CUdeviceptr pointer_ = 0;
    bool passing_ = false;  ///< freed with the lease
  };

 private:
  struct Piece {
    CUdeviceptr pointer = 0;
    std::int64_t bytes = 0;
  };
  std::mutex mutex_;
  std::map<std::pair<CUcontext, CUstream>, Piece> pieces_;
};

}  // namespace attnc::cuda
