// SPDX-License-Identifier: Apache-2.0
// Online softmax over the two rows a thread shares with its quad. Scores are in log2 units and arrive shifted by
// -reference; P = exp2(score - reference) is packed at once as the register operand of the value product.
//
//   - Lazy reference: it moves only when a row's maximum has outgrown it by 2^8, so almost no tile after the first
//     rescales the output. P stays below 2^10, far inside bf16 and fp16, and the final division makes it exact
//     (FlashAttention-4 describes the idea).
//   - Speculation: a tile is exponentiated against the old reference in one pass that looks for no maximum.
//     Probabilities are positive, so a small sum proves that none was large. The scores are left as they were, so that
//     in the rare tile that has outgrown the reference the slow path starts over from them.
//   - Bounded scores: with |score| proved small, the first reference of a row stays and no maximum is looked for again.
//   - Row sums stay per thread until the end, where the quad adds them once.
#pragma once

#include "contract.cuh"
#include "sm90/wgmma.cuh"

namespace attnc::sm90 {

inline constexpr float lazy_threshold_log2 = 8.0f;
// Sums of one thread's probabilities in a row of a tile, none of which is then larger. The second is beyond any sum of
// bounded scores: it finds NaN, and what the polynomial makes of it.
inline constexpr float largest_tile_sum = 1024.0f;
inline constexpr float largest_bounded_sum = 1e37f;

// With |score| <= bound, the reference is kept within +-(100 - bound), so that P and its sums stay far inside bf16's
// exponents. fp16 has no such room: there P reaches 2^(2 bound), which must stay below 2^15.
template <class Plan, class Mods>
constexpr bool scores_are_bounded() {
  return Mods::has_score_mod && Mods::score_bound_log2 > 0.0f &&
         Mods::score_bound_log2 <= (Plan::is_bf16 ? 87.0f : 7.5f);
}

template <class Plan, class Mods>
class OnlineSoftmax {
 public:
  static constexpr int count = Plan::tile_kv / 2;
  static constexpr bool bounded = scores_are_bounded<Plan, Mods>();

  __device__ __forceinline__ OnlineSoftmax() { reset(); }

  __device__ __forceinline__ void reset() {
    waiting_ = row_waits(0) | row_waits(1);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      reference_[i] = 0.0f;
      sum_[i] = 0.0f;
    }
  }

  // No row of this warp is waiting for its first key: speculate() may be tried. The same for the whole warp.
  __device__ __forceinline__ bool settled() const { return __all_sync(0xffffffffu, waiting_ == 0); }

  // What a score of row i must be shifted by.
  __device__ __forceinline__ float shift(int i) const { return -reference_[i]; }

