// SPDX-License-Identifier: Apache-2.0
// Column and diagonal values of a kv tile, computed once per tile by the producer's otherwise idle warps and read by
// the consumers from shared memory, word by word.
//
// Diagonals are stored by position = (q_idx - q_first) - (kv_idx - first_kv) + tile_kv - 1, so that a consumer's
// address is one per-thread base plus a constant.
#pragma once

#include "arguments.cuh"
#include "sm90/scheduler.cuh"

namespace attnc::sm90 {

inline constexpr int staging_warps = 3;

template <class Value, int words>
__device__ __forceinline__ void store_words(uint32* first_word, int words_stride, const Value& value) {
  static_assert(sizeof(Value) >= 4 * words, "a staged level holds 4-byte fields only");
#pragma unroll
  for (int w = 0; w < words; ++w) first_word[w * words_stride] = reinterpret_cast<const uint32*>(&value)[w];
}

template <class Value, int words>
__device__ __forceinline__ Value load_words(const uint32* first_word, int words_stride) {
  Value value{};
#pragma unroll
  for (int w = 0; w < words; ++w) reinterpret_cast<uint32*>(&value)[w] = first_word[w * words_stride];
  return value;
}

// Two neighbouring values, the first at an even place.
template <class Value, int words>
__device__ __forceinline__ void load_pair(Value (&values)[2], const uint32* first_word, int words_stride) {
#pragma unroll
  for (int w = 0; w < words; ++w) {
    const uint2 pair = *reinterpret_cast<const uint2*>(first_word + w * words_stride);
    reinterpret_cast<uint32*>(&values[0])[w] = pair.x;
    reinterpret_cast<uint32*>(&values[1])[w] = pair.y;
  }
}

// Fills one stage; `thread` counts the staging threads. Indices are clamped: a mod never sees one beyond its length.
template <class Plan, class Mods>
__device__ __forceinline__ void stage_side_values(uint32* columns, uint32* diagonals,
                                                  const typename Mods::Params& params, const TileContext& context,
                                                  const typename Mods::Uniform& uniform, int q_first, int first_kv,
                                                  int thread, int threads) {
  using Layout = SharedLayout<Plan, Mods>;
  if constexpr (Mods::column_words > 0) {
    for (int i = thread; i < Plan::tile_kv; i += threads) {
      const int kv_idx = min_int(first_kv + i, context.kv_len - 1);
      store_words<typename Mods::Column, Mods::column_words>(columns + i, Plan::tile_kv,
                                                             Mods::column(params, context, uniform, kv_idx));
    }
  }
  if constexpr (Mods::diagonal_words > 0) {
    for (int i = thread; i < Layout::differences - 1; i += threads) {
      const int difference = q_first - first_kv - (Plan::tile_kv - 1) + i;
      const int clamped = min_int(max_int(difference, 1 - context.kv_len), context.q_len - 1);
      store_words<typename Mods::Diagonal, Mods::diagonal_words>(diagonals + i, Layout::differences,
                                                                 Mods::diagonal(params, context, uniform, clamped));
    }
  }
}

}  // namespace attnc::sm90
