// SPDX-License-Identifier: Apache-2.0
// The output accumulator and its products: O += P V for one step.
#pragma once

#include "sm80/scores.cuh"

namespace attnc {
namespace sm80 {

// Element e of [i][n] belongs to thread row 2 * i + e / 2 and to column 8 * n + 2 * (lane % 4) + e % 2.
template <int row_tiles, int out_tiles>
struct OutputFragments {
  float x[row_tiles][out_tiles][4];
};
template <class S>
using Accumulator = OutputFragments<S::row_tiles, S::out_tiles>;

// The probabilities of a step as A operands: 16-bit pairs, or for fp32 the floats themselves.
template <class S>
struct Probabilities {
  uint32 x[S::row_tiles][S::is_f32 ? S::key_tiles : S::key_tiles / 2][4];
};

template <class Plan, class S>
__forceinline__ Probabilities<S> to_operand(const Scores<S>& p) {
  Probabilities<S> a;
#pragma unroll
  for (int i = 0; i < S::row_tiles; ++i) {
    if constexpr (!S::is_f32) {
#pragma unroll
      for (int k = 0; k < S::key_tiles / 2; ++k) {
        a.x[i][k][0] = pack<Plan::dtype>(p.x[i][2 * k][0], p.x[i][2 * k][1]);
        a.x[i][k][1] = pack<Plan::dtype>(p.x[i][2 * k][2], p.x[i][2 * k][3]);
        a.x[i][k][2] = pack<Plan::dtype>(p.x[i][2 * k + 1][0], p.x[i][2 * k + 1][1]);
        a.x[i][k][3] = pack<Plan::dtype>(p.x[i][2 * k + 1][2], p.x[i][2 * k + 1][3]);
      }
    } else {
      // An accumulator holds keys 2t and 2t+1 where the operand wants t and t+4: the keys of a product may be taken in
      // any order, so V's rows are read in the accumulator's order instead.
#pragma unroll
      for (int k = 0; k < S::key_tiles; ++k) {
        a.x[i][k][0] = __float_as_uint(p.x[i][k][0]);
        a.x[i][k][1] = __float_as_uint(p.x[i][k][2]);
        a.x[i][k][2] = __float_as_uint(p.x[i][k][1]);
        a.x[i][k][3] = __float_as_uint(p.x[i][k][3]);
      }
    }
  }
  return a;
}

// Where a lane reads V. 16-bit: matrices (keys 0-7, first chunk), (keys 8-15, first), (keys 0-7, second), (8-15,
// second), transposed on the way. fp32: single words, keys 2t and 2t+1 of eight, column lane / 4 of eight.
template <class S>
struct ValueLaneAddress {
  LaneAddress<typename S::VRows> even, odd;

  __forceinline__ explicit ValueLaneAddress(uint32 v_address)
      : even(v_address + word_offset(), lane_row(), lane_chunk()),
        odd(v_address + word_offset(), lane_row() + (S::is_f32 ? 1 : 0), lane_chunk()) {}

 private:
  static __forceinline__ int lane() { return thread_index() % 32; }
  static __forceinline__ int lane_row() { return S::is_f32 ? 2 * (lane() % 4) : lane() % 16; }
  static __forceinline__ int lane_chunk() { return lane() / 16; }
  static __forceinline__ int word_offset() { return S::is_f32 ? lane() / 4 % 4 * 4 : 0; }
};

// A barrier of one warp. Loads of shared memory cannot be hoisted above it, as they otherwise are until the registers
// run out; __syncwarp() does not last that far into the assembler.
__forceinline__ void fence_loads() { asm volatile("bar.sync %0, 32;" ::"r"(1 + thread_index() / 32) : "memory"); }

// o += P V for keys [first_row, first_row + step_kv) of the tile that `v` points into. `copies` are started on the way.
template <class Plan, class S, class Copies>
__forceinline__ void accumulate(Accumulator<S>& o, const Probabilities<S>& p, const ValueLaneAddress<S>& v,
                                int first_row, Copies& copies) {
  if constexpr (!S::is_f32) {
#pragma unroll
    for (int k = 0; k < S::key_tiles / 2; ++k) {
#pragma unroll
      for (int n = 0; n < S::out_tiles; n += 2) {
        copies.start_slot((k * S::out_tiles + n) / 2, S::key_tiles * S::out_tiles / 4);
        const Fragment4 values = load_matrices_transposed(v.even.at(first_row + 16 * k, n));
#pragma unroll
        for (int i = 0; i < S::row_tiles; ++i) {
          multiply_add<Plan::dtype>(o.x[i][n], p.x[i][k], values.x[0], values.x[1]);
          multiply_add<Plan::dtype>(o.x[i][n + 1], p.x[i][k], values.x[2], values.x[3]);
        }
      }
    }
  } else {
    // As for the scores: three tf32 products, short chains, rounded additions.
    // A wide output leaves fewer registers for a chain.
    constexpr int chain = S::out_tiles > 24 ? 1 : 2;
#pragma unroll
    for (int k0 = 0; k0 < S::key_tiles; k0 += chain) {
      if (S::out_tiles > 24) fence_loads();
      uint32 p_high[S::row_tiles][chain][4], p_low[S::row_tiles][chain][4];
#pragma unroll
      for (int i = 0; i < S::row_tiles; ++i) {
#pragma unroll
        for (int c = 0; c < chain; ++c) {
#pragma unroll
          for (int r = 0; r < 4; ++r) split_tf32(p.x[i][k0 + c][r], p_high[i][c][r], p_low[i][c][r]);
        }
      }
#pragma unroll
      for (int n = 0; n < S::out_tiles; ++n) {
        if (S::out_tiles > 16 && n % 4 == 0) fence_loads();
        uint32 v_high[chain][2], v_low[chain][2];
#pragma unroll
        for (int c = 0; c < chain; ++c) {
          const int row = first_row + 8 * (k0 + c);
          split_tf32(load_shared_word(v.even.at(row, 2 * n)), v_high[c][0], v_low[c][0]);
          split_tf32(load_shared_word(v.odd.at(row, 2 * n)), v_high[c][1], v_low[c][1]);
        }
#pragma unroll
        for (int i = 0; i < S::row_tiles; ++i) {
          float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
          for (int c = 0; c < chain; ++c) {
            multiply_add<DType::f32>(sum, p_low[i][c], v_high[c][0], v_high[c][1]);
            multiply_add<DType::f32>(sum, p_high[i][c], v_low[c][0], v_low[c][1]);
          }
#pragma unroll
          for (int c = 0; c < chain; ++c) multiply_add<DType::f32>(sum, p_high[i][c], v_high[c][0], v_high[c][1]);
#pragma unroll
          for (int e = 0; e < 4; ++e) o.x[i][n][e] += sum[e];
        }
      }
    }
  }
}

}  // namespace sm80
}  // namespace attnc
