// SPDX-License-Identifier: Apache-2.0
// Merges the partial results of split keys: a warp for each query row, or a block where rows are few and splits many.
#pragma once

#include "dependent_launch.cuh"
#include "sm80/memory.cuh"

namespace attnc {

// The body of `attnc_combine`: threads of whole warps, grid.x * warps covering batch * q_heads * q_len rows, of which
// there are few where keys are split: their number fits 32 bits, and division is cheap.
template <class Plan>
__forceinline__ void combine_sm80(const ForwardArguments& args) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const uint32 q_len = args.q_len, q_heads = args.q_heads;
  const uint32 rows = args.batch * q_heads * q_len;
  const uint32 row = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (row >= rows) return;

  // Lanes share the splits.
  const float* lse_row = args.lse_partial + row;
  float largest = -sm80::infinity();
#pragma unroll 1
  for (int split = lane; split < args.kv_splits; split += 32)
    largest = fmaxf(largest, lse_row[static_cast<int64>(split) * rows]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
  const float origin = largest == -sm80::infinity() ? 0.0f : largest;

  const uint32 head_index = row / q_len;
  const int b = static_cast<int>(head_index / q_heads);
  const int h = static_cast<int>(head_index - b * q_heads);
  const int q_idx = static_cast<int>(row - head_index * q_len);
  constexpr int element_bytes = Plan::dtype == DType::f32 ? 4 : 2;
  uint8* out = const_cast<uint8*>(sm80::matrix_of(args.out, b, h, element_bytes)) +
               q_idx * args.out.row_stride_elems * element_bytes;
  // Lanes share the columns.
  constexpr int lane_columns = (Plan::head_dim_v + 31) / 32;
  float sum[lane_columns] = {}, total = 0.0f;
  const float* partial = args.out_partial + static_cast<int64>(row) * Plan::head_dim_v + lane;
#pragma unroll 2
  for (int split = 0; split < args.kv_splits; ++split) {
    const float weight = sm80::exp2_approx(lse_row[static_cast<int64>(split) * rows] - origin);
    total += weight;
#pragma unroll
    for (int c = 0; c < lane_columns; ++c) {
      if (32 * c + lane >= Plan::head_dim_v) break;
      const float value = partial[static_cast<int64>(split) * rows * Plan::head_dim_v + 32 * c];
      sum[c] += weight == 0.0f ? 0.0f : weight * value;
    }
  }
  const float normalizer = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
  for (int c = 0; c < lane_columns; ++c) {
    const int column = 32 * c + lane;
    if (column >= Plan::head_dim_v) break;
    if constexpr (Plan::dtype == DType::f32) {
      reinterpret_cast<float*>(out)[column] = sum[c] * normalizer;
    } else {
      reinterpret_cast<uint16*>(out)[column] = static_cast<uint16>(sm80::pack<Plan::dtype>(sum[c] * normalizer, 0.0f));
    }
  }
  if (args.lse != nullptr && lane == 0) {
    args.lse[b * args.lse_batch_stride_elems + h * args.lse_head_stride_elems + q_idx] =
        total == 0.0f ? -sm80::infinity() : (sm80::log2_approx(total) + origin) * ln_2;
  }
}

// The same where groups are packed: few rows and many splits, in the time of a few microseconds that the whole call
// takes. One block of combine_group_warps warps per row; the warps share the splits. It may be launched while the
// forward kernel still runs.
inline constexpr int combine_group_warps = 8;

// What a warp makes of its splits of a row: each lane has `width` neighbouring columns of every 32 * width.
template <int head_dim>
struct MergedSplits {
  static constexpr int width = 4;
  static constexpr int passes = (head_dim + 32 * width - 1) / (32 * width);
  float sum[passes * width] = {};
  float total = 0.0f;  // both relative to 2^origin, the largest of its splits
  float origin;

