// SPDX-License-Identifier: Apache-2.0
// The stock mods: the variants people ask for by name, written in the DSL itself.
#pragma once

#include "mods.h"

namespace attnc::stock {

// A number that users tune is an Expr: pass a literal (`sliding_window(1024)`) to compile it in, which gives the
// fastest code, or a parameter (`sliding_window(param("window", 1024))`) to change it per call without a recompile. A
// captured table is a Buffer of the name given here, bound per call.

// Score mods.

/// cap * tanh(score / cap)
ATTNC_API ScoreMod soft_cap(const Expr& cap = 30.0f);
/// score + slope[h] * (kv_idx - q_idx); buffer "slope" f32 [heads].
ATTNC_API ScoreMod alibi();
/// score + 2^(-8 (h + 1) / heads) * (kv_idx - q_idx), without a table.
ATTNC_API ScoreMod alibi_computed(int heads);
/// score + bias[h, q_idx - kv_idx + offset]; buffer "bias" [heads, 2 * offset].
ATTNC_API ScoreMod relative_bias(const Expr& offset, DType dtype = DType::f32);
/// score + bias[b, h, q_idx, kv_idx]: a dense additive mask; buffer "bias" rank 4.
ATTNC_API ScoreMod absolute_bias(DType dtype = DType::f32);
ATTNC_API ScoreMod times_two();
ATTNC_API ScoreMod squared();
/// score / (1 + 1e-4 (q_idx - kv_idx)^2)
ATTNC_API ScoreMod distance_decay();
/// score * sigmoid(gate[h]); buffer "gate" f32 [heads].
ATTNC_API ScoreMod head_gate();
/// log(max(score, 0) + epsilon)
ATTNC_API ScoreMod log_kernel(const Expr& epsilon = 1e-3f);
/// score - sum over i < 3 of (p[q_idx, i] - p[kv_idx, i])^2; buffer "p" f32 [length, 3].
ATTNC_API ScoreMod small_reduction();

// Masks.

/// q_idx >= kv_idx
ATTNC_API MaskMod causal();
/// q_idx + kv_len - q_len >= kv_idx
ATTNC_API MaskMod causal_lower_right();
/// q_idx >= kv_idx and q_idx - kv_idx < window
ATTNC_API MaskMod sliding_window(const Expr& window);
/// |q_idx - kv_idx| <= window
ATTNC_API MaskMod sliding_window_two_sided(const Expr& window);
/// |q_idx - kv_idx| <= window and (q_idx - kv_idx) mod dilation == 0
ATTNC_API MaskMod dilated(const Expr& window, const Expr& dilation);
/// kv_idx < prefix or q_idx >= kv_idx
ATTNC_API MaskMod prefix_lm(const Expr& prefix);
/// doc[q_idx] == doc[kv_idx]; buffer "doc" i32 [length].
ATTNC_API MaskMod document();
/// |q/W - kv/W| < radius and |q%W - kv%W| < radius on a grid of width W
ATTNC_API MaskMod neighborhood(const Expr& width, const Expr& radius);
/// NATTEN's neighborhood: a (2 radius + 1)^2 window shifted to stay inside a height x width grid.
ATTNC_API MaskMod neighborhood_clamped(const Expr& height, const Expr& width, const Expr& radius);
/// |q_idx - kv_idx| <= window or global[q_idx] or global[kv_idx]; buffer "global" bool [length].
ATTNC_API MaskMod global_or_window(const Expr& window);
/// kv_idx < length[b]; buffer "length" i32 [batch].
ATTNC_API MaskMod padding();
/// q_idx >= kv_idx and q_idx - kv_idx < window[h]; buffer "window" i32 [heads].
ATTNC_API MaskMod window_per_head();
ATTNC_API MaskMod odd_keys_only();
ATTNC_API MaskMod checkerboard();
ATTNC_API MaskMod nothing();
ATTNC_API MaskMod everything();

}  // namespace attnc::stock
