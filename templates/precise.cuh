// SPDX-License-Identifier: Apache-2.0
// Elementary functions for fp32 attention and the `precise` option: within 1 ulp where written here (sigmoid below
// -16: 1.5), within 1.5 ulp where they are CUDA's own. exp2f, expf and tanhf are up to 2 ulp off and 1 / (1 + expf(-x))
// up to 3, which scores that are a multiple of such a function carry into the output.
//
// What is added up error-free here is never a rounded product that contraction into fmaf could take up unrounded; where
// it has to be one, __fmul_rn keeps it apart.
#pragma once

#include "prelude.cuh"

namespace attnc::mods::precise {

// (1 + high + low) 2^exponent.
struct Scaled {
  float high, low;
  int32 exponent;
};

// 1.5 * 2^23: adding it rounds to an integer, which stands in the sum's low bits.
inline constexpr float round_magic = 0x1.8p23f;

__forceinline__ int32 rounded_integer(float sum) {
  return static_cast<int32>(__float_as_uint(sum) - __float_as_uint(round_magic));
}
__forceinline__ float power_of_two(int32 exponent) {
  return __uint_as_float(static_cast<uint32>(exponent + 127) << 23);
}
// In two steps, so that subnormal results and overflow come out right.
__forceinline__ float scale_by(float y, int32 exponent) {
  const int32 half = exponent >> 1;
  return y * power_of_two(half) * power_of_two(exponent - half);
}
// Relative error 2^-23: what follows repairs it.
__forceinline__ float rough_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// e^x = 2^exponent (1 + high + low), low up to a fifth of high. |x| up to 10^6. The polynomial is the minimax one of
// (e^r - 1 - r) / r^2, relative error of the power 2^-34.
__forceinline__ Scaled reduced_exp(float x) {
  const float sum = fmaf(x, log2_e, round_magic);
  const float n = sum - round_magic;
  const float high = fmaf(n, -0x1.62e4p-1f, x);  // exact: 15 bits of ln 2
  const float rest = n * -0x1.7f7d1cp-20f;
  const float r = high + rest;
  float p = fmaf(r, 1.99180723e-4f, 1.39472436e-3f);
  p = fmaf(p, r, 8.33326519e-3f);
  p = fmaf(p, r, 4.16662533e-2f);
  p = fmaf(p, r, 0.166666672f);
  p = fmaf(p, r, 0.5f);
  return {high, fmaf(r * r, p, rest), rounded_integer(sum)};
}
// The same for 2^x.
__forceinline__ Scaled reduced_exp2(float x) {
  const float sum = x + round_magic;
  const float f = x - (sum - round_magic);
  const float high = __fmul_rn(f, ln_2);
  const float rest = fmaf(f, -1.90465430e-9f, fmaf(f, ln_2, -high));  // ln 2 less its float
  float p = fmaf(f, 1.53105966e-5f, 1.54669878e-4f);
  p = fmaf(p, f, 1.33334531e-3f);
  p = fmaf(p, f, 9.61803737e-3f);
  p = fmaf(p, f, 5.55041093e-2f);
  p = fmaf(p, f, 0.240226511f);
  return {high, fmaf(f * f, p, rest), rounded_integer(sum)};
}
__forceinline__ float to_float(Scaled power) {
  const float sum = 1.0f + power.high;
  return scale_by(sum + (((1.0f - sum) + power.high) + power.low), power.exponent);
}

// Comparisons are false for NaN, which so passes through.
__forceinline__ float exp2(float x) { return to_float(reduced_exp2(x > 140.0f ? 140.0f : x < -160.0f ? -160.0f : x)); }
__forceinline__ float exp(float x) { return to_float(reduced_exp(x > 100.0f ? 100.0f : x < -110.0f ? -110.0f : x)); }

// e^x = 2^exponent (1 + high) where half an ulp more does not matter; relative error of the power 2^-28.
__forceinline__ Scaled short_exp(float x) {
  const float sum = fmaf(x, log2_e, round_magic);
  const float n = sum - round_magic;
  const float r = fmaf(n, -0x1.7f7d1cp-20f, fmaf(n, -0x1.62e4p-1f, x));
  float p = fmaf(r, 1.39516994e-3f, 8.36959061e-3f);
  p = fmaf(p, r, 4.16661876e-2f);
  p = fmaf(p, r, 0.166665130f);
  p = fmaf(p, r, 0.5f);
  return {fmaf(r * r, p, r), 0.0f, rounded_integer(sum)};
}
// 1 / (1 + (1 + t) power), rounded about once where the sum is below 2^24. Both roundings before the reciprocal are
// taken back exactly: power is a power of two, so the difference of nearby numbers is their own.
__forceinline__ float reciprocal_of_one_plus(float t, float power) {
  const float x = fmaf(t, power, power), x_lost = fmaf(t, power, power - x);
  const float sum = 1.0f + x, lost = (x - (sum - 1.0f)) + x_lost;
  const float y = rough_reciprocal(sum);
  return fmaf(y, fmaf(-lost, y, fmaf(-sum, y, 1.0f)), y);
}

// 1 / (1 + e^-x), within 1 ulp above -16 and 1.5 below. Powers above 2^64, beside which the 1 is nothing, are divided
// by last, so that small results come out right.
__forceinline__ float sigmoid(float x) {
  const Scaled e = short_exp(x > 80.0f ? -80.0f : x < -110.0f ? 110.0f : -x);
  const int32 exponent = e.exponent < 64 ? e.exponent : 64;
  const float power = power_of_two(exponent);
  return reciprocal_of_one_plus(e.high, power) * power_of_two(exponent - e.exponent);
}

// An odd polynomial (minimax, relative error 2^-28) up to 0.6, then 1 - 2 / (E + 1) with E = e^(2|x|). Within 0.9 ulp.
__forceinline__ float tanh(float x) {
  const float size = fabsf(x) > 10.0f ? 10.0f : fabsf(x);
  const float square = size * size;
  float q = fmaf(square, -5.89512666e-3f, 2.07959431e-2f);
  q = fmaf(q, square, -5.37838212e-2f);
  q = fmaf(q, square, 0.133319240f);
  q = fmaf(q, square, -0.333332980f);
  const float near_zero = fmaf(size * square, q, size);

  const Scaled e = short_exp(2.0f * size);
  const float power = power_of_two(e.exponent);
  const float far_from_zero = fmaf(-2.0f, reciprocal_of_one_plus(e.high, power), 1.0f);
  return copysignf(size < 0.6f ? near_zero : far_from_zero, x);
}

__forceinline__ float sqrt(float x) { return sqrtf(x); }
// One step of Newton's method, its residual in two parts; not for 0 and infinity. Within 0.51 ulp.
__forceinline__ float rsqrt(float x) {
  float y;
  asm("rsqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  const float root = x * y, rest = fmaf(x, y, -root);
  const float error = fmaf(-rest, y, fmaf(-root, y, 1.0f));
  const float repaired = fmaf(0.5f * y, error, y);
  return repaired == repaired ? repaired : y;
}
__forceinline__ float divide(float a, float b) { return a / b; }
__forceinline__ float log(float x) { return logf(x); }
__forceinline__ float log2(float x) { return log2f(x); }
__forceinline__ float sin(float x) { return sinf(x); }
__forceinline__ float cos(float x) { return cosf(x); }
__forceinline__ float erf(float x) { return erff(x); }
__forceinline__ float pow(float a, float b) { return powf(a, b); }

}  // namespace attnc::mods::precise
