// SPDX-License-Identifier: Apache-2.0
// Scores of one step: the raw dot products of a warp's query rows with step_kv keys.
#pragma once

#include "sm80/mma.cuh"

namespace attnc {
namespace sm80 {

// Accumulator fragments. Element e of [i][j] belongs to thread row 2 * i + e / 2 and to key 8 * j + 2 * (lane % 4) + e
// % 2 of the step.
template <class S>
struct Scores {
  float x[S::row_tiles][S::key_tiles][4];
};

// Where a lane reads Q, for the warp's own rows.
template <class Plan, class S>
__forceinline__ LaneAddress<typename S::QkRows> query_lane_address(uint32 q_address) {
  const int thread = thread_index();
  return {q_address, thread / 32 * Plan::rows_per_warp + thread % 16, thread % 32 / 16};
}

// Where a lane reads K: matrices (keys 0-7, first chunk), (keys 0-7, second), (keys 8-15, first), (keys 8-15, second).
template <class S>
__forceinline__ LaneAddress<typename S::QkRows> key_lane_address(uint32 k_address) {
  const int lane = thread_index() % 32;
  return {k_address, lane % 8 + lane / 16 * 8, lane / 8 % 2};
}

template <class S>
__forceinline__ void clear(Scores<S>& s) {
#pragma unroll
  for (int i = 0; i < S::row_tiles; ++i) {
#pragma unroll
    for (int j = 0; j < S::key_tiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) s.x[i][j][e] = 0.0f;
    }
  }
}

// s += the products of 16 columns of Q and K, the d-th 16 of where the addresses point.
template <class Plan, class S>
__forceinline__ void multiply_scores(Scores<S>& s, const LaneAddress<typename S::QkRows>& q,
                                     const LaneAddress<typename S::QkRows>& k, int first_row, int d) {
  Fragment4 queries[S::row_tiles];
#pragma unroll
  for (int i = 0; i < S::row_tiles; ++i) queries[i] = load_matrices(q.at(16 * i, 2 * d));
#pragma unroll
  for (int j = 0; j < S::key_tiles; j += 2) {
    const Fragment4 keys = load_matrices(k.at(first_row + 8 * j, 2 * d));
#pragma unroll
    for (int i = 0; i < S::row_tiles; ++i) {
      multiply_add<Plan::dtype>(s.x[i][j], queries[i].x, keys.x[0], keys.x[1]);
      multiply_add<Plan::dtype>(s.x[i][j + 1], queries[i].x, keys.x[2], keys.x[3]);
    }
  }
}

// The same for fp32 and the d-th and next 8 columns: three tf32 products for one fp32 product. The tensor core
// truncates when it accumulates, so only a few products are chained, small terms first, and the chains are summed by
// rounded additions.
template <class S>
__forceinline__ void multiply_scores_f32(Scores<S>& s, const LaneAddress<typename S::QkRows>& q,
                                         const LaneAddress<typename S::QkRows>& k, int first_row, int d) {
  constexpr int chain = 2;
  uint32 q_high[S::row_tiles][chain][4], q_low[S::row_tiles][chain][4];
#pragma unroll
  for (int i = 0; i < S::row_tiles; ++i) {
#pragma unroll
    for (int c = 0; c < chain; ++c) {
      const Fragment4 queries = load_matrices(q.at(16 * i, 2 * (d + c)));
#pragma unroll
      for (int r = 0; r < 4; ++r) split_tf32(queries.x[r], q_high[i][c][r], q_low[i][c][r]);
    }
  }
#pragma unroll
  for (int j = 0; j < S::key_tiles; j += 2) {
    uint32 k_high[chain][4], k_low[chain][4];
#pragma unroll
    for (int c = 0; c < chain; ++c) {
      const Fragment4 keys = load_matrices(k.at(first_row + 8 * j, 2 * (d + c)));
#pragma unroll
      for (int r = 0; r < 4; ++r) split_tf32(keys.x[r], k_high[c][r], k_low[c][r]);
    }
#pragma unroll
    for (int i = 0; i < S::row_tiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int c = 0; c < chain; ++c) {
          multiply_add<DType::f32>(sum, q_low[i][c], k_high[c][2 * half], k_high[c][2 * half + 1]);
          multiply_add<DType::f32>(sum, q_high[i][c], k_low[c][2 * half], k_low[c][2 * half + 1]);
        }
#pragma unroll
        for (int c = 0; c < chain; ++c) {
          multiply_add<DType::f32>(sum, q_high[i][c], k_high[c][2 * half], k_high[c][2 * half + 1]);
        }
#pragma unroll
        for (int e = 0; e < 4; ++e) s.x[i][j + half][e] += sum[e];
      }
    }
  }
}

// s = Q K^T for keys [first_row, first_row + step) of the tile that `k` points into. Q is read from shared memory anew
// for each step: the registers go to the scores. fp32 walks the head dimension in a loop: unrolled, it takes several
// times as long to compile and spills. For 16 bits the same loop costs up to a tenth of the speed.
template <class Plan, class S>
__forceinline__ void compute_scores(Scores<S>& s, const LaneAddress<typename S::QkRows>& q,
                                    const LaneAddress<typename S::QkRows>& k, int first_row) {
  clear(s);
  if constexpr (!S::is_f32) {
#pragma unroll
    for (int d = 0; d < S::depths; ++d) multiply_scores<Plan>(s, q, k, first_row, d);
  } else {
    constexpr int unrolled = S::out_tiles <= 24 && S::depths % 4 == 0 ? 4 : 2;
#pragma unroll 1
    for (int first = 0; first < S::depths; first += unrolled) {
#pragma unroll
      for (int d = 0; d < unrolled; d += 2) multiply_scores_f32(s, q, k, first_row, first + d);
    }
  }
}

}  // namespace sm80
}  // namespace attnc
