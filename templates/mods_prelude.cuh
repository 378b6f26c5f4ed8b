// SPDX-License-Identifier: Apache-2.0
// The operations of dsl/ops.def that C++ does not give exactly, and captured buffers. Generated mods call these; the
// meaning of each is the one stated in ops.def.
//
// Functions in `approximate` use the hardware's approximations (one or two MUFU instructions); their namesakes in
// `precise` (precise.cuh) are as good as a libm's. The compiler chooses by the dtype and the `precise` option.
#pragma once

#include "precise.cuh"
#include "prelude.cuh"

namespace attnc::mods {

// ---- Integers: everything wraps. Signed overflow is undefined in C++, so the arithmetic is done unsigned.

__forceinline__ int32 wrap_add(int32 a, int32 b) {
  return static_cast<int32>(static_cast<uint32>(a) + static_cast<uint32>(b));
}
__forceinline__ int32 wrap_sub(int32 a, int32 b) {
  return static_cast<int32>(static_cast<uint32>(a) - static_cast<uint32>(b));
}
__forceinline__ int32 wrap_mul(int32 a, int32 b) {
  return static_cast<int32>(static_cast<uint32>(a) * static_cast<uint32>(b));
}
__forceinline__ int64 wrap_add(int64 a, int64 b) {
  return static_cast<int64>(static_cast<uint64>(a) + static_cast<uint64>(b));
}
__forceinline__ int64 wrap_sub(int64 a, int64 b) {
  return static_cast<int64>(static_cast<uint64>(a) - static_cast<uint64>(b));
}
__forceinline__ int64 wrap_mul(int64 a, int64 b) {
  return static_cast<int64>(static_cast<uint64>(a) * static_cast<uint64>(b));
}
template <class T>
__forceinline__ T wrap_neg(T a) {
  return wrap_sub(T(0), a);
}
template <class T>
__forceinline__ T wrap_abs(T a) {
  return a < 0 ? wrap_neg(a) : a;
}

// Rounds toward -inf; by zero gives 0; the one overflow (min / -1) wraps.
template <class T>
__forceinline__ T floor_div(T a, T b) {
  if (b == 0) return 0;
  if (b == -1) return wrap_neg(a);
  const T quotient = a / b;
  return quotient - static_cast<T>(quotient * b != a && (a < 0) != (b < 0));
}
// Has the sign of the divisor; by zero gives 0.
template <class T>
__forceinline__ T floor_mod(T a, T b) {
  if (b == 0 || b == -1) return 0;
  const T remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}
// The same where the compiler proved a >= 0 and b is a positive constant: unsigned division is shorter.
__forceinline__ int32 div_nonnegative(int32 a, int32 b) {
  return static_cast<int32>(static_cast<uint32>(a) / static_cast<uint32>(b));
}
__forceinline__ int32 mod_nonnegative(int32 a, int32 b) {
  return static_cast<int32>(static_cast<uint32>(a) % static_cast<uint32>(b));
}
__forceinline__ int64 div_nonnegative(int64 a, int64 b) {
  return static_cast<int64>(static_cast<uint64>(a) / static_cast<uint64>(b));
}
__forceinline__ int64 mod_nonnegative(int64 a, int64 b) {
  return static_cast<int64>(static_cast<uint64>(a) % static_cast<uint64>(b));
}

template <class T>
__forceinline__ T int_min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
__forceinline__ T int_max(T a, T b) {
  return a < b ? b : a;
}
template <class T>
__forceinline__ T int_sign(T a) {
  return static_cast<T>(a > 0) - static_cast<T>(a < 0);
}

// Shift counts are masked to the width; shr is arithmetic.
__forceinline__ int32 shift_left(int32 a, int32 count) {
  return static_cast<int32>(static_cast<uint32>(a) << (count & 31));
}
__forceinline__ int64 shift_left(int64 a, int64 count) {
  return static_cast<int64>(static_cast<uint64>(a) << (count & 63));
}
__forceinline__ int32 shift_right(int32 a, int32 count) { return a >> (count & 31); }
__forceinline__ int64 shift_right(int64 a, int64 count) { return a >> (count & 63); }

// ---- Conversions. f32 to integer truncates, saturates and takes NaN to 0.

__forceinline__ int32 to_i32(float x) { return __float2int_rz(x); }  // the instruction does all three
__forceinline__ int64 to_i64(float x) { return x != x ? 0 : __float2ll_rz(x); }
__forceinline__ float from_bits(uint32 bits) { return __uint_as_float(bits); }

// ---- Floats.

// NaN if either is NaN.
__forceinline__ float nan_min(float a, float b) {
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
__forceinline__ float nan_max(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
// -1, 0 or 1; of NaN it is 0.
__forceinline__ float float_sign(float x) { return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : 0.0f); }

namespace approximate {

__forceinline__ float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__forceinline__ float log2(float x) {
  float y;
  asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Absolute error about 5e-4.
__forceinline__ float tanh(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__forceinline__ float sqrt(float x) {
  float y;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__forceinline__ float rsqrt(float x) {
  float y;
  asm("rsqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Two ulp over the full range, zero, infinity and subnormals included.
__forceinline__ float divide(float a, float b) {
  float y;
  asm("div.full.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}
__forceinline__ float exp(float x) { return exp2(x * log2_e); }
__forceinline__ float log(float x) { return log2(x) * ln_2; }
// Good relative accuracy on both sides, which tanh.approx would not give for very negative x.
__forceinline__ float sigmoid(float x) { return reciprocal(1.0f + exp2(-log2_e * x)); }
// x less the nearest multiple of 2 pi, which is subtracted in three parts. Up to |x| = 1e8 what is lost is below 2^-21;
// beyond, neighbouring floats are more than 2 pi apart. CUDA's own reduction keeps an array in local memory and
// branches for each score: 128 copies of it take the compiler ten seconds, and the Hopper kernel must have no stack.
__forceinline__ float reduce_turns(float x) {
  const float turns = rintf(x * 0x1.45f306p-3f);
  x = fmaf(turns, -0x1.921fb6p+2f, x);
  x = fmaf(turns, 0x1.777a5cp-23f, x);
  return fmaf(turns, 0x1.ee59dap-48f, x);
}
// Absolute error about 1e-6.
__forceinline__ float sin(float x) {
  float y;
  asm("sin.approx.f32 %0, %1;" : "=f"(y) : "f"(reduce_turns(x)));
  return y;
}
__forceinline__ float cos(float x) {
  float y;
  asm("cos.approx.f32 %0, %1;" : "=f"(y) : "f"(reduce_turns(x)));
  return y;
}
__forceinline__ float erf(float x) { return erff(x); }
// Relative error about 2^-22 max(|b|, |log2 of the result|), and C's special cases without a branch.
__forceinline__ float pow(float a, float b) {
  const float size = fabsf(a);
  float y = exp2(b * log2(size));
  const bool whole = truncf(b) == b, odd = whole && truncf(0.5f * b) != 0.5f * b;
  y = odd ? copysignf(y, a) : y;
  y = a < 0.0f && size < __int_as_float(0x7f800000) && !whole ? __int_as_float(0x7fffffff) : y;
  const bool gives_one = b == 0.0f || a == 1.0f || (size == 1.0f && fabsf(b) == __int_as_float(0x7f800000));
  return gives_one ? 1.0f : y;
}

}  // namespace approximate

// ---- Words: how 8-byte values live in Column and Diagonal, which hold 4-byte fields only.

__forceinline__ int32 low_word(int64 x) { return static_cast<int32>(static_cast<uint32>(x)); }
__forceinline__ int32 high_word(int64 x) { return static_cast<int32>(x >> 32); }
__forceinline__ int64 join_words(int32 low, int32 high) {
  return static_cast<int64>(static_cast<uint64>(static_cast<uint32>(high)) << 32 | static_cast<uint32>(low));
}

// ---- Captured buffers.

// The element types as they lie in memory.
struct f16 {
  uint16 bits;
};
struct bf16 {
  uint16 bits;
};
struct bool8 {
  uint8 value;
};

// runtime/cuda packs this layout (compiler/cuda/params.h). Extents twice: indices of 32 bits compare in one
// instruction.
template <class T, int rank>
struct BufferView {
  const T* data;
  int64 stride_elems[rank];
  int64 extent[rank];
  uint32 extent_u32[rank];  // min(extent, 2^31): no int32 index reaches beyond
};
template <class T>
struct BufferView<T, 0> {
  const T* data;
};

// Whether an index lies inside dimension `d`. Extents are never negative, so one unsigned comparison decides both ends.
template <int d, class T, int rank>
__forceinline__ bool inside(const BufferView<T, rank>& buffer, int32 index) {
  return static_cast<uint32>(index) < buffer.extent_u32[d];
}
template <int d, class T, int rank>
__forceinline__ bool inside(const BufferView<T, rank>& buffer, int64 index) {
  return static_cast<uint64>(index) < static_cast<uint64>(buffer.extent[d]);
}
// An extent as an i32, for classifiers; what lies beyond no i32 index reaches.
template <class T, int rank>
__forceinline__ int32 extent_i32(const BufferView<T, rank>& buffer, int d) {
  return static_cast<int32>(buffer.extent_u32[d] > 0x7fffffffu ? 0x7fffffffu : buffer.extent_u32[d]);
}
// Elements from the start of the buffer, in 64 bits. Only used where the index is inside, so it is not negative.
template <int d, class T, int rank>
__forceinline__ int64 along(const BufferView<T, rank>& buffer, int32 index) {
  return static_cast<int64>(static_cast<uint64>(static_cast<uint32>(index)) *
                            static_cast<uint64>(buffer.stride_elems[d]));
}
template <int d, class T, int rank>
__forceinline__ int64 along(const BufferView<T, rank>& buffer, int64 index) {
  return wrap_mul(index, buffer.stride_elems[d]);
}

// Reads through the read-only path: nothing writes a captured buffer while the kernel runs.
__forceinline__ float load(const float* p) { return __ldg(p); }
__forceinline__ int32 load(const int32* p) { return __ldg(p); }
__forceinline__ int64 load(const int64* p) { return __ldg(p); }
__forceinline__ int32 load(const int8* p) { return __ldg(p); }
__forceinline__ int32 load(const uint8* p) { return __ldg(p); }
__forceinline__ bool load(const bool8* p) { return __ldg(&p->value) != 0; }
__forceinline__ float load(const bf16* p) { return from_bits(static_cast<uint32>(__ldg(&p->bits)) << 16); }
__forceinline__ float load(const f16* p) {
  float y;
  const uint16 bits = __ldg(&p->bits);
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(bits));
  return y;
}

}  // namespace attnc::mods
