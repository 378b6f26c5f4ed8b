// SPDX-License-Identifier: Apache-2.0
// The end of a work tile with packed groups: warps that had the same rows and different keys are merged in shared
// memory, and rows leave for their heads.
#pragma once

#include "sm80/group_rows.cuh"

namespace attnc {
namespace sm80 {

// What the warps leave in shared memory, 16 rows each: sums of exponentials times V, and of exponentials, both relative
// to 2^origin.
template <class Plan, class Mods, class S>
struct GroupResults {
  static constexpr int stride = S::merged_row_floats;
  float* o;
  float* origins;
  float* sums;

  __forceinline__ explicit GroupResults(uint8* smem)
      : o(reinterpret_cast<float*>(smem)), origins(o + S::tile_q * stride), sums(origins + S::tile_q) {}

  __forceinline__ void leave(const Accumulator<S>& acc, const Softmax<Plan, Mods, S>& softmax) const {
    const int thread = thread_index(), lane = thread % 32;
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      const int row = thread / 32 * 16 + lane / 4 + 8 * r;
      float* target = o + row * stride + 2 * (lane % 4);
#pragma unroll
      for (int n = 0; n < S::out_tiles; ++n) {
        *reinterpret_cast<float2*>(target + 8 * n) = float2{acc.x[r / 2][n][r % 2 * 2], acc.x[r / 2][n][r % 2 * 2 + 1]};
      }
      if (lane % 4 == 0) {
        origins[row] = softmax.origin[r];
        sums[row] = softmax.row_sum(r);
      }
    }
  }
};

// Two neighbouring columns of a 16-bit row.
template <class Plan>
__forceinline__ void write_pair(uint16* target, float first, float second) {
  const uint32 pair = pack<Plan::dtype>(first, second);
  if constexpr (Plan::vector_bytes >= 4) {
    *reinterpret_cast<uint32*>(target) = pair;
  } else {
    target[0] = static_cast<uint16>(pair);
    target[1] = static_cast<uint16>(pair >> 16);
  }
}

// Merges and writes all of a work tile's results. A warp takes a row at a time, a lane two neighbouring columns. Reads
// of shared memory by any warp must be over.
template <class Plan, class Mods, class S>
__forceinline__ void write_group_results(uint8* smem, const ForwardArguments& args, const GroupWork<Mods>& work,
                                         const Accumulator<S>& acc, const Softmax<Plan, Mods, S>& softmax) {
  const GroupResults<Plan, Mods, S> results(smem);
  results.leave(acc, softmax);
  __syncthreads();
  const TileContext& t = work.context;
  const bool partial = args.kv_splits > 1;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row_warps = work.row_warps();
  const int64 first_of_partials = (static_cast<int64>(work.split) * args.batch + t.b) * args.q_heads;
#pragma unroll 1
  for (int i = threadIdx.x / 32; work.first_row + i <= work.last_row; i += Plan::warps) {
    // Row i is row `place` of a warp's 16, and again every `step` rows for the next share of the keys.
    const int step = 16 * row_warps;
    float origin = results.origins[i];
#pragma unroll 1
    for (int place = i + step; place < S::tile_q; place += step) origin = fmaxf(origin, results.origins[place]);
    float total = 0.0f;
#pragma unroll 1
    for (int place = i; place < S::tile_q; place += step) {
      total += exp2_approx(results.origins[place] - origin) * results.sums[place];
    }
    const float normalizer = total == 0.0f ? 0.0f : 1.0f / total;

    const int row = work.first_row + i, q_idx = row / work.group, h = t.h + row - q_idx * work.group;
    const int64 partial_row = (first_of_partials + h) * args.q_len + q_idx;
    if (lane == 0) {
      const float lse = total == 0.0f ? -infinity() : log2_approx(total) + origin;
      if (partial) {
        args.lse_partial[partial_row] = lse;
      } else if (args.lse != nullptr) {
        args.lse[t.b * args.lse_batch_stride_elems + h * args.lse_head_stride_elems + q_idx] = lse * ln_2;
      }
    }
    uint8* out = const_cast<uint8*>(matrix_of(args.out, t.b, h, S::element_bytes)) +
                 q_idx * args.out.row_stride_elems * S::element_bytes;
#pragma unroll 1
    for (int column = 2 * lane; column < Plan::head_dim_v; column += 64) {
      float first = 0.0f, second = 0.0f;
#pragma unroll 1
      for (int place = i; place < S::tile_q; place += step) {
        const float weight = exp2_approx(results.origins[place] - origin) * normalizer;
        const float2 pair = *reinterpret_cast<const float2*>(results.o + place * results.stride + column);
        first += weight * pair.x;
        second += weight * pair.y;
      }
      if (partial) {
        *reinterpret_cast<float2*>(args.out_partial + partial_row * Plan::head_dim_v + column) = float2{first, second};
      } else {
        write_pair<Plan>(reinterpret_cast<uint16*>(out) + column, first, second);
      }
    }
  }
}

}  // namespace sm80
}  // namespace attnc
