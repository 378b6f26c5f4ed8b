// SPDX-License-Identifier: Apache-2.0
// Device memory of block masks.
#pragma once

#include <cstdint>

#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {

/// A piece of a memory pool of attnc's own, one per device, that keeps up to `kept_bytes` of what is released for the
/// next mask: a mask made anew for each batch maps no memory. (The device's default pool hands everything back at each
/// synchronisation, and its settings are the application's.) Movable in place only by allocate(); not thread-safe.
class MaskMemory {
 public:
  static constexpr std::uint64_t kept_bytes = std::uint64_t{64} << 20;

  MaskMemory() = default;
  ~MaskMemory() { release(); }
  MaskMemory(const MaskMemory&) = delete;
  MaskMemory& operator=(const MaskMemory&) = delete;

  /// Releases what it holds; the memory may be used by work enqueued on `stream` from here on. The device's context
  /// must be current. Throws Error(out_of_memory, internal).
  void allocate(std::int64_t bytes, CUdevice device, int ordinal, CUstream stream);
  CUdeviceptr get() const { return pointer_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  /// By the ordinary call, which waits for whatever still reads the memory: the stream may be gone by then.
  void release();

  CUdeviceptr pointer_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace attnc::cuda
