// SPDX-License-Identifier: Apache-2.0
// Elementary functions as straight-line vector code, so that no mod ever leaves the vector unit for a libm call.
//
// f32 in, f32 out; scalars and vectors alike. Errors are at most 1.4 ulp with FMA (docs/performance/cpu_forward.md
// lists them); NaN, infinities, zeros and subnormals behave as C's functions do. Coefficients were fitted for these
// ranges by weighted minimax (Lawson's iteration); the range reductions are the textbook ones (Muller, Elementary
// Functions).
#pragma once

#include "compiler/cpu/code_builder.h"

namespace attnc::cpu::math {

/// 2^x for x <= 0 or NaN, as the softmax needs it: 2^x below 2^-126 is 0 or a subnormal that may be wrong, -inf gives
/// 0.
Value* exp2_nonpositive(CodeBuilder& c, Value* x);

Value* exp(CodeBuilder& c, Value* x);
Value* exp2(CodeBuilder& c, Value* x);
Value* log(CodeBuilder& c, Value* x);
Value* log2(CodeBuilder& c, Value* x);
Value* tanh(CodeBuilder& c, Value* x);
Value* sigmoid(CodeBuilder& c, Value* x);
Value* rsqrt(CodeBuilder& c, Value* x);
Value* erf(CodeBuilder& c, Value* x);
/// Reduced in double: accurate for |x| up to 2^30.
Value* sin(CodeBuilder& c, Value* x);
Value* cos(CodeBuilder& c, Value* x);
Value* pow(CodeBuilder& c, Value* x, Value* y);

}  // namespace attnc::cpu::math
