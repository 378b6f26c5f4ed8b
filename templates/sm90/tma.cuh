// SPDX-License-Identifier: Apache-2.0
// The bulk tensor copy engine: global memory to shared memory, four-dimensional, swizzled over 128 bytes.
#pragma once

#include "sm90/barriers.cuh"

namespace attnc::sm90 {

// Stands in for CUtensorMap: the same 128 opaque bytes at the same alignment.
struct alignas(64) TensorMap {
  uint64 opaque[16];
};

// What the host encodes for one launch; README.md lists dimensions, boxes and strides.
struct TensorMaps {
  TensorMap q;
  TensorMap k;
  TensorMap v;
};

// A box of 64 columns is one row of the 128-byte swizzle for 16-bit elements.
inline constexpr int chunk_columns = 64;
inline constexpr int chunk_row_bytes = 128;

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int chunks_of(int columns) { return ceil_div(columns, chunk_columns); }
constexpr int tile_bytes(int rows, int columns) { return chunks_of(columns) * rows * chunk_row_bytes; }

__device__ __forceinline__ void prefetch_map(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// One box: columns [column, column + 64), rows [row, row + box rows) of (batch, head). What lies outside the tensor
// arrives as zeros and counts towards the barrier's bytes all the same.
__device__ __forceinline__ void load_box(const TensorMap* map, uint64* barrier, uint32 destination, int column, int row,
                                         int head, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(destination),
      "l"(map), "r"(shared_address(barrier)), "r"(column), "r"(row), "r"(head), "r"(batch)
      : "memory");
}

// A tile of `rows` rows as chunks of 64 columns, chunk after chunk.
template <int rows, int columns>
__device__ __forceinline__ void load_tile(const TensorMap* map, uint64* barrier, uint32 destination, int row, int head,
                                          int batch) {
#pragma unroll
  for (int chunk = 0; chunk < chunks_of(columns); ++chunk) {
    load_box(map, barrier, destination + chunk * rows * chunk_row_bytes, chunk * chunk_columns, row, head, batch);
  }
}

// `bytes` (a multiple of 16) from global to shared memory, as they are.
__device__ __forceinline__ void load_bytes(const uint8* source, uint64* barrier, uint32 destination, uint32 bytes) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %3, [%2];" ::"r"(destination),
      "l"(source), "r"(shared_address(barrier)), "r"(bytes)
      : "memory");
}

}  // namespace attnc::sm90
