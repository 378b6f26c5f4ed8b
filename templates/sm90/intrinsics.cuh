// SPDX-License-Identifier: Apache-2.0
// Single instructions with a name: arithmetic, packing and shuffles that C++ cannot say.
#pragma once

#include "prelude.cuh"

namespace attnc::sm90 {

inline constexpr int warp_threads = 32;
inline constexpr int warpgroup_threads = 128;
__device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff800000); }

__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The larger; NaN if either is.
__device__ __forceinline__ float max_or_nan(float a, float b) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}

// The smaller; NaN if either is.
__device__ __forceinline__ float min_or_nan(float a, float b) {
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}

// exp2 on the FMA pipe: Cody-Waite reduction to [-1/2, 1/2] and a degree 3 minimax polynomial, relative error 7.5e-5,
// below half an ulp of bf16 and fp16. NaN gives the largest finite float. `bounded`: |x| < 126 is known; otherwise x is
// clamped to that range.
template <bool bounded>
__device__ __forceinline__ float exp2_polynomial(float x) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low mantissa bits
  if constexpr (!bounded) x = fminf(max_or_nan(x, -126.0f), 126.0f);
  const float shifted = x + magic;
  const float r = x - (shifted - magic);
  float p = __fmaf_rn(0.055171669f, r, 0.242611122f);
  p = __fmaf_rn(p, r, 0.693260985f);
  p = __fmaf_rn(p, r, 0.999928074f);
  return __int_as_float(__float_as_int(p) + (__float_as_int(shifted) << 23));
}

__device__ __forceinline__ float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two floats rounded to nearest and packed; `low` lands in the lower half, which is the smaller column.
template <bool is_bf16>
__device__ __forceinline__ uint32 pack_pair(float low, float high) {
  uint32 packed;
  if constexpr (is_bf16) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  }
  return packed;
}

// Two products of bf16, exact where a factor is a power of two.
__device__ __forceinline__ uint32 multiply_bf16_pairs(uint32 a, uint32 b) {
  uint32 product;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

// True in one lane of a converged warp.
__device__ __forceinline__ bool elect_lane() {
  uint32 elected;
  asm volatile(
      "{\n"
      ".reg .pred chosen;\n"
      "elect.sync _|chosen, 0xffffffff;\n"
      "selp.b32 %0, 1, 0, chosen;\n"
      "}\n"
      : "=r"(elected));
  return elected != 0;
}

__device__ __forceinline__ int min_int(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int max_int(int a, int b) { return a > b ? a : b; }

// The lowest `count` bits; none for count <= 0, all from 32 on.
__device__ __forceinline__ uint32 low_bits(int count) {
  uint32 above;
  asm("shl.b32 %0, %1, %2;" : "=r"(above) : "r"(0xffffffffu), "r"(max_int(count, 0)));
  return ~above;
}

__device__ __forceinline__ float quad_max(float x) {
  x = max_or_nan(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return max_or_nan(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

__device__ __forceinline__ uint32 shared_address(const void* pointer) {
  return static_cast<uint32>(__cvta_generic_to_shared(pointer));
}

template <int registers>
__device__ __forceinline__ void raise_register_limit() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

template <int registers>
__device__ __forceinline__ void lower_register_limit() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

}  // namespace attnc::sm90