  // Splits warp, warp + combine_group_warps, ... of `row` of `rows`.
  __forceinline__ MergedSplits(const ForwardArguments& args, uint32 row, uint32 rows, int warp, int lane) {
    const float* lse_row = args.lse_partial + row;
    float largest = -sm80::infinity();
#pragma unroll 1
    for (int split = warp + combine_group_warps * lane; split < args.kv_splits; split += 32 * combine_group_warps)
      largest = fmaxf(largest, lse_row[static_cast<int64>(split) * rows]);
#pragma unroll
    for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
    origin = largest == -sm80::infinity() ? -3e38f : largest;
    const float* partial = args.out_partial + static_cast<int64>(row) * head_dim + width * lane;
#pragma unroll 4
    for (int split = warp; split < args.kv_splits; split += combine_group_warps) {
      const float weight = sm80::exp2_approx(lse_row[static_cast<int64>(split) * rows] - origin);
      total += weight;
#pragma unroll
      for (int pass = 0; pass < passes; ++pass) {
        const int column = 32 * width * pass + width * lane;
        if (column >= head_dim) break;
        const float4 four =
            *reinterpret_cast<const float4*>(partial + static_cast<int64>(split) * rows * head_dim + 32 * width * pass);
        const float values[width] = {four.x, four.y, four.z, four.w};
#pragma unroll
        for (int c = 0; c < width; ++c) sum[pass * width + c] += weight == 0.0f ? 0.0f : weight * values[c];
      }
    }
  }
};

template <class Plan>
__forceinline__ void combine_groups_sm80(const ForwardArguments& args) {
  constexpr int warps = combine_group_warps;
  using Merged = MergedSplits<Plan::head_dim_v>;
  __shared__ float sums[warps][Merged::passes * 32 * Merged::width];
  __shared__ float origins[warps], totals[warps];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const uint32 q_len = args.q_len, q_heads = args.q_heads;
  const uint32 rows = args.batch * q_heads * q_len, row = blockIdx.x;
  wait_for_previous_launch();

  const Merged merged(args, row, rows, warp, lane);
#pragma unroll
  for (int pass = 0; pass < Merged::passes; ++pass) {
#pragma unroll
    for (int c = 0; c < Merged::width; ++c) {
      sums[warp][32 * Merged::width * pass + Merged::width * lane + c] = merged.sum[pass * Merged::width + c];
    }
  }
  if (lane == 0) {
    origins[warp] = merged.origin;
    totals[warp] = merged.total;
  }
  __syncthreads();

  // The warps' results together: a thread a column.
  float common = origins[0], all = 0.0f;
#pragma unroll
  for (int w = 1; w < warps; ++w) common = fmaxf(common, origins[w]);
#pragma unroll
  for (int w = 0; w < warps; ++w) all += sm80::exp2_approx(origins[w] - common) * totals[w];
  const float normalizer = all == 0.0f ? 0.0f : 1.0f / all;
  const uint32 head_index = row / q_len;
  const int b = static_cast<int>(head_index / q_heads);
  const int h = static_cast<int>(head_index - b * q_heads);
  const int q_idx = static_cast<int>(row - head_index * q_len);
  const int column = static_cast<int>(threadIdx.x);
  if (column < Plan::head_dim_v) {
    float value = 0.0f;
#pragma unroll
    for (int w = 0; w < warps; ++w) value += sm80::exp2_approx(origins[w] - common) * sums[w][column];
    uint16* out = const_cast<uint16*>(reinterpret_cast<const uint16*>(sm80::matrix_of(args.out, b, h, 2)));
    out[q_idx * args.out.row_stride_elems + column] =
        static_cast<uint16>(sm80::pack<Plan::dtype>(value * normalizer, 0.0f));
  }
  if (args.lse != nullptr && threadIdx.x == 0) {
    args.lse[b * args.lse_batch_stride_elems + h * args.lse_head_stride_elems + q_idx] =
        all == 0.0f ? -sm80::infinity() : (sm80::log2_approx(all) + common) * ln_2;
  }
}

}  // namespace attnc
