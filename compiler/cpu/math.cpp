// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/math.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace attnc::cpu::math {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double log2_e = std::numbers::log2e;

// 2^f on |f| <= 1/2, relative error 2e-9.
const std::vector<double> exp2_coefficients = {1.0,           0x1.62e430p-1,  0x1.ebfbdcp-3, 0x1.c6aee8p-5,
                                               0x1.3b2d4ep-7, 0x1.5f3e80p-10, 0x1.41fba0p-13};

/// Adding this and taking it away rounds to the nearest integer (half to even) for |x| < 2^22, and leaves the integer
/// in the low bits of the sum.
constexpr double round_magic = 0x1.8p23;
constexpr double round_magic_f64 = 0x1.8p52;

Value* bits(CodeBuilder& c, Value* x) { return c.ir.CreateBitCast(x, c.shaped(c.i32, x)); }
Value* from_bits(CodeBuilder& c, Value* n) { return c.ir.CreateBitCast(n, c.shaped(c.f32, n)); }
Value* shl(CodeBuilder& c, Value* n, int by) { return c.ir.CreateShl(n, c.integer(n, by)); }
Value* ashr(CodeBuilder& c, Value* n, int by) { return c.ir.CreateAShr(n, c.integer(n, by)); }
Value* absolute(CodeBuilder& c, Value* x) { return c.intrinsic(llvm::Intrinsic::fabs, x); }

struct Rounded {
  Value* real;  ///< the integer, as float
  Value* sum;   ///< its low bits are the integer's
};
Rounded round_to_integer(CodeBuilder& c, Value* x, double magic = round_magic) {
  Value* sum = c.ir.CreateFAdd(x, c.real(x, magic));
  return {c.ir.CreateFSub(sum, c.real(x, magic)), sum};
}

Value* power_of_two(CodeBuilder& c, Value* exponent) {
  return from_bits(c, shl(c, c.ir.CreateAdd(exponent, c.integer(exponent, 127)), 23));
}
/// y * 2^n for any integer |n| <= 250, in two steps so that subnormals and overflow come out right.
Value* scale_by(CodeBuilder& c, Value* y, Value* n) {
  Value* half = ashr(c, n, 1);
  return c.ir.CreateFMul(c.ir.CreateFMul(y, power_of_two(c, half)), power_of_two(c, c.ir.CreateSub(n, half)));
}

/// A value as high + low, |low| far below |high|: what the last rounding is taken of.
struct Sum {
  Value *high, *low;
};
/// a + b for |a| >= |b| or a = 0, error-free.
Sum add_smaller(CodeBuilder& c, Value* a, Value* b) {
  Value* high = c.ir.CreateFAdd(a, b);
  return {high, c.ir.CreateFAdd(c.ir.CreateFSub(a, high), b)};
}
/// a + b.high + b.low for |a| >= |b|.
Sum add_smaller(CodeBuilder& c, Value* a, const Sum& b) {
  const Sum sum = add_smaller(c, a, b.high);
  return add_smaller(c, sum.high, c.ir.CreateFAdd(sum.low, b.low));
}
/// a / b, rounded about once: the quotient is repaired by its remainder.
Value* divide(CodeBuilder& c, const Sum& a, const Sum& b) {
  Value* reciprocal = c.ir.CreateFDiv(c.real(b.high, 1), b.high);
  Value* quotient = c.ir.CreateFMul(a.high, reciprocal);
  Value* minus = c.ir.CreateFNeg(quotient);
  Value* remainder = c.ir.CreateFAdd(c.fma(minus, b.high, a.high), c.fma(minus, b.low, a.low));
  return c.fma(remainder, reciprocal, quotient);
}

