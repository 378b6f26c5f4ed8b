// SPDX-License-Identifier: Apache-2.0
// From dot products to modified, masked scores, on the accumulator of one warpgroup (layout: wgmma.cuh).
#pragma once

#include "sm90/side_values.cuh"

namespace attnc::sm90 {

// Everything one thread knows about its two rows of a work tile.
template <class Mods>
struct RowValues {
  TileContext context;
  typename Mods::Uniform uniform;
  int q_idx[2];         // clamped to q_len - 1
  typename Mods::Row row[2];
};

// Where one thread stands in a kv tile.
struct TilePlace {
  int first_kv;      // first key of the tile
  int thread_kv;     // first key of this thread's columns
  const uint32* columns;    // column values, from this thread's first key
  const uint32* diagonals;  // diagonal values, at this thread's first row and first key
};

template <class Plan, class Mods>
class ElementWalk {
 public:
  static constexpr int blocks = Plan::tile_kv / 8;

  // Calls body(accumulator index, element, row, column, diagonal) for each score of this thread.
  template <class Body>
  static __device__ __forceinline__ void run(const typename Mods::Params& params, const RowValues<Mods>& rows,
                                             const TilePlace& place, Body body) {
    using Column = typename Mods::Column;
    using Diagonal = typename Mods::Diagonal;
    const int last_kv = rows.context.kv_len - 1;
    const float delta[2] = {static_cast<float>(place.thread_kv - rows.q_idx[0]),
                            static_cast<float>(place.thread_kv - rows.q_idx[1])};
    // Rows 8 apart see the same differences in blocks of columns 8 apart: each diagonal value is read once.
    Diagonal previous[2];
    if constexpr (Mods::diagonal_words > 0) {
      previous[0] = load_diagonal(place, 8);
      previous[1] = load_diagonal(place, 7);
    }
#pragma unroll
    for (int j = 0; j < blocks; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int offset = 8 * j + e;
        const int kv_idx = min_int(place.thread_kv + offset, last_kv);
        Column column{};
        if constexpr (Mods::column_words > 0) {
          column = load_words<Column, Mods::column_words>(place.columns + offset, Plan::tile_kv);
        }
        Diagonal current{};
        if constexpr (Mods::diagonal_words > 0) current = load_diagonal(place, -offset);
        body(4 * j + e, Element{rows.q_idx[0], kv_idx, delta[0] + offset}, rows.row[0], column, current);
        body(4 * j + 2 + e, Element{rows.q_idx[1], kv_idx, delta[1] + offset}, rows.row[1], column, previous[e]);
        previous[e] = current;
      }
    }
  }

 private:
  static __device__ __forceinline__ typename Mods::Diagonal load_diagonal(const TilePlace& place, int offset) {
    return load_words<typename Mods::Diagonal, Mods::diagonal_words>(place.diagonals + offset,
                                                                     SharedLayout<Plan, Mods>::differences);
  }
};

// Raw dot products in, scores in log2 units out.
template <class Plan, class Mods>
__device__ __forceinline__ void modify_scores(float (&scores)[Plan::tile_kv / 2], const typename Mods::Params& params,
                                              const RowValues<Mods>& rows, const TilePlace& place) {
  ElementWalk<Plan, Mods>::run(params, rows, place,
                               [&](int i, const Element& element, const typename Mods::Row& row,
                                   const typename Mods::Column& column, const typename Mods::Diagonal& diagonal) {
                                 scores[i] = Mods::score(params, rows.context, rows.uniform, row, column, diagonal,
                                                         element, scores[i]);
                               });
}

// Drops what the mask drops and what lies beyond kv_len. Whatever the score was, NaN included, it becomes -inf.
template <class Plan, class Mods>
__device__ __forceinline__ void mask_scores(float (&scores)[Plan::tile_kv / 2], const typename Mods::Params& params,
                                            const RowValues<Mods>& rows, const TilePlace& place) {
  if constexpr (Mods::mask_kind == MaskKind::general) {
    const int kv_len = rows.context.kv_len;
    ElementWalk<Plan, Mods>::run(
        params, rows, place,
        [&](int i, const Element& element, const typename Mods::Row& row, const typename Mods::Column& column,
            const typename Mods::Diagonal& diagonal) {
          const bool inside = place.thread_kv + 8 * (i / 4) + i % 2 < kv_len;
          const bool kept = Mods::keep(params, rows.context, rows.uniform, row, column, diagonal, element);
          scores[i] = inside && kept ? scores[i] : minus_infinity();
        });
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      Band band{0, rows.context.kv_len};
      if constexpr (Mods::mask_kind == MaskKind::band) {
        const Band kept = Mods::row_band(params, rows.context, rows.uniform, rows.row[i]);
        band = Band{kept.lo, min_int(kept.hi, band.hi)};
      }
      const int lo = band.lo - place.thread_kv;
      const int hi = band.hi - place.thread_kv;
#pragma unroll
      for (int j = 0; j < Plan::tile_kv / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int offset = 8 * j + e;
          float& score = scores[4 * j + 2 * i + e];
          const bool kept = offset < hi && (Mods::mask_kind == MaskKind::none || offset >= lo);
          score = kept ? score : minus_infinity();
        }
      }
    }
  }
}

}  // namespace attnc::sm90
