// SPDX-License-Identifier: Apache-2.0
// Online softmax with a lazy maximum.
//
// The maximum that exponents are relative to is raised only when a score exceeds it by more than `slack_log2`; until
// then exponentials grow to at most 2^slack. So the common step needs no reduction across lanes and no rescale of the
// output: each thread compares its own scores with a limit and a warp vote decides. (The threshold is that of
// FlashAttention-4; the vote per warp replaces its correction warps.)
#pragma once

#include "contract.cuh"
#include "sm80/accumulate.cuh"

namespace attnc {
namespace sm80 {

inline constexpr float slack_log2 = 8.0f;

// Where a score mod's bound makes any maximum unnecessary: exp2 of the bound must fit P's type, and its sums fp32.
template <class Plan, class Mods>
struct BoundedScores {
  static constexpr float bound = Mods::score_bound_log2;
  static constexpr float largest_bound = Plan::dtype == DType::f16 ? 10.0f : 90.0f;
  // Exponents above this are shifted down, to leave room for sums over keys and for large V.
  static constexpr float largest_exponent = 60.0f;

  static constexpr bool holds = Mods::has_score_mod && bound > 0.0f && bound <= largest_bound;
  static constexpr float shift = bound > largest_exponent ? bound - largest_exponent : 0.0f;
};

template <class Plan, class Mods, class S>
struct Softmax {
  static constexpr bool bounded = BoundedScores<Plan, Mods>::holds;

  float to_log2;             // log2 units per unit of the scores in registers
  float reference[S::rows];  // the maximum that exponents are relative to, in units of the scores; -inf: no key yet
  float sum[S::rows];        // of this thread's exponentials

  __forceinline__ explicit Softmax(float scale) {
    // A score mod returns log2 units. Raw dot products are scaled inside the exponential; the sign of a negative scale
    // has been folded into Q, and a scale of 0 must not turn a masked -inf into NaN.
    to_log2 = Mods::has_score_mod ? 1.0f : fmaxf(fabsf(scale) * log2_e, 1e-37f);
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      reference[r] = bounded ? BoundedScores<Plan, Mods>::shift : -infinity();
      sum[r] = 0.0f;
    }
  }

  __forceinline__ float origin_log2(int r) const {
    return reference[r] == -infinity() ? 0.0f : reference[r] * to_log2;
  }

  // Raises the references, and rescales what was accumulated under the old ones, where the step's scores demand it.
  __forceinline__ void raise_references(const Scores<S>& s, Accumulator<S>& o) {
    if constexpr (bounded) return;
    const float slack = __fdividef(slack_log2, to_log2);
    float largest[S::rows];
    bool raise = false;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      largest[r] = s.x[r / 2][0][r % 2 * 2];
#pragma unroll
      for (int j = 0; j < S::key_tiles; ++j) {
        largest[r] = fmaxf(largest[r], fmaxf(s.x[r / 2][j][r % 2 * 2], s.x[r / 2][j][r % 2 * 2 + 1]));
      }
      raise |= largest[r] > reference[r] + slack;
    }
    if (!__any_sync(0xffffffffu, raise)) return;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      float row_largest = fmaxf(largest[r], __shfl_xor_sync(0xffffffffu, largest[r], 1));
      row_largest = fmaxf(row_largest, __shfl_xor_sync(0xffffffffu, row_largest, 2));
      if (row_largest > reference[r] + slack) {
        const float old_origin = origin_log2(r);
        const bool first = reference[r] == -infinity();
        reference[r] = row_largest;
        // Nothing was accumulated before a row's first key; 0 * inf would be NaN.
        const float rescale = first ? 0.0f : exp2_approx(old_origin - origin_log2(r));
        sum[r] *= rescale;
#pragma unroll
        for (int n = 0; n < S::out_tiles; ++n) {
          o.x[r / 2][n][r % 2 * 2] *= rescale;
          o.x[r / 2][n][r % 2 * 2 + 1] *= rescale;
        }
      }
    }
  }

  // Scores to exponentials, in place, and their row sums: share `part` of `parts` of the step's fragments.
  __forceinline__ void exponentials(Scores<S>& s, int part, int parts) {
    constexpr int fragments = S::row_tiles * S::key_tiles;
#pragma unroll
    for (int fragment = 0; fragment < fragments; ++fragment) {
      if (fragment * parts / fragments != part) continue;
      const int i = fragment % S::row_tiles;
      const int j = fragment / S::row_tiles;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = 2 * i + e / 2;
        float exponent = s.x[i][j][e];
        if constexpr (!Mods::has_score_mod) {
          exponent = fmaf(exponent, to_log2, -origin_log2(r));
        } else if constexpr (!bounded || BoundedScores<Plan, Mods>::shift > 0.0f) {
          exponent -= origin_log2(r);
        }
        s.x[i][j][e] = exp2_approx(exponent);
      }
      sum[2 * i] += s.x[i][j][0] + s.x[i][j][1];
      sum[2 * i + 1] += s.x[i][j][2] + s.x[i][j][3];
    }
  }
  __forceinline__ void exponentials(Scores<S>& s) { exponentials(s, 0, 1); }

  // Row sums over the four threads that share a row.
  __forceinline__ void finish() {
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
      sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
    }
  }

  // Log2 of the row's sum of exp(score); -inf for a row without keys.
  __forceinline__ float lse_log2(int r) const {
    return sum[r] == 0.0f ? -infinity() : log2_approx(sum[r]) + origin_log2(r);
  }
  __forceinline__ float normalizer(int r) const { return sum[r] == 0.0f ? 0.0f : 1.0f / sum[r]; }
};

}  // namespace sm80
}  // namespace attnc
