// SPDX-License-Identifier: Apache-2.0
// From dot products to modified scores, on the accumulator of one warpgroup (layout: wgmma.cuh). Scores are in
// log2 units and shifted: what softmax.cuh will subtract is folded into the last multiply-add that makes a score.
#pragma once

#include "sm90/side_values.cuh"

namespace attnc::sm90 {

// Everything one thread knows about its two rows of a work tile.
template <class Mods>
struct RowValues {
  TileContext context;
  typename Mods::Uniform uniform;
  int q_idx[2];  // clamped to q_len - 1
  typename Mods::Row row[2];
};

// Where one thread stands in a kv tile.
struct TilePlace {
  int first_kv;             // first key of the tile
  int thread_kv;            // first key of this thread's columns
  const uint32* columns;    // column values, from this thread's first key
  const uint32* diagonals;  // diagonal values, at this thread's first row and first key
};

// Walks one thread's elements of a tile, block of 8 columns by block, in order.
template <class Plan, class Mods>
class ElementWalk {
 public:
  static constexpr int blocks = Plan::tile_kv / 8;

  __device__ __forceinline__ ElementWalk(const RowValues<Mods>& rows, const TilePlace& place)
      : rows_(rows), place_(place), last_kv_(rows.context.kv_len - 1) {
    delta_[0] = static_cast<float>(place.thread_kv - rows.q_idx[0]);
    delta_[1] = static_cast<float>(place.thread_kv - rows.q_idx[1]);
    // Rows 8 apart see the same differences in blocks of columns 8 apart: each diagonal value is read once.
    if constexpr (Mods::diagonal_words > 0) {
      previous_[0] = load_diagonal(8);
      previous_[1] = load_diagonal(7);
    }
  }

  // Calls body(n, i, element, column, diagonal) for the four elements of block j: n is the place in accumulator order,
  // i the row.
  template <class Body>
  __device__ __forceinline__ void block(int j, Body body) {
    typename Mods::Column columns[2]{};
    if constexpr (Mods::column_words > 0) {
      load_pair<typename Mods::Column, Mods::column_words>(columns, place_.columns + 8 * j, Plan::tile_kv);
    }
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int offset = 8 * j + e;
      const typename Mods::Column& column = columns[e];
      const float step = static_cast<float>(offset);
      const int kv_idx = min_int(place_.thread_kv + offset, last_kv_);
      typename Mods::Diagonal current{};
      if constexpr (Mods::diagonal_words > 0) current = load_diagonal(-offset);
      body(e, 0, Element{rows_.q_idx[0], kv_idx, delta_[0] + step, delta_[0], step}, column, current);
      body(2 + e, 1, Element{rows_.q_idx[1], kv_idx, delta_[1] + step, delta_[1], step}, column, previous_[e]);
      previous_[e] = current;
    }
  }

 private:
  __device__ __forceinline__ typename Mods::Diagonal load_diagonal(int offset) const {
    return load_words<typename Mods::Diagonal, Mods::diagonal_words>(place_.diagonals + offset,
                                                                     SharedLayout<Plan, Mods>::differences);
  }

  const RowValues<Mods>& rows_;
  const TilePlace& place_;
  int last_kv_;
  float delta_[2];  // of this thread's first key
  typename Mods::Diagonal previous_[2];
};

// Which optional members of the contract the mods have.
template <class Mods, class = void>
inline constexpr bool has_score_shifted = false;
template <class Mods>
inline constexpr bool has_score_shifted<Mods, decltype(void(&Mods::score_shifted))> = true;
template <class Mods, class = void>
inline constexpr bool has_score_narrow = false;
template <class Mods>
inline constexpr bool has_score_narrow<Mods, decltype(void(&Mods::score_narrow))> = true;
template <class Mods, class = void>
inline constexpr bool has_score_narrow_scaled = false;
template <class Mods>
inline constexpr bool has_score_narrow_scaled<Mods, decltype(void(&Mods::score_narrow_scaled))> = true;
template <class Mods, class = void>
inline constexpr bool has_dropped_dot = false;
template <class Mods>
inline constexpr bool has_dropped_dot<Mods, decltype(void(&Mods::dropped_dot))> = true;

// Whether scores are other than unit * dot + (something of the row) by the time the softmax sees them. A term linear in
// kv_idx is not, where the matrix product adds it.
template <class Plan, class Mods>
inline constexpr bool modifies_scores = Mods::has_score_mod && !Plan::bias_product;

// Whether Q is multiplied by Mods::narrow_query_factor when it arrives. fp16 has not the range for that, and three
// warpgroups have not the registers beside a mask and 128 keys.
template <class Plan, class Mods>
constexpr bool scales_queries() {
  return Plan::is_bf16 && Plan::speculative && has_score_narrow_scaled<Mods> &&
         (Plan::consumer_warpgroups == 2 || Plan::tile_kv < 128 || Mods::mask_kind == MaskKind::none);
}

// The ways to compute a score, each right in a smaller range of scores than the one before it, and cheaper.
enum class ScoreForm : int { exact, narrow, narrow_scaled };

// Shifted scores of column block j from its raw dot products. `unit` is scale * log2(e).
template <ScoreForm form, class Plan, class Mods>
__device__ __forceinline__ void block_scores(float (&x)[4], const float* dots, int j, ElementWalk<Plan, Mods>& walk,
                                             const typename Mods::Params& params, const RowValues<Mods>& rows,
                                             float unit, const float (&shift)[2]) {
  if constexpr (!modifies_scores<Plan, Mods>) {
    // Said as one operation: the slow path multiplies the same dot products, and a shared product could not be fused.
#pragma unroll
    for (int n = 0; n < 4; ++n) x[n] = __fmaf_rn(dots[n], unit, shift[n / 2]);
  } else {
    walk.block(j, [&](int n, int i, const Element& element, const typename Mods::Column& column,
                      const typename Mods::Diagonal& diagonal) {
      const typename Mods::Row& row = rows.row[i];
      if constexpr (form == ScoreForm::narrow_scaled) {
        x[n] = Mods::score_narrow_scaled(params, rows.context, rows.uniform, row, column, diagonal, element, dots[n],
                                         shift[i]);
      } else if constexpr (form == ScoreForm::narrow) {
        x[n] =
            Mods::score_narrow(params, rows.context, rows.uniform, row, column, diagonal, element, dots[n], shift[i]);
      } else if constexpr (has_score_shifted<Mods>) {
        x[n] =
            Mods::score_shifted(params, rows.context, rows.uniform, row, column, diagonal, element, dots[n], shift[i]);
      } else {
        x[n] = Mods::score(params, rows.context, rows.uniform, row, column, diagonal, element, dots[n]) + shift[i];
      }
    });
  }
}

// Raw dot products become shifted scores, in place.
template <class Plan, class Mods>
__device__ __forceinline__ void modify_scores(float (&scores)[Plan::tile_kv / 2], const typename Mods::Params& params,
                                              const RowValues<Mods>& rows, const TilePlace& place, float unit,
                                              const float (&shift)[2]) {
  ElementWalk<Plan, Mods> walk(rows, place);
#pragma unroll
  for (int j = 0; j < Plan::tile_kv / 8; ++j) {
    float x[4];
    block_scores<ScoreForm::exact>(x, scores + 4 * j, j, walk, params, rows, unit, shift);
#pragma unroll
    for (int n = 0; n < 4; ++n) scores[4 * j + n] = x[n];
  }
}

}  // namespace attnc::sm90
