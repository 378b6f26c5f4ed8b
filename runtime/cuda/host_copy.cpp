// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/host_copy.h"

#include "runtime/cuda/device.h"

namespace attnc::cuda {
namespace {

/// Bytes from the element at the lowest address to the end of the one at the highest.
struct Span {
  std::int64_t first = 0;  ///< relative to the data pointer
  std::int64_t bytes = 0;
};

Span span_of(const ir::BoundBuffer& buffer) {
  const auto element = static_cast<std::int64_t>(size_bytes(buffer.dtype));
  std::int64_t low = 0, high = element;
  for (std::size_t d = 0; d < buffer.shape.size(); ++d) {
    if (buffer.shape[d] == 0) return {};
    const std::int64_t reach = (buffer.shape[d] - 1) * buffer.stride_elems[d] * element;
    (reach < 0 ? low : high) += reach;
  }
  return {low, high - low};
}

bool is_device_memory(const void* pointer) {
  int memory_type = 0;
  const CUresult result = driver().pointer_get_attribute(&memory_type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                                         reinterpret_cast<CUdeviceptr>(pointer));
  return result == CUDA_SUCCESS && memory_type == CU_MEMORYTYPE_DEVICE;
}

}  // namespace

std::vector<std::vector<std::byte>> copy_buffers_to_host(ir::Bindings& bindings, Device device, void* stream) {
  const DeviceInfo info = device_info(device.index);
  const ContextScope context(info);
  const auto queue = static_cast<CUstream>(stream);
  std::vector<std::vector<std::byte>> copies;
  copies.reserve(bindings.buffers.size());
  for (ir::BoundBuffer& buffer : bindings.buffers) {
    const Span span = span_of(buffer);
    if (span.bytes == 0 || !is_device_memory(buffer.data)) continue;
    copies.emplace_back(static_cast<std::size_t>(span.bytes));
    std::byte* copy = copies.back().data();
    check(driver().memcpy_dtoh_async(copy,
                                     reinterpret_cast<CUdeviceptr>(buffer.data) + static_cast<CUdeviceptr>(span.first),
                                     copies.back().size(), queue),
          "reading a captured buffer");
    buffer.data = copy - span.first;
  }
  if (!copies.empty()) check(driver().stream_synchronize(queue), "reading captured buffers");
  return copies;
}

}  // namespace attnc::cuda
