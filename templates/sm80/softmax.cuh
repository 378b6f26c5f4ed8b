// SPDX-License-Identifier: Apache-2.0
// Online softmax with a lazy maximum.
//
// The maximum that exponents are relative to is raised only when a score exceeds it by more than `slack_log2`; until
// then exponentials grow to at most 2^slack. So the common step needs no reduction across lanes and no rescale of the
// output: each thread compares its own scores with a limit and a warp vote decides. (The threshold is that of
// FlashAttention-4; the vote per warp replaces its correction warps.)
//
// Where the exponentials' type has the range of fp32, the long steps of full tiles do not look at the maximum at all
// (`speculative`): they begin once every row has an origin, and the row sums show afterwards whether it still serves.
// A sum that has grown large sends the warp through a step that raises origins; one that has grown beyond what O can be
// trusted with makes the CTA work off its tile anew, with maxima throughout. That takes scores that rise by more than
// 40 (natural units) after a row's first keys, or none that are finite.
#pragma once

#include "contract.cuh"
#include "sm80/accumulate.cuh"

namespace attnc {
namespace sm80 {

inline constexpr float slack_log2 = 8.0f;
// For fp32 less: the rounding error of an exponent grows with its size, and is a relative error of the exponential.
inline constexpr float slack_f32_log2 = 1.0f;
// Row sums above which speculation raises the origin, and those that it does not survive: 2^40 and 2^60.
inline constexpr float large_sum = 1.099511627776e12f;
inline constexpr float largest_sum = 1.152921504606847e18f;

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

// An optional member of Mods: `static constexpr bool score_is_natural = true` when score() returns natural units. For
// fp32, where log2 units, larger by half, would cost large scores (ALiBi far from the diagonal) a bit.
template <class Mods, class = void>
inline constexpr bool score_is_natural = false;
template <class Mods>
inline constexpr bool score_is_natural<Mods, decltype(void(Mods::score_is_natural))> = Mods::score_is_natural;

template <class Plan, class Mods, class S>
struct Softmax {
  // Whether scores still have to be scaled, inside the exponential. Otherwise they come as exponents already: log2
  // units, less the origin, a subtraction that is often part of the score mod's last multiply-add.
  static constexpr bool scaled = !Mods::has_score_mod || score_is_natural<Mods>;
  static constexpr bool shifted = !scaled;
  static constexpr bool bounded = BoundedScores<Plan, Mods>::holds;
  // Whether full tiles are worked off without looking at the maximum. (fp16 has no room for it: its exponentials end at
  // 2^16.) Where masked tiles take the same steps, and so the same code, nothing would be gained.
  static constexpr bool speculative = Plan::dtype == DType::bf16 && !bounded && S::out_tiles <= 8 &&
                                      Mods::mask_kind != MaskKind::general &&
                                      MaskedShape<Plan, Mods>::step_keys != S::step_keys;
  // Row sums of the exponentials as rounded for the product with V, by the tensor core: rounding then cancels in the
  // quotient, which bounded scores need (their largest exponential is not 1), and the adder has less to do. Not where
  // the output already fills the registers.
  static constexpr bool sums_by_mma = !S::is_f32 && (bounded || S::row_tiles * S::out_tiles <= 16);

  const float& scale;     // the softmax scale, natural units
  float origin[S::rows];  // what exponents are relative to, log2 units: a recent maximum of the row
  // Row sums, of row r in element r % 2 * row_stride of [r / 2]: those by the tensor core as an accumulator fragment,
  // whose columns are all the same. The others are over this thread's keys only, until finish().
  static constexpr int row_stride = sums_by_mma ? 2 : 1;
  float sum[S::row_tiles][2 * row_stride];

  __forceinline__ explicit Softmax(const float& scale) : scale(scale) { start(); }

  __forceinline__ void start() {
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      // Below every score until a row keeps its first key, and finite, so that exponents of -inf stay -inf.
      origin[r] = bounded ? BoundedScores<Plan, Mods>::shift : unset_origin;
#pragma unroll
      for (int column = 0; column < row_stride; ++column) sum[r / 2][r % 2 * row_stride + column] = 0.0f;
    }
  }

  // Log2 units per unit of the scores in registers, computed anew at every call: it would take a register across the
  // whole loop. A score mod returns log2 units, or natural ones where it says so. Raw dot products are scaled inside
  // the exponential; the sign of a negative scale has been folded into Q, and a scale of 0 must not turn a masked -inf
  // into NaN.
  __forceinline__ float to_log2() const {
    if constexpr (Mods::has_score_mod) return scaled ? log2_e : 1.0f;
    float size;
    asm volatile("abs.f32 %0, %1;" : "=f"(size) : "f"(scale));
    return fmaxf(size * log2_e, 1e-37f);
  }

  // What modify_scores adds to a row's scores: nothing yet where no key has been kept.
  __forceinline__ float shift(int r) const { return is_unset(r) ? 0.0f : -origin[r]; }

