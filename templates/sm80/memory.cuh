// SPDX-License-Identifier: Apache-2.0
// Moving tiles of rows from global to shared memory, asynchronously, for any alignment of the rows.
#pragma once

#include "arguments.cuh"
#include "sm80/mma.cuh"

namespace attnc {
namespace sm80 {

__forceinline__ uint32 shared_address(const void* pointer) {
  return static_cast<uint32>(__cvta_generic_to_shared(pointer));
}

// The CTA's dynamic shared memory. Named rather than passed along: its address is a constant and takes no register.
__forceinline__ uint8* shared_memory() {
  extern __shared__ __align__(128) uint8 attnc_shared_memory[];
  return attnc_shared_memory;
}

// Copies `valid_bytes` of [source, source + 16) to shared memory and zeros the rest of the 16 bytes. Nothing outside
// the valid bytes is read. Asynchronous for vector_bytes >= 4.
template <int vector_bytes>
__forceinline__ void copy_chunk(uint32 smem_address, const uint8* source, int valid_bytes) {
  if constexpr (vector_bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_address), "l"(source), "r"(valid_bytes)
                 : "memory");
  } else if constexpr (vector_bytes >= 4) {
#pragma unroll
    for (int byte = 0; byte < 16; byte += vector_bytes) {
      const int valid = min(max(valid_bytes - byte, 0), vector_bytes);
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(smem_address + byte), "l"(source + byte),
                   "n"(vector_bytes), "r"(valid)
                   : "memory");
    }
  } else {
    uint32 words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint16* halves = reinterpret_cast<const uint16*>(source) + 2 * i;
      const uint32 low = 4 * i < valid_bytes ? halves[0] : 0;
      const uint32 high = 4 * i + 2 < valid_bytes ? halves[1] : 0;
      words[i] = low | high << 16;
    }
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(smem_address), "r"(words[0]), "r"(words[1]),
                 "r"(words[2]), "r"(words[3])
                 : "memory");
  }
}

// The same for 16 valid bytes, or nothing at all.
__forceinline__ void copy_chunk_if(bool wanted, uint32 smem_address, const uint8* source) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.s32 p, %2, 0;\n@p cp.async.cg.shared.global [%0], [%1], 16;\n}" ::"r"(smem_address),
      "l"(source), "r"(static_cast<int>(wanted))
      : "memory");
}

__forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `pending` of the groups committed by this thread are under way.
template <int pending = 0>
__forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Starts copying rows [first_row, first_row + tile_rows) of a matrix of `row_count` rows to shared memory. Rows past
// the end and columns past `head_dim` become zero: what is there in memory never reaches a product. `whole`: all rows
// are there, which leaves nothing to check for a chunk but its address; otherwise this is looked at.
template <class Rows, int tile_rows, int head_dim, int element_bytes, int threads, int vector_bytes, bool checks = true>
__forceinline__ void load_rows(uint32 tile_address, const uint8* matrix, int64 row_stride_elems, int first_row,
                               int row_count) {
  constexpr int chunks = Rows::chunks;
  constexpr int row_data_bytes = head_dim * element_bytes;
  // Every thread keeps its chunk and walks down the rows; threads left over by the division stay idle.
  static_assert(chunks <= threads, "a row has more chunks than the CTA has threads");
  constexpr int row_step = threads / chunks;
  const int thread = thread_index();
  const int chunk = thread % chunks;
  int row = thread / chunks;
  if (threads % chunks != 0 && row >= row_step) return;
  const int64 row_stride_bytes = row_stride_elems * element_bytes;
  const int64 step_bytes = row_step * row_stride_bytes;
  const uint8* source = matrix + (first_row + row) * row_stride_bytes + chunk * 16;
  const int rows_left = row_count - first_row;

  // The swizzle repeats every eight rows.
  constexpr bool fixed_pattern = !Rows::swizzled || row_step % 8 == 0;
  const int column_bytes = row_data_bytes == chunks * 16 ? 16 : min(max(row_data_bytes - chunk * 16, 0), 16);
  if (checks && fixed_pattern && rows_left >= tile_rows) {
    // The common case, with nothing to check for a chunk but its address.
    const uint32 target = tile_address + Rows::offset(row, chunk);
#pragma unroll 4
    for (int i = 0; i < tile_rows / row_step; ++i) {
      copy_chunk<vector_bytes>(target + i * row_step * Rows::row_bytes, source, column_bytes);
      source += step_bytes;
    }
    if constexpr (tile_rows % row_step != 0) {
      constexpr int last = tile_rows / row_step * row_step;
      if (row + last < tile_rows) copy_chunk<vector_bytes>(target + last * Rows::row_bytes, source, column_bytes);
    }
    return;
  }
#pragma unroll 1
  for (; row < tile_rows; row += row_step) {
    copy_chunk<vector_bytes>(tile_address + Rows::offset(row, chunk), source, row < rows_left ? column_bytes : 0);
    source += step_bytes;
  }
}

// Read from shared memory at every call rather than kept in registers.
__forceinline__ const uint8* read_volatile(const uint8* const& pointer) {
  return *const_cast<const uint8* const volatile*>(&pointer);
}

// The first element of a tensor's (batch, head) matrix.
__forceinline__ const uint8* matrix_of(const TensorArgument& t, int batch, int head, int element_bytes) {
  return static_cast<const uint8*>(t.data) +
         (batch * t.batch_stride_elems + head * t.head_stride_elems) * element_bytes;
}

}  // namespace sm80
}  // namespace attnc
