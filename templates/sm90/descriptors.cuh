// SPDX-License-Identifier: Apache-2.0
// Shared-memory matrix descriptors of WGMMA for tiles that load_tile (tma.cuh) wrote: chunks of 64 columns, each chunk
// `rows` rows of 128 bytes, swizzled over 128 bytes. Addresses and offsets are in units of 16 bytes.
//
// Fields (PTX ISA, "Matrix descriptor"): address bits 0-13, leading offset 16-29, stride offset 32-45, swizzle 62-63.
#pragma once

#include "sm90/tma.cuh"

namespace attnc::sm90 {

// Eight rows of 128 bytes: the step between the swizzle's row groups.
inline constexpr uint32 row_group_step = 8 * chunk_row_bytes / 16;
inline constexpr uint32 descriptor_high = row_group_step | (1u << 30);

struct MatrixDescriptor {
  uint32 low;

  // That of slot `slot` of a ring whose first slot this is.
  template <int slot_bytes>
  __device__ __forceinline__ MatrixDescriptor slot(int slot) const {
    return {low + static_cast<uint32>(slot) * (slot_bytes / 16)};
  }

  __device__ __forceinline__ uint64 at(uint32 offset) const {
    return (static_cast<uint64>(descriptor_high) << 32) | (low + offset);
  }
};

// Operand whose reduction dimension is the contiguous one: Q and K, reduced over head_dim.
__device__ __forceinline__ MatrixDescriptor k_major_descriptor(uint32 address) { return {(address >> 4) + (1u << 16)}; }

// The same eight rows of 16 columns over and over: no step between row groups.
__device__ __forceinline__ uint64 repeated_rows_descriptor(uint32 address) {
  return (static_cast<uint64>(1u << 30) << 32) | k_major_descriptor(address).low;
}

// The 16 columns of reduction step `step`.
template <int rows>
__device__ __forceinline__ constexpr uint32 k_major_step(int step) {
  return (step / 4) * (rows * chunk_row_bytes / 16) + (step % 4) * 2;
}

// Operand whose reduction dimension strides: V, reduced over keys, contiguous over head_dim. The leading offset steps
// from one chunk of 64 columns to the next.
template <int rows>
__device__ __forceinline__ MatrixDescriptor mn_major_descriptor(uint32 address) {
  return {(address >> 4) + (static_cast<uint32>(rows * chunk_row_bytes / 16) << 16)};
}

// The 16 rows of reduction step `step`.
__device__ __forceinline__ constexpr uint32 mn_major_step(int step) { return step * (16 * chunk_row_bytes / 16); }

}  // namespace attnc::sm90