  // Whether a long step may go without the maximum, for all rows of the warp.
  __forceinline__ bool may_speculate() const {
    bool ready = true;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) ready = ready && !is_unset(r) && row_sum(r) <= large_sum;
    return __all_sync(0xffffffffu, ready);
  }
  // Whether speculation went wrong: a sum is too large, infinite or NaN.
  __forceinline__ bool has_overflowed() const {
    bool right = true;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) right = right && row_sum(r) <= largest_sum;
    return !right;
  }

  // Raises the origins, and rescales what was accumulated under the old ones, where the step's scores demand it.
  template <class Step>
  __forceinline__ void raise_origins(Scores<Step>& s, Accumulator<S>& o) {
    if constexpr (bounded) return;
    const float to_log2 = this->to_log2();
    float largest[S::rows];
    bool raise = false;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      largest[r] = s.x[r / 2][0][r % 2 * 2];
#pragma unroll
      for (int j = 0; j < Step::key_tiles; ++j) {
        largest[r] = fmaxf(largest[r], fmaxf(s.x[r / 2][j][r % 2 * 2], s.x[r / 2][j][r % 2 * 2 + 1]));
      }
      raise |= exponent(r, largest[r], to_log2) > limit(r);
      if constexpr (speculative) raise |= !(row_sum(r) <= large_sum);
    }
    if (!__any_sync(0xffffffffu, raise)) return;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      float row_largest = fmaxf(largest[r], __shfl_xor_sync(0xffffffffu, largest[r], 1));
      row_largest = fmaxf(row_largest, __shfl_xor_sync(0xffffffffu, row_largest, 2));
      float rise = exponent(r, row_largest, to_log2), raised = scaled ? row_largest * to_log2 : row_largest - shift(r);
      if constexpr (speculative) {
        float row_total = row_sum(r);
        if constexpr (!sums_by_mma) row_total = quad_sum(row_total);
        const float by_sum = log2_approx(row_total);
        if (!(row_total <= large_sum) && !(by_sum <= rise)) {
          rise = by_sum;
          raised = origin[r] + by_sum;
        }
      }
      if (rise > limit(r)) {
        const float rescale = is_unset(r) ? 0.0f : exp2_approx(origin[r] - raised);
        origin[r] = raised;
        if constexpr (shifted) {
#pragma unroll
          for (int j = 0; j < Step::key_tiles; ++j) {
            s.x[r / 2][j][r % 2 * 2] -= rise;
            s.x[r / 2][j][r % 2 * 2 + 1] -= rise;
          }
        }
#pragma unroll
        for (int column = 0; column < row_stride; ++column) sum[r / 2][r % 2 * row_stride + column] *= rescale;
#pragma unroll
        for (int n = 0; n < S::out_tiles; ++n) {
          o.x[r / 2][n][r % 2 * 2] *= rescale;
          o.x[r / 2][n][r % 2 * 2 + 1] *= rescale;
        }
      }
    }
  }

  // Scores to exponentials, in place.
  template <class Step>
  __forceinline__ void exponentials(Scores<Step>& s) {
    const float to_log2 = this->to_log2();
#pragma unroll
    for (int j = 0; j < Step::key_tiles; ++j) {
#pragma unroll
      for (int i = 0; i < S::row_tiles; ++i) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          s.x[i][j][e] = exp2_approx(exponent(2 * i + e / 2, s.x[i][j][e], to_log2));
        }
        if constexpr (!sums_by_mma) {
          sum[i][0] += s.x[i][j][0] + s.x[i][j][1];
          sum[i][1] += s.x[i][j][2] + s.x[i][j][3];
        }
      }
    }
  }

  // Adds a step's rounded exponentials to the row sums, as a product with ones.
  template <class Step>
  __forceinline__ void add_to_sums(const Probabilities<Step>& p) {
    if constexpr (sums_by_mma) {
      constexpr uint32 ones = Plan::dtype == DType::bf16 ? 0x3f803f80u : 0x3c003c00u;
#pragma unroll
      for (int k = 0; k < Step::key_tiles / 2; ++k) {
#pragma unroll
        for (int i = 0; i < S::row_tiles; ++i) multiply_add<Plan::dtype>(sum[i], p.x[i][k], ones, ones);
      }
    }
  }

  __forceinline__ void finish() {
    if constexpr (!sums_by_mma) {
#pragma unroll
      for (int r = 0; r < S::rows; ++r) {
        sum[r / 2][r % 2] = quad_sum(row_sum(r));
      }
    }
  }

  __forceinline__ float row_sum(int r) const { return sum[r / 2][r % 2 * row_stride]; }
  // Log2 of the row's sum of exp(score); -inf for a row without keys.
  __forceinline__ float lse_log2(int r) const {
    return row_sum(r) == 0.0f ? -infinity() : log2_approx(row_sum(r)) + origin[r];
  }
  __forceinline__ float normalizer(int r) const { return row_sum(r) == 0.0f ? 0.0f : 1.0f / row_sum(r); }

 private:
  static constexpr float unset_origin = -3e38f;

  static __forceinline__ float quad_sum(float value) {
    value += __shfl_xor_sync(0xffffffffu, value, 1);
    return value + __shfl_xor_sync(0xffffffffu, value, 2);
  }

  __forceinline__ bool is_unset(int r) const { return !bounded && origin[r] == unset_origin; }
  __forceinline__ float exponent(int r, float score, float to_log2) const {
    return scaled ? fmaf(score, to_log2, -origin[r]) : score;
  }
  // The exponent above which a row's origin is raised. The first key sets it, however small its score.
  __forceinline__ float limit(int r) const {
    return shifted && is_unset(r) ? -infinity() : S::is_f32 ? slack_f32_log2 : slack_log2;
  }
};

}  // namespace sm80
}  // namespace attnc