struct Power {
  Sum less_one;     ///< the power is 2^exponent (1 + less_one); not normalised: low may be a fifth of high
  Value* exponent;  ///< i32
};
/// e^x for |x| < 10^6. The polynomial is the minimax one of (e^r - 1 - r) / r^2, relative error of the power 2^-34.
Power split_exp(CodeBuilder& c, Value* x) {
  Value* sum = c.fma(x, c.real(x, log2_e), c.real(x, round_magic));
  Value* n = c.ir.CreateFSub(sum, c.real(x, round_magic));
  // ln 2 in two parts, the first with 15 bits: n times it is exact.
  Value* high = c.fma(n, c.real(x, -0x1.62e4p-1), x);
  Value* rest = c.ir.CreateFMul(n, c.real(x, -0x1.7f7d1cf79abcap-20));
  Value* r = c.ir.CreateFAdd(high, rest);
  Value* p = c.polynomial(
      r, {0.5, 0.16666666855663, 0.04166625333812, 0.008333265184635, 1.394724360309e-3, 1.991807225788e-4});
  Value* low = c.fma(c.ir.CreateFMul(r, r), p, rest);
  return {{high, low}, c.ir.CreateSub(bits(c, sum), c.integer(bits(c, sum), 0x4b400000))};
}
/// 2^x for |x| < 2^22, likewise.
Power split_exp2(CodeBuilder& c, Value* x) {
  constexpr double ln_2_high = 0x1.62e43p-1;
  const Rounded n = round_to_integer(c, x);
  Value* f = c.ir.CreateFSub(x, n.real);
  Value* high = c.ir.CreateFMul(f, c.real(x, ln_2_high));
  Value* rest = c.fma(f, c.real(x, ln_2_high), c.ir.CreateFNeg(high));
  rest = c.fma(f, c.real(x, std::numbers::ln2 - ln_2_high), rest);
  Value* p = c.polynomial(f, {0.24022651071732, 0.05550410925715, 9.61803737477e-3, 1.333345342240e-3,
                              1.546698783596e-4, 1.531059633710e-5});
  Value* low = c.fma(c.ir.CreateFMul(f, f), p, rest);
  return {{high, low}, c.ir.CreateSub(bits(c, n.sum), c.integer(bits(c, n.sum), 0x4b400000))};
}
Value* join(CodeBuilder& c, const Power& power) {
  Value* x = power.less_one.high;
  const Sum sum = add_smaller(c, c.real(x, 1), x);
  return scale_by(c, c.ir.CreateFAdd(sum.high, c.ir.CreateFAdd(sum.low, power.less_one.low)), power.exponent);
}

struct Logarithm {
  Value* exponent;     ///< as f32
  Sum log_m;           ///< natural logarithm of the mantissa, which lies in [sqrt(1/2), sqrt(2))
  Value* is_ordinary;  ///< finite and positive
};
Logarithm split_logarithm(CodeBuilder& c, Value* x) {
  Value* subnormal = c.ir.CreateFCmpOLT(x, c.real(x, 0x1p-126));
  Value* normal = c.ir.CreateSelect(subnormal, c.ir.CreateFMul(x, c.real(x, 0x1p23)), x);
  Value* pattern = bits(c, normal);
  Value* exponent = ashr(c, c.ir.CreateSub(pattern, c.integer(pattern, 0x3f3504f3)), 23);
  Value* mantissa = from_bits(c, c.ir.CreateSub(pattern, shl(c, exponent, 23)));
  Value* shifted = c.ir.CreateSIToFP(exponent, x->getType());
  Value* true_exponent = c.ir.CreateSelect(subnormal, c.ir.CreateFSub(shifted, c.real(x, 23)), shifted);
  Value* f = c.ir.CreateFSub(mantissa, c.real(x, 1));
  Value* square = c.ir.CreateFMul(f, f);
  // (log(1 + f) - f + f^2 / 2) / f^3, relative error of the logarithm 8e-10.
  Value* p = c.polynomial(
      f, {0.33333312603802057, -0.25000009598974343, 0.20002118679085837, -0.16667995896751947, 0.14219551937720806,
          -0.12405587802086868, 0.11888164519029108, -0.11675660128503015, 0.06746645631887105});
  // f - f^2 / 2 error-free, and the rest.
  Sum log_m = add_smaller(c, f, c.ir.CreateFMul(square, c.real(x, -0.5)));
  Value* square_error = c.fma(f, f, c.ir.CreateFNeg(square));
  log_m.low = c.fma(c.ir.CreateFMul(square, f), p, log_m.low);
  log_m.low = c.fma(square_error, c.real(x, -0.5), log_m.low);
  Value* is_ordinary = c.ir.CreateAnd(c.ir.CreateFCmpOGT(x, c.real(x, 0)), c.ir.CreateFCmpOLT(x, c.real(x, infinity)));
  return {true_exponent, log_m, is_ordinary};
}

