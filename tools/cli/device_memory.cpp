// SPDX-License-Identifier: Apache-2.0
#include "device_memory.h"

#include "dsl/format.h"

namespace attnc::cli {

using cuda::check;

CudaMemory::CudaMemory(int index) : driver_(cuda::driver()) {
  int count = 0;
  check(driver_.device_get_count(&count), "counting devices");
  if (index >= count) {
    throw Error(ErrorCode::no_device, attnc::format("there is no CUDA device {}; this machine has {}", index, count));
  }
  check(driver_.device_get(&device_, index), "opening the device");
  cuda::CUcontext context = nullptr;
  check(driver_.primary_ctx_retain(&context, device_), "opening the device's context");
  check(driver_.ctx_push_current(context), "entering the device's context");
}

CudaMemory::~CudaMemory() {
  for (const cuda::CUdeviceptr pointer : owned_) driver_.mem_free(pointer);
  cuda::CUcontext context = nullptr;
  driver_.ctx_pop_current(&context);
  driver_.primary_ctx_release(device_);
}

TensorView CudaMemory::place(const HostTensor& tensor, bool copy) {
  cuda::CUdeviceptr pointer = 0;
  const std::size_t bytes = tensor.bytes().size();
  check(driver_.mem_alloc(&pointer, bytes == 0 ? 1 : bytes), attnc::format("allocating {} bytes", bytes));
  owned_.push_back(pointer);
  if (copy && bytes > 0) {
    check(driver_.memcpy_htod_async(pointer, tensor.bytes().data(), bytes, nullptr), "copying to the device");
    synchronize();
  }
  return tensor.view_of(reinterpret_cast<void*>(pointer));
}

void CudaMemory::fetch(const TensorView& from, HostTensor& to) {
  if (!to.bytes().empty()) {
    const auto pointer = reinterpret_cast<cuda::CUdeviceptr>(from.data);
    check(driver_.memcpy_dtoh_async(to.bytes().data(), pointer, to.bytes().size(), nullptr), "copying from the device");
  }
  synchronize();
}

void CudaMemory::synchronize() { check(driver_.stream_synchronize(nullptr), "waiting for the device"); }

}  // namespace attnc::cli
