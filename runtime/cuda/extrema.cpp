// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/extrema.h"

#include <algorithm>

#include "compiler/bounds/bounds.h"
#include "dsl/error.h"
#include "runtime/cuda/enqueue.h"

namespace attnc::cuda {
namespace {

constexpr int levels = bounds::ClassifierProgram::levels;

std::int64_t runs_of(const ir::BoundBuffer& source, int dimension, int granule) {
  return (source.shape[static_cast<std::size_t>(dimension)] + granule - 1) / granule;
}

/// Element of templates/block_mask/extrema.cuh.
std::int32_t element_code(DType dtype) {
  switch (dtype) {
    case DType::i32:
      return 0;
    case DType::i64:
      return 1;
    case DType::i8:
      return 2;
    case DType::u8:
      return 3;
    default:
      return 4;
  }
}

DType table_dtype(DType source) {
  return source == DType::i64 ? DType::i64 : source == DType::boolean ? DType::boolean : DType::i32;
}

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= extent;
  return elements;
}

/// The shape of one table, contiguous, without memory.
ir::BoundBuffer table_of(const ExtremaTables& table, const ir::BoundBuffer& source, int granule) {
  ir::BoundBuffer result = source;
  result.data = nullptr;
  result.dtype = table_dtype(source.dtype);
  result.shape[static_cast<std::size_t>(table.dimension)] = levels * runs_of(source, table.dimension, granule);
  std::int64_t stride = 1;
  for (std::size_t d = result.shape.size(); d-- > 0;) {
    result.stride_elems[d] = stride;
    stride *= result.shape[d];
  }
  return result;
}

std::int64_t bytes_of(const ir::BoundBuffer& table) {
  const std::int64_t bytes = elements_of(table.shape) * static_cast<std::int64_t>(size_bytes(table.dtype));
  return (bytes + 15) / 16 * 16;
}

ExtremaArguments arguments_of(const ExtremaTables& table, const ir::BoundBuffer& source, int granule) {
  ExtremaArguments args;
  args.source = source.data;
  args.element = element_code(source.dtype);
  args.granule = granule;
  args.levels = levels;
  args.runs = static_cast<std::int32_t>(runs_of(source, table.dimension, granule));
  int outer = 0;
  for (int d = 0; d < static_cast<int>(source.shape.size()); ++d) {
    const auto at = static_cast<std::size_t>(d);
    if (d == table.dimension) {
      args.stride_elems = source.stride_elems[at];
      args.extent = source.shape[at];
      continue;
    }
    // The device takes indices apart from the last dimension on.
    args.outer_stride_elems[outer] = source.stride_elems[at];
    args.outer_extent[outer] = source.shape[at];
    ++outer;
    args.outer *= source.shape[at];
    if (d > table.dimension) args.inner *= source.shape[at];
  }
  return args;
}

}  // namespace

std::int64_t extrema_bytes(const ParamLayout& layout, const ir::Bindings& bindings) {
  std::int64_t bytes = 0;
  for (const ExtremaTables& table : layout.extrema) {
    const ir::BoundBuffer& source = bindings.buffers[static_cast<std::size_t>(table.source_slot)];
    bytes += bytes_of(table_of(table, source, layout.extrema_granule)) *
             ((table.minimum_slot >= 0) + (table.maximum_slot >= 0));
  }
  return bytes;
}

bool enqueue_extrema(const ParamLayout& layout, ir::Bindings& bindings, CUdeviceptr memory, CUfunction kernel,
                     CUstream stream, std::int32_t* counter) {
  const int granule = layout.extrema_granule;
  bool launched = false;
  bindings.buffers.resize(layout.buffers.size());
  for (const ExtremaTables& table : layout.extrema) {
    const ir::BoundBuffer source = bindings.buffers[static_cast<std::size_t>(table.source_slot)];
    ir::BoundBuffer shape = table_of(table, source, granule);
    ExtremaArguments args = arguments_of(table, source, granule);
    args.counter = counter;
    const auto place = [&](int slot) -> void* {
      if (slot < 0) return nullptr;
      shape.data = reinterpret_cast<void*>(memory);
      memory += static_cast<CUdeviceptr>(bytes_of(shape));
      bindings.buffers[static_cast<std::size_t>(slot)] = shape;
      return const_cast<void*>(shape.data);
    };
    args.minima = place(table.minimum_slot);
    args.maxima = place(table.maximum_slot);
    if (args.runs == 0 || args.outer == 0) continue;
    LaunchShape launch;
    launch.grid_x = (args.runs + extrema_runs_per_block - 1) / extrema_runs_per_block;
    launch.grid_y = static_cast<int>(std::min<std::int64_t>(args.outer, 65535));
    launch.threads = extrema_threads;
    void* arguments[] = {&args};
    enqueue_kernel(kernel, launch, false, stream, arguments, "summarising a captured buffer");
    launched = true;
  }
  return launched;
}

}  // namespace attnc::cuda