/// What a logarithm gives outside the positive finite numbers.
Value* finish_logarithm(CodeBuilder& c, Value* x, const Logarithm& parts, Value* ordinary) {
  Value* at_zero = c.ir.CreateSelect(c.ir.CreateFCmpOEQ(x, c.real(x, 0)), c.real(x, -infinity), c.real(x, nan));
  Value* other = c.ir.CreateSelect(c.ir.CreateFCmpOEQ(x, c.real(x, infinity)), x, at_zero);
  return c.ir.CreateSelect(parts.is_ordinary, ordinary, other);
}

Value* widen(CodeBuilder& c, Value* x) { return c.ir.CreateFPExt(x, c.shaped(c.f64, x)); }
Value* narrow(CodeBuilder& c, Value* x) { return c.ir.CreateFPTrunc(x, c.shaped(c.f32, x)); }
Value* bits_f64(CodeBuilder& c, Value* x) { return c.ir.CreateBitCast(x, c.shaped(c.i64, x)); }

/// 2^x in double for |x| <= 1000, about 1e-12.
Value* exp2_f64(CodeBuilder& c, Value* x) {
  const Rounded n = round_to_integer(c, x, round_magic_f64);
  Value* f = c.ir.CreateFMul(c.ir.CreateFSub(x, n.real), c.real(x, std::numbers::ln2));
  std::vector<double> taylor{1};
  for (int i = 1; i <= 10; ++i) taylor.push_back(taylor.back() / i);
  Value* p = c.polynomial(f, taylor);
  Value* shifted = bits_f64(c, n.sum);
  shifted = c.ir.CreateShl(shifted, c.integer(shifted, 52));  // the low 12 bits of n move to the exponent
  return c.ir.CreateBitCast(c.ir.CreateAdd(bits_f64(c, p), shifted), x->getType());
}

/// log2(x) in double for a finite x > 0 given as f32.
Value* log2_f64(CodeBuilder& c, Value* x) {
  Value* wide = widen(c, x);  // subnormal f32 are normal here
  Value* pattern = bits_f64(c, wide);
  Value* exponent = ashr(c, c.ir.CreateSub(pattern, c.integer(pattern, 0x3fe6a09e667f3bcd)), 52);
  Value* mantissa = c.ir.CreateBitCast(c.ir.CreateSub(pattern, shl(c, exponent, 52)), wide->getType());
  Value* s = c.ir.CreateFDiv(c.ir.CreateFSub(mantissa, c.real(wide, 1)), c.ir.CreateFAdd(mantissa, c.real(wide, 1)));
  Value* square = c.ir.CreateFMul(s, s);
  std::vector<double> atanh_series;
  for (int i = 1; i <= 15; i += 2) atanh_series.push_back(2 * log2_e / i);
  Value* log_m = c.ir.CreateFMul(s, c.polynomial(square, atanh_series));
  // A 64-bit integer to double without the instruction that only AVX-512 has.
  Value* narrow_exponent = c.ir.CreateTrunc(exponent, c.shaped(c.i32, x));
  return c.ir.CreateFAdd(c.ir.CreateSIToFP(narrow_exponent, wide->getType()), log_m);
}

