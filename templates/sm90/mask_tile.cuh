// SPDX-License-Identifier: Apache-2.0
// Which scores of a tile are dropped, on the accumulator of one warpgroup (layout: wgmma.cuh). Three ways: a band of
// keys for each row, as a range of columns; bits that came with a block table; and Mods::keep, asked for every element.
#pragma once

#include "sm90/scores.cuh"

namespace attnc::sm90 {

// What a thread keeps of one of its rows: bit block_bits * j + e, over all words, stands for column 8 j + e from its
// first. 8 bits a block are a mask as it lies in memory; 2 leave nothing between, so that fewer words are tested.
template <class Plan, int block_bits>
struct KeptBits {
  static constexpr int words = (Plan::tile_kv / 8 * block_bits + 31) / 32;
  uint32 word[words];
};

// Row i of the scores.
template <class Plan, int block_bits>
__device__ __forceinline__ void drop_scores(float (&scores)[Plan::tile_kv / 2], int i,
                                            const KeptBits<Plan, block_bits>& kept, float dropped) {
#pragma unroll
  for (int j = 0; j < Plan::tile_kv / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      float& score = scores[4 * j + 2 * i + e];
      const int bit = block_bits * j + e;
      score = (kept.word[bit / 32] >> (bit % 32)) & 1u ? score : dropped;
    }
  }
}

// A thread owns two of every eight columns. Keys [lo, hi) of a row as a range of these columns, counted from those of
// keys 0 and 1: a tile that begins with key 8 n begins with column 2 n.
struct ColumnRange {
  int first;
  int end;
};

__device__ __forceinline__ int thread_columns_before(int kv_idx) {
  const int from_thread = kv_idx - 2 * (threadIdx.x % 4);
  return (from_thread >> 3) * 2 + min_int(from_thread & 7, 2);
}

// What row i may keep: its band, or all keys where Mods has none.
template <class Mods>
__device__ __forceinline__ ColumnRange kept_columns(const typename Mods::Params& params, const RowValues<Mods>& rows,
                                                    int i) {
  if constexpr (Mods::mask_kind == MaskKind::band) {
    const Band band = Mods::row_band(params, rows.context, rows.uniform, rows.row[i]);
    return {thread_columns_before(max_int(band.lo, 0)),
            thread_columns_before(max_int(min_int(band.hi, rows.context.kv_len), 0))};
  } else {
    return {0, thread_columns_before(rows.context.kv_len)};
  }
}

// `range` counts from the tile's first columns.
template <class Plan, bool from_start>
__device__ __forceinline__ KeptBits<Plan, 2> range_bits(const ColumnRange& range) {
  KeptBits<Plan, 2> kept;
#pragma unroll
  for (int w = 0; w < KeptBits<Plan, 2>::words; ++w) {
    kept.word[w] = low_bits(range.end - 32 * w);
    if constexpr (!from_start) kept.word[w] &= ~low_bits(range.first - 32 * w);
  }
  return kept;
}

// Bits that came with the table; `row` is the row's.
template <class Plan>
__device__ __forceinline__ KeptBits<Plan, 8> table_bits(const uint8* row, int first_kv) {
  KeptBits<Plan, 8> kept;
  const int shift = 2 * (threadIdx.x % 4);
  if constexpr (Plan::tile_kv == mask_block) {
    const uint4 four = *reinterpret_cast<const uint4*>(row);
    const uint32 words[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int w = 0; w < KeptBits<Plan, 8>::words; ++w) kept.word[w] = words[w] >> shift;
  } else {
    const uint32* words = reinterpret_cast<const uint32*>(row) + first_kv % mask_block / 32;
#pragma unroll
    for (int w = 0; w < KeptBits<Plan, 8>::words; ++w) kept.word[w] = words[w] >> shift;
  }
  return kept;
}

// Drops what the bits of row i drop.
template <class Plan>
__device__ __forceinline__ void drop_by_bits(float (&scores)[Plan::tile_kv / 2], int i, const uint8* row, int first_kv,
                                             float dropped) {
  drop_scores<Plan>(scores, i, table_bits<Plan>(row, first_kv), dropped);
}

// Drops what Mods::keep drops. Whatever the score was, NaN included, it becomes `dropped`.
template <class Plan, class Mods>
__device__ __forceinline__ void drop_unkept(float (&scores)[Plan::tile_kv / 2], const typename Mods::Params& params,
                                            const RowValues<Mods>& rows, const TilePlace& place, float dropped) {
  ElementWalk<Plan, Mods> walk(rows, place);
#pragma unroll
  for (int j = 0; j < Plan::tile_kv / 8; ++j) {
    walk.block(j, [&](int n, int i, const Element& element, const typename Mods::Column& column,
                      const typename Mods::Diagonal& diagonal) {
      const bool kept = Mods::keep(params, rows.context, rows.uniform, rows.row[i], column, diagonal, element);
      scores[4 * j + n] = kept ? scores[4 * j + n] : dropped;
    });
  }
}

// The mask of one thread's two rows as the mods give it, and the end of the keys.
template <class Plan, class Mods>
class TileMask {
 public:
  // For each work tile.
  __device__ __forceinline__ void begin_rows(const typename Mods::Params& params, const RowValues<Mods>& rows) {
    if constexpr (has_band) {
#pragma unroll
      for (int i = 0; i < 2; ++i) kept_[i] = kept_columns<Mods>(params, rows, i);
    }
  }

  // Of a partial tile: puts `dropped` wherever a key is dropped, or wherever at all if these rows keep `nothing` of it.
  __device__ __forceinline__ void apply(float (&scores)[Plan::tile_kv / 2], const ForwardArguments& args,
                                        const typename Mods::Params& params, const RowValues<Mods>& rows,
                                        const TilePlace& place, bool nothing, float dropped) const {
    if constexpr (has_band) {
      ColumnRange range[2];
      bool all = true;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        range[i] = from_tile(kept_[i], place, nothing);
        all = all && range[i].first <= 0 && range[i].end >= Plan::tile_kv / 4;
      }
      if (__all_sync(0xffffffffu, all)) return;
#pragma unroll
      for (int i = 0; i < 2; ++i) drop_scores<Plan>(scores, i, range_bits<Plan, false>(range[i]), dropped);
    } else {
      if constexpr (Mods::mask_kind == MaskKind::general) {
        drop_unkept<Plan, Mods>(scores, params, rows, place, dropped);
      }
      if (nothing || place.first_kv + Plan::tile_kv > args.kv_len) {
        const auto kept = range_bits<Plan, true>(from_tile(kept_columns<Mods>(params, rows, 0), place, nothing));
        drop_scores<Plan>(scores, 0, kept, dropped);
        drop_scores<Plan>(scores, 1, kept, dropped);
      }
    }
  }

 private:
  static constexpr bool has_band = Mods::mask_kind == MaskKind::band && !Plan::bit_mask;

  static __device__ __forceinline__ ColumnRange from_tile(const ColumnRange& range, const TilePlace& place,
                                                          bool nothing) {
    const int before = place.first_kv >> 2;
    return {range.first - before, nothing ? 0 : range.end - before};
  }

  ColumnRange kept_[2];  // of this thread's rows, with has_band
};

}  // namespace attnc::sm90
