// SPDX-License-Identifier: Apache-2.0
// The end of a work tile: normalise, convert and write the output and the log-sum-exp.
#pragma once

#include "sm80/memory.cuh"
#include "sm80/modify.cuh"
#include "sm80/softmax.cuh"

namespace attnc {
namespace sm80 {

// fp32 partial results of one split, for the combine kernel.
template <class Plan, class Mods, class S>
__forceinline__ void write_partial(const ForwardArguments& args, const WorkTile<Mods>& work, const Accumulator<S>& o,
                                   const Softmax<Plan, Mods, S>& softmax) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first_row = ThreadRows<Plan, Mods>::first();
  const int64 head = (static_cast<int64>(work.split) * args.batch + work.context.b) * args.q_heads + work.context.h;
#pragma unroll
  for (int r = 0; r < S::rows; ++r) {
    const int q_idx = work.q_first + first_row + 8 * r;
    if (q_idx > work.q_last) continue;
    const int64 row = head * args.q_len + q_idx;
    const float normalizer = softmax.normalizer(r);
    float* out = args.out_partial + row * Plan::head_dim_v;
#pragma unroll
    for (int n = 0; n < S::out_tiles; ++n) {
      const int column = 8 * n + 2 * (lane % 4);
      const float first = o.x[r / 2][n][r % 2 * 2] * normalizer;
      const float second = o.x[r / 2][n][r % 2 * 2 + 1] * normalizer;
      if constexpr (Plan::head_dim_v % 2 == 0) {
        if (column < Plan::head_dim_v) *reinterpret_cast<float2*>(out + column) = float2{first, second};
      } else {
        if (column < Plan::head_dim_v) out[column] = first;
        if (column + 1 < Plan::head_dim_v) out[column + 1] = second;
      }
    }
    if (lane % 4 == 0) args.lse_partial[row] = softmax.lse_log2(r);
  }
}

// 16-bit output through shared memory, so that rows leave as whole 16-byte chunks. Each warp stages its own rows.
template <class Plan, class Mods, class S>
__forceinline__ void write_staged(uint8* staging, uint8* out, int64 row_stride_elems, const WorkTile<Mods>& work,
                                  const Accumulator<S>& o, const Softmax<Plan, Mods, S>& softmax) {
  using Rows = typename S::VRows;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first_row = ThreadRows<Plan, Mods>::first();
#pragma unroll
  for (int r = 0; r < S::rows; ++r) {
    const int row = first_row + 8 * r;
    const float normalizer = softmax.normalizer(r);
#pragma unroll
    for (int n = 0; n < S::out_tiles; ++n) {
      const uint32 pair =
          pack<Plan::dtype>(o.x[r / 2][n][r % 2 * 2] * normalizer, o.x[r / 2][n][r % 2 * 2 + 1] * normalizer);
      *reinterpret_cast<uint32*>(staging + Rows::offset(row, n) + 4 * (lane % 4)) = pair;
    }
  }
  __syncwarp();
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * Plan::rows_per_warp;
#pragma unroll 4
  for (int i = lane; i < Plan::rows_per_warp * Rows::chunks; i += 32) {
    const int row = warp_row + i / Rows::chunks;
    const int chunk = i % Rows::chunks;
    if (work.q_first + row > work.q_last) break;
    const uint4 data = *reinterpret_cast<const uint4*>(staging + Rows::offset(row, chunk));
    uint8* target = out + ((work.q_first + row) * row_stride_elems + chunk * 8) * 2;
    if (chunk * 8 + 8 <= Plan::head_dim_v) {
      *reinterpret_cast<uint4*>(target) = data;
    } else if constexpr (Plan::head_dim_v % 8 != 0) {
      const uint32 words[4] = {data.x, data.y, data.z, data.w};
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        if (chunk * 8 + e < Plan::head_dim_v) {
          reinterpret_cast<uint16*>(target)[e] = static_cast<uint16>(words[e / 2] >> (e % 2 * 16));
        }
      }
    }
  }
}

// Element by element: fp32, or rows aligned to less than 16 bytes.
template <class Plan, class Mods, class S>
__forceinline__ void write_direct(uint8* out, int64 row_stride_elems, const WorkTile<Mods>& work,
                                  const Accumulator<S>& o, const Softmax<Plan, Mods, S>& softmax) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first_row = ThreadRows<Plan, Mods>::first();
#pragma unroll
  for (int r = 0; r < S::rows; ++r) {
    const int q_idx = work.q_first + first_row + 8 * r;
    if (q_idx > work.q_last) continue;
    const float normalizer = softmax.normalizer(r);
#pragma unroll
    for (int n = 0; n < S::out_tiles; ++n) {
      const int column = 8 * n + 2 * (lane % 4);
      const float first = o.x[r / 2][n][r % 2 * 2] * normalizer;
      const float second = o.x[r / 2][n][r % 2 * 2 + 1] * normalizer;
      uint8* target = out + (q_idx * row_stride_elems + column) * S::element_bytes;
      if constexpr (S::is_f32) {
        if constexpr (Plan::vector_bytes >= 8 && Plan::head_dim_v % 2 == 0) {
          if (column < Plan::head_dim_v) *reinterpret_cast<float2*>(target) = float2{first, second};
        } else {
          if (column < Plan::head_dim_v) reinterpret_cast<float*>(target)[0] = first;
          if (column + 1 < Plan::head_dim_v) reinterpret_cast<float*>(target)[1] = second;
        }
      } else {
        const uint32 pair = pack<Plan::dtype>(first, second);
        if (column < Plan::head_dim_v) reinterpret_cast<uint16*>(target)[0] = static_cast<uint16>(pair);
        if (column + 1 < Plan::head_dim_v) reinterpret_cast<uint16*>(target)[1] = static_cast<uint16>(pair >> 16);
      }
    }
  }
}

// All of a work tile's results. Reads of shared memory by any warp must be over.
template <class Plan, class Mods, class S>
__forceinline__ void write_results(uint8* smem, const ForwardArguments& args, const WorkTile<Mods>& work,
                                   const Accumulator<S>& o, const Softmax<Plan, Mods, S>& softmax) {
  if (args.kv_splits > 1) {
    write_partial<Plan, Mods, S>(args, work, o, softmax);
    return;
  }
  const TileContext& t = work.context;
  uint8* out = const_cast<uint8*>(matrix_of(args.out, t.b, t.h, S::element_bytes));
  if constexpr (S::stages_output) {
    write_staged<Plan, Mods, S>(smem, out, args.out.row_stride_elems, work, o, softmax);
  } else {
    write_direct<Plan, Mods, S>(out, args.out.row_stride_elems, work, o, softmax);
  }
  if (args.lse != nullptr && threadIdx.x % 4 == 0) {
    const int first_row = ThreadRows<Plan, Mods>::first();
    float* lse = args.lse + t.b * args.lse_batch_stride_elems + t.h * args.lse_head_stride_elems;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      const int q_idx = work.q_first + first_row + 8 * r;
      if (q_idx <= work.q_last) lse[q_idx] = softmax.lse_log2(r) * ln_2;
    }
  }
}

}  // namespace sm80
}  // namespace attnc