/// sin (quarter_turns 0) or cos (1).
Value* sine(CodeBuilder& c, Value* x, int quarter_turns) {
  Value* wide = widen(c, x);
  const Rounded n = round_to_integer(c, c.ir.CreateFMul(wide, c.real(wide, 2 / std::numbers::pi)), round_magic_f64);
  // pi/2 in three parts; the first two have 33 bits, so that n times them is exact for |n| < 2^20 even without FMA.
  constexpr double part1 = 0x1.921fb544p0, part2 = 0x1.0b4611a6p-34, part3 = 0x1.3198a2e037073p-69;
  Value* r = c.fma(n.real, c.real(wide, -part1), wide);
  r = c.fma(n.real, c.real(wide, -part2), r);
  r = c.fma(n.real, c.real(wide, -part3), r);
  Value* square = c.ir.CreateFMul(r, r);
  std::vector<double> sin_taylor, cos_taylor;
  double factorial = 1;
  for (int i = 0; i <= 13; ++i) {
    if (i > 0) factorial *= i;
    const double term = (i / 2 % 2 == 0 ? 1 : -1) / factorial;
    (i % 2 == 0 ? cos_taylor : sin_taylor).push_back(term);
  }
  Value* sin_r = c.ir.CreateFMul(r, c.polynomial(square, sin_taylor));
  Value* cos_r = c.polynomial(square, cos_taylor);
  Value* turns = bits_f64(c, n.sum);
  if (quarter_turns != 0) turns = c.ir.CreateAdd(turns, c.integer(turns, quarter_turns));
  auto bit = [&](int which) {
    return c.ir.CreateICmpNE(c.ir.CreateAnd(turns, c.integer(turns, which)), c.integer(turns, 0));
  };
  Value* magnitude = c.ir.CreateSelect(bit(1), cos_r, sin_r);
  return narrow(c, c.ir.CreateSelect(bit(2), c.ir.CreateFNeg(magnitude), magnitude));
}

}  // namespace

Value* exp2_nonpositive(CodeBuilder& c, Value* x) {
  // At -127 the exponent field of the result is exactly 0, and so is its mantissa.
  Value* clamped = c.at_least(x, -127);
  const Rounded n = round_to_integer(c, clamped);
  Value* p = c.polynomial(c.ir.CreateFSub(clamped, n.real), exp2_coefficients);
  return from_bits(c, c.ir.CreateAdd(bits(c, p), shl(c, bits(c, n.sum), 23)));
}

Value* exp2(CodeBuilder& c, Value* x) { return join(c, split_exp2(c, c.at_most(c.at_least(x, -160), 140))); }
Value* exp(CodeBuilder& c, Value* x) { return join(c, split_exp(c, c.at_most(c.at_least(x, -110), 100))); }

Value* log2(CodeBuilder& c, Value* x) {
  constexpr double log2_e_high = 0x1.715476p0;
  const Logarithm parts = split_logarithm(c, x);
  Value* high = c.ir.CreateFMul(parts.log_m.high, c.real(x, log2_e_high));
  Value* low = c.fma(parts.log_m.high, c.real(x, log2_e_high), c.ir.CreateFNeg(high));
  low = c.fma(parts.log_m.high, c.real(x, log2_e - log2_e_high), low);
  low = c.fma(parts.log_m.low, c.real(x, log2_e), low);
  const Sum sum = add_smaller(c, parts.exponent, high);
  return finish_logarithm(c, x, parts, c.ir.CreateFAdd(sum.high, c.ir.CreateFAdd(sum.low, low)));
}

Value* log(CodeBuilder& c, Value* x) {
  const Logarithm parts = split_logarithm(c, x);
  Value* low = c.fma(parts.exponent, c.real(x, 0x1.7f7d1cf79abcap-20), parts.log_m.low);
  const Sum sum = add_smaller(c, c.ir.CreateFMul(parts.exponent, c.real(x, 0x1.62e4p-1)), parts.log_m.high);
  return finish_logarithm(c, x, parts, c.ir.CreateFAdd(sum.high, c.ir.CreateFAdd(sum.low, low)));
}

