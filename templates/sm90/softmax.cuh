// SPDX-License-Identifier: Apache-2.0
// Online softmax over the two rows a thread shares with its quad.
//
// P = exp2(unit * (s - maximum)), with unit = scale * log2(e) when scores are still raw dot products and 1 when a mod has
// already turned them into log2 units. Three levers:
//   - Lazy maximum: the reference value moves only when a row's maximum has outgrown it by 2^8, so almost no tile after
//     the first rescales the output. P then stays below 2^8, far inside bf16 and fp16, and the final division is exact
//     about it (FlashAttention-4 describes the idea).
//   - Bounded scores: with |s| proved small there is no maximum at all.
//   - Row sums stay per thread until the end, where the quad adds them once.
#pragma once

#include "sm90/wgmma.cuh"

namespace attnc::sm90 {

inline constexpr float lazy_threshold_log2 = 8.0f;

// exp2 of a bounded score must be a normal number of P's type on both sides: bf16 has fp32's exponents, and 2^86 leaves
// room for sums and for V; fp16 reaches 2^15 and loses bits below 2^-14.
template <class Plan, class Mods>
constexpr bool scores_are_bounded() {
  return Mods::has_score_mod && Mods::score_bound_log2 > 0.0f &&
         Mods::score_bound_log2 <= (Plan::is_bf16 ? 87.0f : 12.0f);
}

template <class Plan, class Mods>
class OnlineSoftmax {
 public:
  static constexpr int count = Plan::tile_kv / 2;
  static constexpr bool bounded = scores_are_bounded<Plan, Mods>();
  static constexpr bool raw = !Mods::has_score_mod;

  // `scale` is the softmax scale in natural units; its sign is dealt with by orient().
  __device__ __forceinline__ explicit OnlineSoftmax(float scale) : flip_(raw && scale < 0.0f) {
    // Not zero, so that unit * -inf stays -inf.
    unit_ = raw ? fmaxf(fabsf(scale) * log2_e, 1e-30f) : 1.0f;
  }

  // A negative scale turns the order of raw scores around; from here on larger means larger.
  __device__ __forceinline__ void orient(float (&scores)[count]) const {
    if constexpr (raw) {
      if (flip_) {
#pragma unroll
        for (int i = 0; i < count; ++i) scores[i] = -scores[i];
      }
    }
  }

  // Scores become probabilities relative to the reference value. Returns whether earlier sums must be rescaled by
  // factors(); the answer is the same for all threads of a warp.
  __device__ __forceinline__ bool exponentiate(float (&scores)[count]) {
    bool moved = false;
    if constexpr (!bounded) moved = move_reference(scores);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float shift = bounded ? 0.0f : (reference_[i] == minus_infinity() ? 0.0f : reference_[i] * unit_);
#pragma unroll
      for (int j = 0; j < count / 4; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[4 * j + 2 * i + e];
          score = exp2_approx(bounded ? score : score * unit_ - shift);
        }
      }
    }
    add_to_sums(scores);
    return moved;
  }

  template <int registers>
  __device__ __forceinline__ void rescale(float (&out)[registers]) const {
#pragma unroll
    for (int i = 0; i < registers; ++i) out[i] *= factor_[(i / 2) % 2];
  }

  // Adds the quad's sums together; after this, inverse_sum and log_sum hold.
  __device__ __forceinline__ void finish() {
    sum_[0] = quad_sum(sum_[0]);
    sum_[1] = quad_sum(sum_[1]);
  }

  // 0 for a row that kept no key, so that its output becomes 0.
  __device__ __forceinline__ float inverse_sum(int i) const { return sum_[i] == 0.0f ? 0.0f : 1.0f / sum_[i]; }

  // log2 of the sum of exp2(score); -inf for a row that kept no key.
  __device__ __forceinline__ float log2_sum(int i) const {
    if (sum_[i] == 0.0f) return minus_infinity();
    return (bounded ? 0.0f : reference_[i] * unit_) + log2_approx(sum_[i]);
  }

 private:
  __device__ __forceinline__ bool move_reference(const float (&scores)[count]) {
    const float threshold = raw ? lazy_threshold_log2 / unit_ : lazy_threshold_log2;
    float maximum[2];
    bool outgrown = false;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float chains[2] = {fmaxf(scores[2 * i], scores[2 * i + 1]), fmaxf(scores[4 + 2 * i], scores[4 + 2 * i + 1])};
#pragma unroll
      for (int j = 2; j < count / 4; ++j) {
        chains[j % 2] = fmaxf(chains[j % 2], fmaxf(scores[4 * j + 2 * i], scores[4 * j + 2 * i + 1]));
      }
      maximum[i] = fmaxf(reference_[i], quad_max(fmaxf(chains[0], chains[1])));
      outgrown |= maximum[i] > reference_[i] + threshold;
    }
    if (!__any_sync(0xffffffffu, outgrown)) return false;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float target = maximum[i] == minus_infinity() ? 0.0f : maximum[i];
      factor_[i] = exp2_approx((reference_[i] - target) * unit_);
      sum_[i] *= factor_[i];
      reference_[i] = maximum[i];
    }
    return true;
  }

  __device__ __forceinline__ void add_to_sums(const float (&probabilities)[count]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float chains[2] = {sum_[i], 0.0f};
#pragma unroll
      for (int j = 0; j < count / 4; ++j) {
        chains[0] += probabilities[4 * j + 2 * i];
        chains[1] += probabilities[4 * j + 2 * i + 1];
      }
      sum_[i] = chains[0] + chains[1];
    }
  }

  float unit_;
  bool flip_;
  float reference_[2] = {minus_infinity(), minus_infinity()};
  float sum_[2] = {0.0f, 0.0f};
  float factor_[2] = {1.0f, 1.0f};
};

// Probabilities as the register A operand of the next product: accumulator pairs, in order.
template <bool is_bf16, int count>
__device__ __forceinline__ void pack_probabilities(uint32 (&packed)[count / 2], const float (&probabilities)[count]) {
#pragma unroll
  for (int i = 0; i < count / 2; ++i) {
    packed[i] = pack_pair<is_bf16>(probabilities[2 * i], probabilities[2 * i + 1]);
  }
}

}  // namespace attnc::sm90
