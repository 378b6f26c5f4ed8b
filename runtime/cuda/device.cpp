// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device.h"

#include <array>
#include <atomic>

#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

/// One reference to each primary context, taken on first use and kept: releasing the last one would destroy the
/// caller's allocations with it.
CUcontext primary_context(const DeviceInfo& device) {
  static constexpr int max_devices = 64;
  static std::array<std::atomic<CUcontext>, max_devices> retained{};
  if (device.ordinal >= max_devices) {
    CUcontext context = nullptr;
    check(driver().primary_ctx_retain(&context, device.handle), "retaining the primary context");
    return context;
  }
  std::atomic<CUcontext>& slot = retained[static_cast<std::size_t>(device.ordinal)];
  CUcontext context = slot.load(std::memory_order_acquire);
  if (context != nullptr) return context;
  check(driver().primary_ctx_retain(&context, device.handle), "retaining the primary context");
  slot.store(context, std::memory_order_release);
  return context;
}

int attribute(const DriverApi& api, int which, CUdevice device) {
  int value = 0;
  check(api.device_get_attribute(&value, which, device), "reading a device attribute");
  return value;
}

}  // namespace

DeviceInfo device_info(int ordinal) {
  const DriverApi& api = driver();
  int count = 0;
  check(api.device_get_count(&count), "counting devices");
  if (ordinal < 0 || ordinal >= count) {
    throw Error(ErrorCode::no_device, attnc::format("attnc: device = cuda:{}: this machine has {} CUDA device{} (see "
                                                    "CUDA_VISIBLE_DEVICES)",
                                                    ordinal, count, count == 1 ? "" : "s"));
  }
  DeviceInfo info;
  info.ordinal = ordinal;
  check(api.device_get(&info.handle, ordinal), "opening a device");
  char name[256] = {};
  api.device_get_name(name, sizeof(name), info.handle);
  info.name = name;
  const int major = attribute(api, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, info.handle);
  const int minor = attribute(api, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, info.handle);
  if (major < 8) {
    throw Error(ErrorCode::unsupported,
                attnc::format("attnc: cuda:{} is a {} of compute capability {}.{}; 8.0 or newer is needed", ordinal,
                              info.name, major, minor));
  }
  info.target = plan::target_for_device(major, minor);
  // What the device says is right for architectures newer than this library, too.
  info.target.smem_limit_bytes = attribute(api, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, info.handle);
  info.multiprocessors = attribute(api, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, info.handle);
  info.reads_pageable_memory = attribute(api, CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS, info.handle) != 0;
  return info;
}

ContextScope::ContextScope(const DeviceInfo& device) {
  const DriverApi& api = driver();
  CUcontext current = nullptr;
  if (api.ctx_get_current(&current) == CUDA_SUCCESS && current != nullptr) {
    CUdevice handle = -1;
    if (api.ctx_get_device(&handle) == CUDA_SUCCESS && handle == device.handle) return;
  }
  check(api.ctx_push_current(primary_context(device)), "making the primary context current");
  pushed_ = true;
}

ContextScope::~ContextScope() {
  if (!pushed_) return;
  CUcontext popped = nullptr;
  driver().ctx_pop_current(&popped);
}

}  // namespace attnc::cuda
