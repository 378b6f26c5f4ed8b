// SPDX-License-Identifier: Apache-2.0
// Elementary functions for fp32 attention and the `precise` option: within 1.1 ulp where written here, within 1.5 ulp
// where they are CUDA's own. exp2f, expf and tanhf are up to 2 ulp off and 1 / (1 + expf(-x)) up to 3, which scores
// that are a multiple of such a function carry into the output.
//
// The ones here hold intermediate results as the sum of two floats and repair the quotient by its remainder. What is
// added up error-free is never a product, so contraction into fmaf changes nothing.
#pragma once

#include "prelude.cuh"

namespace attnc::mods::precise {

// A value as high + low, |low| far below |high|, times 2^exponent.
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
// 2^-22: what follows repairs it.
__forceinline__ float rough_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// (a + a_low) / (b + b_low) for ordinary sizes of b.
__forceinline__ float divide_sums(float a, float a_low, float b, float b_low) {
  const float reciprocal = rough_reciprocal(b);
  const float quotient = a * reciprocal;
  const float remainder = fmaf(-quotient, b, a) + fmaf(-quotient, b_low, a_low);
  return fmaf(remainder, reciprocal, quotient);
}

// e^x - 1 before scaling by 2^exponent is taken into account: e^x = 2^exponent (1 + high + low). |x| up to 10^6. The
// polynomial is the minimax one of (e^r - 1 - r) / r^2, relative error of the power 2^-34.
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
  const float high = f * ln_2;
  const float rest = fmaf(f, -1.90465430e-9f, fmaf(f, ln_2, -high));  // ln 2 less its float
  float p = fmaf(f, 1.53105966e-5f, 1.54669878e-4f);
  p = fmaf(p, f, 1.33334531e-3f);
  p = fmaf(p, f, 9.61803737e-3f);
  p = fmaf(p, f, 5.55041093e-2f);
  p = fmaf(p, f, 0.240226511f);
  return {high, fmaf(f * f, p, rest), rounded_integer(sum)};
}
// 1 + the two parts, as two parts again.
__forceinline__ Scaled one_plus(Scaled x) {
  const float sum = 1.0f + x.high;
  const float rest = ((1.0f - sum) + x.high) + x.low;
  const float high = sum + rest;
  return {high, (sum - high) + rest, x.exponent};
}
__forceinline__ float to_float(Scaled power) {
  const float sum = 1.0f + power.high;
  return scale_by(sum + (((1.0f - sum) + power.high) + power.low), power.exponent);
}

// Comparisons are false for NaN, which so passes through.
__forceinline__ float exp2(float x) { return to_float(reduced_exp2(x > 140.0f ? 140.0f : x < -160.0f ? -160.0f : x)); }
__forceinline__ float exp(float x) { return to_float(reduced_exp(x > 100.0f ? 100.0f : x < -110.0f ? -110.0f : x)); }

// 1 / (1 + E) or E / (1 + E), whichever has E = e^-|x|, so that nothing overflows.
__forceinline__ float sigmoid(float x) {
  const float size = fabsf(x) > 110.0f ? 110.0f : fabsf(x);
  const Scaled e = one_plus(reduced_exp(-size));
  const float power = power_of_two(e.exponent < -64 ? -64 : e.exponent);  // less is nothing beside 1
  const float scaled = e.high * power, sum = 1.0f + scaled;
  const float sum_low = ((1.0f - sum) + scaled) + e.low * power;
  const bool negative = x < 0.0f;
  const float quotient = divide_sums(negative ? e.high : 1.0f, negative ? e.low : 0.0f, sum, sum_low);
  return negative ? scale_by(quotient, e.exponent) : quotient;
}

// An odd polynomial (minimax, relative error 2^-28) up to 0.6, then 1 - 2 / (E + 1) with E = e^(2|x|). Within 1.1 ulp:
// the sum and the reciprocal are repaired, and E's own error is halved at least. A quotient of sums of two floats would
// be within 0.8, but soft-capping is made of this function.
__forceinline__ float tanh(float x) {
  const float size = fabsf(x) > 10.0f ? 10.0f : fabsf(x);
  const float square = size * size;
  float q = fmaf(square, -5.89512666e-3f, 2.07959431e-2f);
  q = fmaf(q, square, -5.37838212e-2f);
  q = fmaf(q, square, 0.133319240f);
  q = fmaf(q, square, -0.333332980f);
  const float near_zero = fmaf(size * square, q, size);

  const float doubled = 2.0f * size;
  const float rounded = fmaf(doubled, log2_e, round_magic);
  const float n = rounded - round_magic;
  const float r = fmaf(n, -0x1.7f7d1cp-20f, fmaf(n, -0x1.62e4p-1f, doubled));
  float p = fmaf(r, 1.39516994e-3f, 8.36959061e-3f);
  p = fmaf(p, r, 4.16661876e-2f);
  p = fmaf(p, r, 0.166665130f);
  p = fmaf(p, r, 0.5f);
  const float power = power_of_two(rounded_integer(rounded));
  const float e = fmaf(fmaf(r * r, p, r), power, power);
  const float sum = e + 1.0f, lost = e - (sum - 1.0f);
  const float reciprocal = rough_reciprocal(sum);
  const float error = fmaf(-lost, reciprocal, fmaf(-sum, reciprocal, 1.0f));
  const float far_from_zero = fmaf(-2.0f, fmaf(reciprocal, error, reciprocal), 1.0f);
  return copysignf(size < 0.6f ? near_zero : far_from_zero, x);
}

__forceinline__ float sqrt(float x) { return sqrtf(x); }
// 1 / s for s = sqrt(x), and what both roundings lost, to first order; not for 0 and infinity.
__forceinline__ float rsqrt(float x) {
  const float root = sqrtf(x), y = 1.0f / root;
  const float root_error = fmaf(-root, root, x), y_error = fmaf(-y, root, 1.0f);
  const float repaired = fmaf(y, fmaf(-0.5f * y, y * root_error, y_error), y);
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