Value* tanh(CodeBuilder& c, Value* x) {
  // An odd polynomial (minimax, relative error 2^-28) up to 0.6, then 1 - 2 / (E + 1) with E = e^(2|x|), whose error is
  // halved at least. Within 1.4 ulp. A quotient of sums of two floats would be within 0.8, and soft-capping 6 % slower.
  auto& ir = c.ir;
  Value* size = c.at_most(absolute(c, x), 10);
  Value* square = ir.CreateFMul(size, size);
  Value* q = c.polynomial(square, {-0.3333329799730826, 0.13331924011019494, -0.053783821229552914,
                                   0.020795943132566004, -0.005895126655774708});
  Value* near_zero = c.fma(ir.CreateFMul(size, square), q, size);

  Value* doubled = ir.CreateFAdd(size, size);
  Value* rounded = c.fma(doubled, c.real(x, log2_e), c.real(x, round_magic));
  Value* n = ir.CreateFSub(rounded, c.real(x, round_magic));
  Value* r = c.fma(n, c.real(x, -0x1.62e4p-1), doubled);
  r = c.fma(n, c.real(x, -0x1.7f7d1cf79abcap-20), r);
  Value* p =
      c.polynomial(r, {0.5, 0.16666512953630214, 0.04166618755069399, 0.008369590606801102, 0.0013951699423554425});
  Value* power = from_bits(c, ir.CreateAdd(shl(c, bits(c, rounded), 23), c.integer(bits(c, x), 0x3f800000)));
  Value* e = c.fma(c.fma(ir.CreateFMul(r, r), p, r), power, power);
  Value* far = ir.CreateFSub(c.real(x, 1), ir.CreateFDiv(c.real(x, 2), ir.CreateFAdd(e, c.real(x, 1))));
  Value* value = ir.CreateSelect(ir.CreateFCmpOLT(size, c.real(x, 0.6)), near_zero, far);
  return c.intrinsic(llvm::Intrinsic::copysign, value, x);
}

Value* sigmoid(CodeBuilder& c, Value* x) {
  // 1 / (1 + E) or E / (1 + E), whichever has E = e^-|x|, so that nothing overflows.
  auto& ir = c.ir;
  Value* one = c.real(x, 1);
  Value* zero = c.real(x, 0);
  const Power e = split_exp(c, ir.CreateFNeg(c.at_most(absolute(c, x), 110)));
  const Sum mantissa = add_smaller(c, one, e.less_one);
  // Less than 2^-64 is nothing beside 1.
  Value* power = power_of_two(c, c.intrinsic(llvm::Intrinsic::smax, e.exponent, c.integer(e.exponent, -64)));
  Sum sum = add_smaller(c, one, ir.CreateFMul(mantissa.high, power));
  sum.low = c.fma(mantissa.low, power, sum.low);
  Value* is_negative = ir.CreateFCmpOLT(x, zero);
  Value* quotient = divide(
      c, {ir.CreateSelect(is_negative, mantissa.high, one), ir.CreateSelect(is_negative, mantissa.low, zero)}, sum);
  return ir.CreateSelect(is_negative, scale_by(c, quotient, e.exponent), quotient);
}

Value* rsqrt(CodeBuilder& c, Value* x) {
  // 1 / s for s = sqrt(x), and what both roundings lost, to first order; not for 0 and infinity.
  auto& ir = c.ir;
  Value *root = c.intrinsic(llvm::Intrinsic::sqrt, x), *y = ir.CreateFDiv(c.real(x, 1), root);
  Value* minus = ir.CreateFNeg(y);
  Value* root_error = c.fma(ir.CreateFNeg(root), root, x);
  Value* error = c.fma(minus, root, c.real(x, 1));
  error = c.fma(ir.CreateFMul(minus, c.real(x, 0.5)), ir.CreateFMul(y, root_error), error);
  Value* repaired = c.fma(y, error, y);
  return ir.CreateSelect(ir.CreateFCmpORD(repaired, repaired), repaired, y);
}

