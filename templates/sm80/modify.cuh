// SPDX-License-Identifier: Apache-2.0
// The user's part of a step: score mods and masks applied to scores in registers.
#pragma once

#include "sm80/memory.cuh"
#include "sm80/scores.cuh"
#include "sm80/tiles.cuh"

namespace attnc {
namespace sm80 {

// Column and diagonal values of one kv tile, staged in shared memory as words; word w of all keys, then word w + 1. Two
// buffers: one tile's values are written while the tile before it is read.
template <class Plan, class Mods>
struct StagedLevels {
  using S = Shape<Plan, Mods>;
  static constexpr int column_words = Mods::column_words;
  static constexpr int diagonal_words = Mods::diagonal_words;
  static constexpr bool any = column_words > 0 || diagonal_words > 0;
  static constexpr int differences = S::tile_q + Plan::tile_kv;

  static __forceinline__ uint32* columns(int buffer) {
    return reinterpret_cast<uint32*>(shared_memory() + S::column_offset) + buffer * S::column_stage_words;
  }
  static __forceinline__ uint32* diagonals(int buffer) {
    return reinterpret_cast<uint32*>(shared_memory() + S::diagonal_offset) + buffer * S::diagonal_stage_words;
  }

  // Of the values of a tile, the column's one for this thread. It is computed before the tile's copies start, to be
  // there when those are under way: behind them, a load would wait for all of the tile.
  static constexpr bool early_columns = column_words > 0 && Plan::tile_kv <= S::threads;
  static __forceinline__ typename Mods::Column own_column(const typename Mods::Params& params,
                                                          const WorkTile<Mods>& work, int first_key) {
    const int key = first_key + min(thread_index(), Plan::tile_kv - 1);
    return Mods::column(params, work.context, work.uniform, min(key, work.context.kv_len - 1));
  }

  // Computes and stores the values of the tile that starts at `first_key`. Indices past the end are clamped: mods never
  // see them.
  static __forceinline__ void stage(int buffer, const typename Mods::Params& params, const WorkTile<Mods>& work,
                                    int first_key, const typename Mods::Column& own_column) {
    const TileContext& t = work.context;
    if constexpr (early_columns) {
      if (thread_index() < Plan::tile_kv) store_column(buffer, thread_index(), own_column);
    } else if constexpr (column_words > 0) {
      for (int i = threadIdx.x; i < Plan::tile_kv; i += S::threads) {
        store_column(buffer, i, Mods::column(params, t, work.uniform, min(first_key + i, t.kv_len - 1)));
      }
    }
    if constexpr (diagonal_words > 0) {
#pragma unroll 1
      for (int i = threadIdx.x; i < differences; i += S::threads) {
        const int difference = work.q_first - first_key + i - (Plan::tile_kv - 1);
        const typename Mods::Diagonal value =
            Mods::diagonal(params, t, work.uniform, min(max(difference, 1 - t.kv_len), t.q_len - 1));
        uint32 words[diagonal_words];
        memcpy(words, &value, sizeof(words));
#pragma unroll
        for (int w = 0; w < diagonal_words; ++w) diagonals(buffer)[w * differences + i] = words[w];
      }
    }
  }

  static __forceinline__ typename Mods::Column column(int buffer, int key) {
    typename Mods::Column value{};
    if constexpr (column_words > 0) {
      uint32 words[column_words];
#pragma unroll
      for (int w = 0; w < column_words; ++w) words[w] = columns(buffer)[w * Plan::tile_kv + key];
      memcpy(&value, words, sizeof(words));
    }
    return value;
  }

  // `difference` is that of row and key within the tile: row - key + tile_kv - 1.
  static __forceinline__ typename Mods::Diagonal diagonal(int buffer, int difference) {
    typename Mods::Diagonal value{};
    if constexpr (diagonal_words > 0) {
      uint32 words[diagonal_words];
#pragma unroll
      for (int w = 0; w < diagonal_words; ++w) words[w] = diagonals(buffer)[w * differences + difference];
      memcpy(&value, words, sizeof(words));
    }
    return value;
  }