  // One pass over a tile. `block(j, x)` gives the shifted scores of column block j in accumulator order; if `narrow`,
  // they are right only as long as no unshifted one is beyond +-`score_bound`; but those below may be wrong if each
  // counts for no more than 2^-`tail_log2` of the largest probability. Returns false, and has changed nothing but
  // `packed`, if a row of this warp may have outgrown its reference or left the bound. NaN counts as outgrown.
  // With `known`, the reference is known to fit, and the answer is true.
  template <bool narrow, class Block>
  __device__ __forceinline__ bool speculate(uint32 (&packed)[count / 2], Block block, float score_bound,
                                            float tail_log2, bool known = false) {
    float sum[4];
#pragma unroll
    for (int j = 0; j < count / 4; ++j) {
      float x[4];
      block(j, x);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        x[n] = on_fma_pipe(j) ? exp2_polynomial<bounded>(x[n]) : exp2_approx(x[n]);
        sum[n] = j == 0 ? x[n] : sum[n] + x[n];
      }
      packed[2 * j] = pack_pair<Plan::is_bf16>(x[0], x[1]);
      packed[2 * j + 1] = pack_pair<Plan::is_bf16>(x[2], x[3]);
    }
    const float tile_sum[2] = {sum[0] + sum[1], sum[2] + sum[3]};
    bool proved = true;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float limit = bounded ? largest_bounded_sum : largest_tile_sum;
      if constexpr (narrow) {
        limit = fminf(limit, exp2_approx(score_bound - reference_[i]));
        proved = proved && score_bound + reference_[i] >= tail_log2;
      }
      proved = proved && tile_sum[i] <= limit;
    }
    if (!__all_sync(0xffffffffu, proved || known)) return false;
    sum_[0] += tile_sum[0];
    sum_[1] += tile_sum[1];
    return true;
  }

  // Moves the reference of this warp's rows if one of them has outgrown it or meets its first key, by the extremes of
  // raw dot products: a score is unit * dot + shift. Looks at an eighth of the row's keys unless `all` are wanted or a
  // row that waits for its first key may have it among the others. Returns whether the output so far must be rescaled.
  __device__ __forceinline__ bool find_reference(const float (&dots)[count], float unit, const float (&shift)[2],
                                                 bool all, float (&factor)[2]) {
    float extreme[2], maximum[2], step[2];
    if (unit < 0.0f) {
      row_extremes<false>(extreme, dots, true);
    } else {
      row_extremes<true>(extreme, dots, true);
    }
    if (!all) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        maximum[i] = quad_max(__fmaf_rn(extreme[i], unit, shift[i]));
        all = all || (first(i) && maximum[i] == minus_infinity());
      }
      all = __any_sync(0xffffffffu, all);
    }
    if (all) {
      if (unit < 0.0f) {
        row_extremes<false>(extreme, dots, false);
      } else {
        row_extremes<true>(extreme, dots, false);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) maximum[i] = quad_max(__fmaf_rn(extreme[i], unit, shift[i]));
    }
    return move_reference(maximum, step, factor);
  }

  // The slow path where scores are modified: shifted scores, with -inf where a key is dropped, become probabilities in
  // place. Returns whether the output so far must be rescaled.
  __device__ __forceinline__ bool exponentiate(float (&scores)[count], float (&factor)[2]) {
    const bool moved = move_scores(scores, factor);
    float sum[4] = {sum_[0], 0.0f, sum_[1], 0.0f};
#pragma unroll
    for (int i = 0; i < count; ++i) {
      scores[i] = exp2_approx(scores[i]);
      sum[i % 4] += scores[i];
    }
    sum_[0] = sum[0] + sum[1];
    sum_[1] = sum[2] + sum[3];
    return moved;
  }

  static __device__ __forceinline__ void pack(uint32 (&packed)[count / 2], const float (&probabilities)[count]) {
#pragma unroll
    for (int i = 0; i < count / 2; ++i) {
      packed[i] = pack_pair<Plan::is_bf16>(probabilities[2 * i], probabilities[2 * i + 1]);
    }
  }

  // Adds the quad's sums together; after this, inverse_sum and log_sum hold.
  __device__ __forceinline__ void finish() {
    sum_[0] = quad_sum(sum_[0]);
    sum_[1] = quad_sum(sum_[1]);
  }

  // Within an ulp, and 0 for a row that kept no key, so that its output becomes 0. No sum is subnormal: a row's largest
  // probability is 1 or, where scores are bounded, 2^-100 at least.
  __device__ __forceinline__ float inverse_sum(int i) const {
    return sum_[i] == 0.0f ? 0.0f : reciprocal_approx(sum_[i]);
  }

  // log2 of the sum of exp2(score); -inf for a row that kept no key.
  __device__ __forceinline__ float log2_sum(int i) const {
    if (sum_[i] == 0.0f) return minus_infinity();
    return reference_[i] + log2_approx(sum_[i]);
  }

 private:
  static constexpr int sample_blocks = 2;  // one of so many blocks of columns has a part in a sample of their maximum
  static constexpr __device__ int row_waits(int i) { return 1 << i; }
  __device__ __forceinline__ bool first(int i) const { return (waiting_ & row_waits(i)) != 0; }

  // Spreads Plan::exp2_polynomial_eighths of the columns' blocks evenly.
  static constexpr __device__ bool on_fma_pipe(int block) {
    return (block + 1) * Plan::exp2_polynomial_eighths / 8 != block * Plan::exp2_polynomial_eighths / 8;
  }

  // Of each row, as far as this thread holds it: of a sample, or of that and all the others.
  template <bool largest>
  static __device__ __forceinline__ void row_extremes(float (&extreme)[2], const float (&scores)[count], bool sample) {
    const auto take = [](float& extreme, float score) {
      extreme = largest ? max_or_nan(extreme, score) : min_or_nan(extreme, score);
    };
    if (sample) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        extreme[i] = scores[2 * i];
#pragma unroll
        for (int j = sample_blocks; j < count / 4; j += sample_blocks) take(extreme[i], scores[4 * j + 2 * i]);
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float chains[2] = {extreme[i], scores[2 * i + 1]};
#pragma unroll
      for (int j = 1; j < count / 4; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (e == 1 || j % sample_blocks != 0) take(chains[e], scores[4 * j + 2 * i + e]);
        }
      }
      take(chains[0], chains[1]);
      extreme[i] = chains[0];
    }
  }

  // Shifted scores move with the reference.
  __device__ __forceinline__ bool move_scores(float (&scores)[count], float (&factor)[2]) {
    // The reference of bounded scores moves but once.
    if (bounded && settled()) return false;
    float maximum[2], step[2];
    row_extremes<true>(maximum, scores, true);
    row_extremes<true>(maximum, scores, false);
#pragma unroll
    for (int i = 0; i < 2; ++i) maximum[i] = quad_max(maximum[i]);
    if (!move_reference(maximum, step, factor)) return false;
#pragma unroll
    for (int i = 0; i < count; ++i) scores[i] -= step[i / 2 % 2];
    return true;
  }

  // `maximum` is that of the row's shifted scores in this tile. The first reference is the maximum itself, which makes
  // a row with a single key exact.
  __device__ __forceinline__ bool move_reference(const float (&maximum)[2], float (&step)[2], float (&factor)[2]) {
    bool any = false;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      any |= first(i) ? maximum[i] != minus_infinity() : !bounded && !(maximum[i] <= lazy_threshold_log2);
    }
    if (!__any_sync(0xffffffffu, any)) return false;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      step[i] = maximum[i] == minus_infinity() ? 0.0f : maximum[i];
      if constexpr (bounded) {
        constexpr float room = 100.0f - Mods::score_bound_log2;
        step[i] = first(i) ? fminf(fmaxf(step[i], -room), room) : 0.0f;
      } else if (!first(i)) {
        step[i] = max_or_nan(step[i], 0.0f);
      }
      factor[i] = first(i) ? 0.0f : exp2_approx(-step[i]);
      sum_[i] *= factor[i];
      reference_[i] += step[i];
      if (maximum[i] != minus_infinity()) waiting_ &= ~row_waits(i);
    }
    return true;
  }

  float reference_[2];
  float sum_[2];
  int waiting_;  // row_waits(i) of the rows that have not met a key
};

}  // namespace attnc::sm90