Value* erf(CodeBuilder& c, Value* x) {
  // In double: in f32 the polynomials' own rounding would be an ulp. Relative errors 2^-34 and, of erfc, 2^-35.
  Value* magnitude = widen(c, c.at_most(absolute(c, x), 4));
  Value* small = c.ir.CreateFMul(
      magnitude,
      c.polynomial(c.ir.CreateFMul(magnitude, magnitude),
                   {1.1283791670578747, -0.3761263843453876, 0.11283781973479784, -0.026865400016742667,
                    0.0052209453721774, -0.000848282805854336, 0.00011256942724005926, -9.641502494525525e-06}));
  // -log2(erfc(x)) on [1, 4].
  Value* q =
      c.polynomial(c.ir.CreateFSub(magnitude, c.real(magnitude, 1)),
                   {2.668416696972289, 3.8072253460829883, 1.2163464102379429, 0.059963404798589734,
                    -0.01449392210076032, 0.0029026148525880357, -0.00041768537743881035, 3.128530311810063e-05});
  Value* large = c.ir.CreateFSub(c.real(magnitude, 1), exp2_f64(c, c.ir.CreateFNeg(q)));
  Value* value = c.ir.CreateSelect(c.ir.CreateFCmpOGT(magnitude, c.real(magnitude, 1)), large, small);
  return c.intrinsic(llvm::Intrinsic::copysign, narrow(c, value), x);
}

Value* sin(CodeBuilder& c, Value* x) { return sine(c, x, 0); }
Value* cos(CodeBuilder& c, Value* x) { return sine(c, x, 1); }

Value* pow(CodeBuilder& c, Value* x, Value* y) {
  auto& ir = c.ir;
  Value* magnitude = absolute(c, x);
  Value* is_zero = ir.CreateFCmpOEQ(x, c.real(x, 0));
  Value* is_infinite = ir.CreateFCmpOEQ(magnitude, c.real(x, infinity));
  Value* is_special = ir.CreateOr(is_zero, is_infinite);
  Value* logarithm = log2_f64(c, ir.CreateSelect(is_special, c.real(x, 1), magnitude));
  logarithm = ir.CreateSelect(is_zero, c.real(logarithm, -infinity), logarithm);
  logarithm = ir.CreateSelect(is_infinite, c.real(logarithm, infinity), logarithm);
  Value* exponent = ir.CreateFMul(logarithm, widen(c, y));
  exponent = c.at_most(c.at_least(exponent, -400), 400);  // both ends are far outside f32
  Value* is_nan_base = ir.CreateFCmpUNO(x, x);
  Value* result = narrow(c, exp2_f64(c, exponent));
  result = ir.CreateSelect(is_nan_base, x, result);

  // The sign: a negative base wants an integer exponent, and an odd one keeps the sign. From 2^24 on all are even.
  Value* whole = ir.CreateIntrinsic(llvm::Intrinsic::fptosi_sat, {c.shaped(c.i32, y), y->getType()}, {y});
  Value* beyond = ir.CreateFCmpOGE(absolute(c, y), c.real(y, 0x1p24));
  Value* is_integer = ir.CreateOr(beyond, ir.CreateFCmpOEQ(ir.CreateSIToFP(whole, y->getType()), y));
  Value* is_odd = ir.CreateICmpNE(ir.CreateAnd(whole, c.integer(whole, 1)), c.integer(whole, 0));
  is_odd = ir.CreateAnd(is_odd, ir.CreateAnd(is_integer, ir.CreateNot(beyond)));
  Value* is_signed = ir.CreateICmpSLT(bits(c, x), c.integer(bits(c, x), 0));
  result = ir.CreateSelect(ir.CreateAnd(is_signed, is_odd), ir.CreateFNeg(result), result);
  Value* is_negative = ir.CreateAnd(ir.CreateFCmpOLT(x, c.real(x, 0)), ir.CreateNot(is_infinite));
  result = ir.CreateSelect(ir.CreateAnd(is_negative, ir.CreateNot(is_integer)), c.real(x, nan), result);

  // 1 to any power and anything to the power 0 are 1, NaN included; so is -1 to an infinite power.
  Value* is_one = ir.CreateFCmpOEQ(x, c.real(x, 1));
  Value* one_in_size =
      ir.CreateAnd(ir.CreateFCmpOEQ(magnitude, c.real(x, 1)), ir.CreateFCmpOEQ(absolute(c, y), c.real(y, infinity)));
  Value* gives_one = ir.CreateOr(ir.CreateOr(is_one, one_in_size), ir.CreateFCmpOEQ(y, c.real(y, 0)));
  return ir.CreateSelect(gives_one, c.real(x, 1), result);
}

}  // namespace attnc::cpu::math
