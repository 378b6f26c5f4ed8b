// SPDX-License-Identifier: Apache-2.0
// The instructions of the portable kernel as functions: tensor core products, fragment loads, conversions.
// Fragment layouts are those of the PTX manual for mma.m16n8k16 (16-bit) and mma.m16n8k8 (tf32).
#pragma once

#include "sm80/shape.cuh"

namespace attnc {
namespace sm80 {

// The thread's index, read anew at every call. What is derived from it is then recomputed for each tile, where the
// compiler would otherwise keep dozens of addresses in registers across the whole loop.
__forceinline__ int thread_index() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  __builtin_assume(index >= 0 && index < 1024);
  return index;
}

// Zero, but not to the compiler: what is computed from it stays inside the loop.
__forceinline__ int opaque_zero() {
  int zero;
  asm volatile("mov.u32 %0, 0;" : "=r"(zero));
  return zero;
}

struct Fragment4 {
  uint32 x[4];
};

// Four 8x8 matrices of 16-bit elements (or 8x4 of 32-bit ones); lane i gives the address of row i % 8 of matrix i / 8.
__forceinline__ Fragment4 load_matrices(uint32 smem_address) {
  Fragment4 f;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.x[0]), "=r"(f.x[1]), "=r"(f.x[2]), "=r"(f.x[3])
               : "r"(smem_address));
  return f;
}

__forceinline__ Fragment4 load_matrices_transposed(uint32 smem_address) {
  Fragment4 f;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.x[0]), "=r"(f.x[1]), "=r"(f.x[2]), "=r"(f.x[3])
               : "r"(smem_address));
  return f;
}

__forceinline__ uint32 load_shared_word(uint32 smem_address) {
  uint32 word;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(smem_address));
  return word;
}

__forceinline__ void store_shared_word(uint32 smem_address, uint32 word) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(smem_address), "r"(word) : "memory");
}

// d += a * b for 16-bit operands, accumulated in fp32.
template <DType dtype>
__forceinline__ void multiply_add(float (&d)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
  if constexpr (dtype == DType::bf16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else if constexpr (dtype == DType::f16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// An fp32 word as the sum of two tf32 words, exact to about 2^-22: the operands of a product in three tf32 products.
__forceinline__ void split_tf32(uint32 word, uint32& high, uint32& low) {
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(high) : "f"(__uint_as_float(word)));
  const float rest = __uint_as_float(word) - __uint_as_float(high);
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(low) : "f"(rest));
}

// Two floats rounded to 16 bits; `first` in the low half.
template <DType dtype>
__forceinline__ uint32 pack(float first, float second) {
  uint32 word;
  if constexpr (dtype == DType::bf16) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  }
  return word;
}

__forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__forceinline__ float log2_approx(float x) {
  float y;
  asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__forceinline__ float infinity() { return __int_as_float(0x7f800000); }

// Where a lane reads fragments in a tile of rows: `row` and `chunk` below are compile-time steps from the lane's own
// place, row a multiple of 8 and chunk even. Swizzled rows start at multiples of 128 bytes, so that one XOR with the
// lane's address finds the chunk.
template <class Rows>
struct LaneAddress {
  uint32 address;

  LaneAddress(uint32 tile_address, int lane_row, int lane_chunk)
      : address(tile_address + Rows::offset(lane_row, lane_chunk)) {}

  __forceinline__ uint32 at(int row, int chunk) const {
    if constexpr (Rows::swizzled) {
      return (address ^ ((chunk & 7) * 16)) + row * Rows::row_bytes + (chunk >> 3) * 128;
    } else {
      return address + row * Rows::row_bytes + chunk * 16;
    }
  }
};

}  // namespace sm80
}  // namespace attnc