 private:
  static __forceinline__ void store_column(int buffer, int key, const typename Mods::Column& value) {
    if constexpr (column_words > 0) {
      uint32 words[column_words];
      memcpy(words, &value, sizeof(words));
#pragma unroll
      for (int w = 0; w < column_words; ++w) columns(buffer)[w * Plan::tile_kv + key] = words[w];
    }
  }
};

// The rows a thread owns: row r is tile row first + 8 * r.
template <class Plan, class Mods>
struct ThreadRows {
  using S = Shape<Plan, Mods>;
  typename Mods::Row values[S::rows];

  static __forceinline__ int first() {
    const int thread = thread_index();
    return thread / 32 * Plan::rows_per_warp + thread % 32 / 4;
  }

  __forceinline__ void compute(const typename Mods::Params& params, const WorkTile<Mods>& work) {
#pragma unroll
    for (int r = 0; r < S::rows; ++r) values[r] = Mods::row(params, work.context, work.uniform, q_idx(work, r));
  }
  // Rows past the end stand for the last one; they are never written.
  __forceinline__ int q_idx(const WorkTile<Mods>& work, int r) const { return query(work, first(), r); }

  // What the mods are told of row r. `first_row` is first(), read once.
  static __forceinline__ int query(const WorkTile<Mods>& work, int first_row, int r) {
    return min(work.q_first + first_row + 8 * r, work.q_last);
  }
  static __forceinline__ int tile_row(const WorkTile<Mods>&, int first_row, int r) { return first_row + 8 * r; }
  static __forceinline__ const TileContext& context(const WorkTile<Mods>& work, int) { return work.context; }
  static __forceinline__ const typename Mods::Uniform& uniform(const WorkTile<Mods>& work, int) { return work.uniform; }
  // kv_idx - q_idx of the thread's first row and a key, converted once a step; rows and elements add exact constants.
  static __forceinline__ float first_delta(const WorkTile<Mods>& work, int first_row, int key) {
    return static_cast<float>(key - (work.q_first + first_row) + opaque_zero());
  }
  static __forceinline__ float delta(float first_delta, int, int r) { return first_delta + static_cast<float>(-8 * r); }
};

// Optional members of Mods, see contract.cuh.
template <class Mods, class = void>
inline constexpr bool has_score_shifted = false;
template <class Mods>
inline constexpr bool has_score_shifted<Mods, decltype(void(&Mods::score_shifted))> = true;

template <class Mods, class = void>
inline constexpr bool is_linear = false;
template <class Mods>
inline constexpr bool is_linear<Mods, decltype(void(&Mods::score_slope))> = true;

// Applies the score mod to the scores of keys [tile.first_key + step_first, + step). `clamped`: some of these may lie
// past the end of the keys. `Rows`: ThreadRows, or GroupRows where groups are packed; here and below.
template <class Plan, class Mods, bool clamped, class S, class Softmax, class Rows>
__forceinline__ void modify_scores(Scores<S>& s, const Softmax& softmax, const typename Mods::Params& params,
                                   const WorkTile<Mods>& work, const Rows& rows, int buffer, const KvTile& tile,
                                   int step_first) {
  using Staged = StagedLevels<Plan, Mods>;
  const TileContext& t = work.context;
  const int first_row = rows.first();
  const int first_tile_key = step_first + 2 * (thread_index() % 4);
  const int first_key = tile.first_key + first_tile_key;  // this thread's first key of the step
  const float delta = rows.first_delta(work, first_row, first_key);

  int q_idx[S::rows];
  float delta_row[S::rows], shift[S::rows];
#pragma unroll
  for (int r = 0; r < S::rows; ++r) {
    q_idx[r] = rows.query(work, first_row, r);
    delta_row[r] = rows.delta(delta, first_key, r);
    shift[r] = softmax.shift(r);
  }
#pragma unroll
  for (int j = 0; j < S::key_tiles; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int offset = 8 * j + e;
      const int kv_idx = clamped ? min(first_key + offset, t.kv_len - 1) : first_key + offset;
      const int tile_key = first_tile_key + offset;
      const typename Mods::Column column = Staged::column(buffer, tile_key);
#pragma unroll
      for (int r = 0; r < S::rows; ++r) {
        float& score = s.x[r / 2][j][r % 2 * 2 + e];
        const float delta_column = static_cast<float>(offset);
        const Element element{q_idx[r], kv_idx, __fadd_rn(delta_row[r], delta_column), delta_row[r], delta_column};
        const typename Mods::Diagonal diagonal =
            Staged::diagonal(buffer, rows.tile_row(work, first_row, r) - tile_key + Plan::tile_kv - 1);
        const auto modify = [&](const TileContext& context, const typename Mods::Uniform& uniform) {
          if constexpr (Softmax::shifted && has_score_shifted<Mods>) {
            score = Mods::score_shifted(params, context, uniform, rows.values[r], column, diagonal, element, score,
                                        shift[r]);
          } else {
            score = Mods::score(params, context, uniform, rows.values[r], column, diagonal, element, score);
            if constexpr (Softmax::shifted) score += shift[r];
          }
        };
        // Not by a member of Rows: that alone moves the assembler's schedule.
        if constexpr (Plan::packs_groups) {
          modify(rows.contexts[r], rows.uniforms[r]);
        } else {
          modify(t, work.uniform);
        }
      }
    }
  }
}

// Makes masked scores -inf: by the mask, the end of the keys and the visit's row range. Returns whether this thread
// kept any.
template <class Plan, class Mods, class S, class Rows>
__forceinline__ bool mask_scores(Scores<S>& s, const typename Mods::Params& params, const WorkTile<Mods>& work,
                                 const Rows& rows, int buffer, const KvTile& tile, int step_first) {
  using Staged = StagedLevels<Plan, Mods>;
  const TileContext& t = work.context;
  const int first_row = rows.first();
  const int first_tile_key = step_first + 2 * (thread_index() % 4);
  const int first_key = tile.first_key + first_tile_key;
  const int zero = opaque_zero();
  const float delta = rows.first_delta(work, first_row, first_key);

  // Keys kept for each row as offsets from first_key.
  int lo[S::rows], hi[S::rows], q_idx[S::rows];
#pragma unroll
  for (int r = 0; r < S::rows; ++r) {
    q_idx[r] = rows.query(work, first_row, r);
    lo[r] = 0;
    hi[r] = t.kv_len;
    if constexpr (Mods::mask_kind == MaskKind::band) {
      const Band band = Mods::row_band(params, rows.context(work, r), rows.uniform(work, r), rows.values[r]);
      lo[r] = max(band.lo + zero, 0);
      hi[r] = min(band.hi + zero, t.kv_len);
    }
    if constexpr (Plan::block_table) {
      const int row = first_row + 8 * r;
      if (row < tile.row_begin || row >= tile.row_end) hi[r] = 0;
    }
    lo[r] -= first_key;
    hi[r] -= first_key;
  }

  bool any_kept = false;
#pragma unroll
  for (int j = 0; j < S::key_tiles; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int offset = 8 * j + e;
      const int tile_key = first_tile_key + offset;
#pragma unroll
      for (int r = 0; r < S::rows; ++r) {
        float& score = s.x[r / 2][j][r % 2 * 2 + e];
        bool kept = offset < hi[r];
        if constexpr (Mods::mask_kind == MaskKind::band) kept = kept && offset >= lo[r];
        if constexpr (Mods::mask_kind == MaskKind::general) {
          const Element element{q_idx[r], min(first_key + offset, t.kv_len - 1),
                                __fadd_rn(rows.delta(delta, first_key, r), static_cast<float>(offset))};
          kept = kept &
                 Mods::keep(params, rows.context(work, r), rows.uniform(work, r), rows.values[r],
                            Staged::column(buffer, tile_key),
                            Staged::diagonal(buffer, rows.tile_row(work, first_row, r) - tile_key + Plan::tile_kv - 1),
                            element);
        }
        any_kept |= kept;
        score = kept ? score : -infinity();
      }
    }
  }
  return any_kept;
}

}  // namespace sm80
}  // namespace attnc
