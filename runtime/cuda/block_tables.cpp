// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/block_tables.h"

#include <cstring>
#include <string>
#include <vector>

#include "dsl/error.h"
#include "runtime/cuda/device_mask.h"

namespace attnc::cuda {
namespace {

struct DeviceCopy {
  CUdeviceptr memory = 0;
  BlockTableArgument argument;
  int ordinal = -1;
  ~DeviceCopy() {
    if (memory != 0) driver().mem_free(memory);
  }
};

std::shared_ptr<DeviceCopy> upload(const BlockMask& mask, const DeviceInfo& device, CUstream stream) {
  if (is_capturing(stream)) {
    throw Error(ErrorCode::invalid_argument,
                "attnc: block_mask: the first forward with a block mask copies its tables to the device and cannot be "
                "captured into a graph; call forward once before the capture");
  }
  const DriverApi& api = driver();
  const BlockTables tables = BlockMaskAccess::tables(mask);
  const auto rows = static_cast<std::int64_t>(tables.batch) * tables.heads * tables.q_blocks;
  const std::int64_t counts_elems = rows;
  const std::int64_t partial_elems = rows * tables.indices_row_stride;
  const std::int64_t full_elems = rows * tables.full_indices_row_stride;
  // One allocation: counts, indices, full counts, full indices.
  std::vector<std::int32_t> host(static_cast<std::size_t>(2 * counts_elems + partial_elems + full_elems));
  std::size_t at = 0;
  const auto append = [&](const std::int32_t* data, std::int64_t elems) {
    const std::size_t offset = at;
    if (data != nullptr && elems > 0)
      std::memcpy(host.data() + at, data, static_cast<std::size_t>(elems) * sizeof(std::int32_t));
    at += static_cast<std::size_t>(elems);
    return offset;
  };
  const std::size_t counts = append(tables.kv_num_blocks, counts_elems);
  const std::size_t indices = append(tables.kv_indices, partial_elems);
  const std::size_t full_counts = append(tables.full_kv_num_blocks, counts_elems);
  const std::size_t full_indices = append(tables.full_kv_indices, full_elems);

  auto copy = std::make_shared<DeviceCopy>();
  copy->ordinal = device.ordinal;
  if (!host.empty()) {
    check(api.mem_alloc(&copy->memory, host.size() * sizeof(std::int32_t)), "allocating a block mask's tables");
    check(api.memcpy_htod_async(copy->memory, host.data(), host.size() * sizeof(std::int32_t), stream),
          "copying a block mask's tables");
    check(api.stream_synchronize(stream), "copying a block mask's tables");
  }
  const auto pointer = [&](std::size_t offset) {
    return reinterpret_cast<const std::int32_t*>(copy->memory + offset * sizeof(std::int32_t));
  };
  BlockTableArgument& argument = copy->argument;
  argument.kv_num_blocks = pointer(counts);
  argument.kv_indices = pointer(indices);
  argument.full_kv_num_blocks = pointer(full_counts);
  argument.full_kv_indices = pointer(full_indices);
  const std::int64_t head_rows = tables.q_blocks;
  const std::int64_t batch_rows = head_rows * tables.heads;
  const bool by_batch = tables.batch > 1, by_head = tables.heads > 1;
  argument.counts_batch_stride = by_batch ? batch_rows : 0;
  argument.counts_head_stride = by_head ? head_rows : 0;
  argument.indices_row_stride = tables.indices_row_stride;
  argument.indices_batch_stride = argument.counts_batch_stride * tables.indices_row_stride;
  argument.indices_head_stride = argument.counts_head_stride * tables.indices_row_stride;
  argument.full_indices_row_stride = tables.full_indices_row_stride;
  argument.full_indices_batch_stride = argument.counts_batch_stride * tables.full_indices_row_stride;
  argument.full_indices_head_stride = argument.counts_head_stride * tables.full_indices_row_stride;
  argument.q_block = tables.block_size.q;
  argument.kv_block = tables.block_size.kv;
  return copy;
}

}  // namespace

bool is_capturing(CUstream stream) {
  int status = CU_STREAM_CAPTURE_STATUS_NONE;
  // The legacy stream answers with an error while another stream captures in global mode; it is then not usable either.
  return driver().stream_is_capturing(stream, &status) != CUDA_SUCCESS || status != CU_STREAM_CAPTURE_STATUS_NONE;
}

BlockTableArgument device_tables(const BlockMask& mask, const DeviceInfo& device, CUstream stream) {
  // validate_forward has compared the devices.
  if (const DeviceMask* built = BlockMaskAccess::built_on_device(mask)) return built->argument();
  const auto held =
      BlockMaskAccess::device_copy(mask, [&]() -> std::shared_ptr<void> { return upload(mask, device, stream); });
  const auto copy = std::static_pointer_cast<DeviceCopy>(held);
  if (copy->ordinal != device.ordinal) {
    throw Error(ErrorCode::invalid_argument,
                "attnc: block_mask: its tables are on cuda:" + std::to_string(copy->ordinal) +
                    "; this Attention runs on cuda:" + std::to_string(device.ordinal) + ". Build a mask per device");
  }
  return copy->argument;
}

}  // namespace attnc::cuda
