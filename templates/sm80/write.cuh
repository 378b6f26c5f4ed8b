// SPDX-License-Identifier: Apache-2.0
// The end of a work tile: normalise, convert and write the output and the log-sum-exp.
#pragma once

#include "sm80/memory.cuh"
#include "sm80/modify.cuh"
#include "sm80/softmax.cuh"

namespace attnc {
namespace sm80 {

// fp32 rows, each thread its own pairs of columns. `aligned`: rows start at multiples of 8 bytes.
template <class Plan, class S, bool aligned>
__forceinline__ void write_row(float* row, const Accumulator<S>& o, int r) {
  const int first_column = 2 * (static_cast<int>(threadIdx.x) % 4);
  row += first_column;
#pragma unroll
  for (int n = 0; n < S::out_tiles; ++n) {
    const float2 pair{o.x[r / 2][n][r % 2 * 2], o.x[r / 2][n][r % 2 * 2 + 1]};
    const int columns_left = Plan::head_dim_v % 8 == 0 ? 8 : Plan::head_dim_v - 8 * n - first_column;
    if constexpr (aligned && Plan::head_dim_v % 2 == 0) {
      if (8 * n < Plan::head_dim_v && columns_left > 0) *reinterpret_cast<float2*>(row + 8 * n) = pair;
    } else {
      if (8 * n < Plan::head_dim_v && columns_left > 0) row[8 * n] = pair.x;
      if (8 * n < Plan::head_dim_v && columns_left > 1) row[8 * n + 1] = pair.y;
    }
  }
}

// 16-bit output through shared memory, so that rows leave as whole 16-byte chunks. Each warp stages its own rows.
template <class Plan, class Mods, class S>
__forceinline__ void write_staged(uint8* staging, uint8* out, int64 row_stride_elems, const WorkTile<Mods>& work,
                                  const Accumulator<S>& o) {
  using Rows = typename S::VRows;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const LaneAddress<Rows> target(shared_address(staging) + 4 * (lane % 4), ThreadRows<Plan, Mods>::first(), 0);
#pragma unroll
  for (int n = 0; n < S::out_tiles; ++n) {
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      store_shared_word(target.at(8 * r, n), pack<Plan::dtype>(o.x[r / 2][n][r % 2 * 2], o.x[r / 2][n][r % 2 * 2 + 1]));
    }
  }
  __syncwarp();
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * Plan::rows_per_warp;
  const int end = min(work.q_last + 1 - work.q_first - warp_row, Plan::rows_per_warp) * Rows::chunks;
#pragma unroll 2
  for (int i = lane; i < end; i += 32) {
    const int row = warp_row + i / Rows::chunks;
    const int chunk = i % Rows::chunks;
    const uint4 data = *reinterpret_cast<const uint4*>(staging + Rows::offset(row, chunk));
    uint8* chunk_out = out + ((work.q_first + row) * row_stride_elems + chunk * 8) * 2;
    if (chunk * 8 + 8 <= Plan::head_dim_v) {
      *reinterpret_cast<uint4*>(chunk_out) = data;
    } else if constexpr (Plan::head_dim_v % 8 != 0) {
      const uint32 words[4] = {data.x, data.y, data.z, data.w};
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        if (chunk * 8 + e < Plan::head_dim_v) {
          reinterpret_cast<uint16*>(chunk_out)[e] = static_cast<uint16>(words[e / 2] >> (e % 2 * 16));
        }
      }
    }
  }
}

// 16-bit output element by element: rows aligned to less than 16 bytes.
template <class Plan, class S>
__forceinline__ void write_row_16_bit(uint16* row, const Accumulator<S>& o, int r) {
  const int first_column = 2 * (static_cast<int>(threadIdx.x) % 4);
  row += first_column;
#pragma unroll
  for (int n = 0; n < S::out_tiles; ++n) {
    const uint32 pair = pack<Plan::dtype>(o.x[r / 2][n][r % 2 * 2], o.x[r / 2][n][r % 2 * 2 + 1]);
    if (8 * n + first_column < Plan::head_dim_v) row[8 * n] = static_cast<uint16>(pair);
    if (8 * n + first_column + 1 < Plan::head_dim_v) row[8 * n + 1] = static_cast<uint16>(pair >> 16);
  }
}

// All of a work tile's results: the output, or with split keys the fp32 partial results for the combine kernel. Reads
// of shared memory by any warp must be over.
template <class Plan, class Mods, class S>
__forceinline__ void write_results(uint8* smem, const ForwardArguments& args, const WorkTile<Mods>& work,
                                   Accumulator<S>& o, const Softmax<Plan, Mods, S>& softmax) {
  const TileContext& t = work.context;
  const bool partial = args.kv_splits > 1;
#pragma unroll
  for (int r = 0; r < S::rows; ++r) {
    const float normalizer = softmax.normalizer(r);
#pragma unroll
    for (int n = 0; n < S::out_tiles; ++n) {
      o.x[r / 2][n][r % 2 * 2] *= normalizer;
      o.x[r / 2][n][r % 2 * 2 + 1] *= normalizer;
    }
  }
  uint8* out = const_cast<uint8*>(matrix_of(args.out, t.b, t.h, S::element_bytes));
  if (S::stages_output && !partial) write_staged<Plan, Mods, S>(smem, out, args.out.row_stride_elems, work, o);

  // Rows of the partial results lie densely: [split, batch, head, row].
  const int64 first_partial_row =
      ((static_cast<int64>(work.split) * args.batch + t.b) * args.q_heads + t.h) * args.q_len;
  float* lse = partial ? args.lse_partial + first_partial_row
                       : args.lse + t.b * args.lse_batch_stride_elems + t.h * args.lse_head_stride_elems;
  const bool wants_lse = (partial || args.lse != nullptr) && threadIdx.x % 4 == 0;
  const int first_row = ThreadRows<Plan, Mods>::first();
#pragma unroll
  for (int r = 0; r < S::rows; ++r) {
    const int q_idx = work.q_first + first_row + 8 * r;
    if (q_idx > work.q_last) break;
    if (wants_lse) lse[q_idx] = softmax.lse_log2(r) * (partial ? 1.0f : ln_2);
    float* partial_row = args.out_partial + (first_partial_row + q_idx) * Plan::head_dim_v;
    uint8* row = out + q_idx * args.out.row_stride_elems * S::element_bytes;
    if constexpr (S::is_f32) {
      write_row<Plan, S, (Plan::vector_bytes >= 8)>(partial ? partial_row : reinterpret_cast<float*>(row), o, r);
    } else {
      if (partial) {
        write_row<Plan, S, true>(partial_row, o, r);
      } else if constexpr (!S::stages_output) {
        write_row_16_bit<Plan, S>(reinterpret_cast<uint16*>(row), o, r);
      }
    }
  }
}

}  // namespace sm80
}  // namespace attnc
