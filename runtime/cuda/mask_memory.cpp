// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/mask_memory.h"

#include <array>

#include "dsl/once.h"

namespace attnc::cuda {
namespace {

/// The pool of a device; null where the driver has none to give. Made on first use and kept for the life of the
/// process, as the device's primary context is.
CUmemoryPool pool_of(CUdevice device, int ordinal) {
  static constexpr int max_devices = 64;
  struct Slot {
    Once once;
    CUmemoryPool pool = nullptr;
  };
  static std::array<Slot, max_devices> slots;
  if (ordinal < 0 || ordinal >= max_devices) return nullptr;
  Slot& slot = slots[static_cast<std::size_t>(ordinal)];
  slot.once.run([&] {
    CUmemPoolProps props;
    props.location_id = device;
    CUmemoryPool pool = nullptr;
    if (driver().mem_pool_create(&pool, &props) != CUDA_SUCCESS) return;
    std::uint64_t kept_bytes = MaskMemory::kept_bytes;
    driver().mem_pool_set_attribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &kept_bytes);
    slot.pool = pool;
  });
  return slot.pool;
}

}  // namespace

void MaskMemory::allocate(std::int64_t bytes, CUdevice device, int ordinal, CUstream stream) {
  release();
  const auto size = static_cast<std::size_t>(bytes);
  const CUmemoryPool pool = pool_of(device, ordinal);
  check(pool != nullptr ? driver().mem_alloc_from_pool_async(&pointer_, size, pool, stream)
                        : driver().mem_alloc_async(&pointer_, size, stream),
        "allocating a block mask");
  bytes_ = bytes;
}

void MaskMemory::release() {
  if (pointer_ != 0) driver().mem_free(pointer_);
  pointer_ = 0;
  bytes_ = 0;
}

}  // namespace attnc::cuda
