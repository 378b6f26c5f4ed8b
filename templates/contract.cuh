// SPDX-License-Identifier: Apache-2.0
// What generated code must provide, and what a kernel may ask of it.
//
// A kernel template is written against a type `Mods`. The compiler prints that type for each (score_mod, mask_mod);
// `IdentityMods` below is the same contract with nothing modified. Everything is device code and compiles header-free
// under NVRTC (-std=c++17 -default-device).
//
// Placement. Every value of a mod belongs to the outermost level that knows all it depends on, and a kernel computes
// each level once:
//   uniform   (b, h, parameters)   once per work tile
//   row       (q_idx)              once per query row a thread owns
//   column    (kv_idx)             once per key of a kv tile; may be staged in shared memory
//   diagonal  (q_idx - kv_idx)     once per difference that occurs in a tile; may be staged in shared memory
//   element   (score, or q_idx with kv_idx otherwise)  once per score
#pragma once

#include "prelude.cuh"

namespace attnc {

// What every level knows. Lengths and indices are counts of rows, never bytes.
struct TileContext {
  int b;  // batch
  int h;  // query head
  int q_len;
  int kv_len;
  float scale;  // the softmax scale, natural units; Mods fold it into the score they return
};

// Where an element stands. `delta` equals float(kv_idx - q_idx): a kernel gets it as one addition of a constant to a
// per-row value, where the conversion of an integer difference would cost one MUFU-rate instruction per score.
struct Element {
  int q_idx;
  int kv_idx;
  float delta;
  // delta in two parts, for score_shifted only: `delta_row` is the same for all elements of a row in a tile, and
  // `delta_column` is a compile-time constant once the kernel's loops are unrolled.
  float delta_row = 0.0f;
  float delta_column = 0.0f;
};

enum class MaskKind : int {
  none,     // no mask_mod: every key is kept
  band,     // kept exactly when row_band(...).lo <= kv_idx < row_band(...).hi
  general,  // ask keep(...) for each element
};

enum class BlockVerdict : int { empty = 0, partial = 1, full = 2 };

struct Band {
  int lo;  // first key kept
  int hi;  // one past the last key kept
};

// Closed ranges of coordinates, for classify().
struct BlockRange {
  int q_first, q_last;    // both inclusive, both < q_len
  int kv_first, kv_last;  // both inclusive, both < kv_len
};

// Optional members, found by name; a kernel that has no use for one ignores it, and none changes what a program means.
//
//   static float score_shifted(<as score>, float dot, float shift)
//     score(...) + shift, where the addition folds into a multiply-add that score ends with. `shift` is the same for
//     all elements of a row in a tile. A term linear in delta costs one instruction when written as fmaf(slope,
//     e.delta_column, fmaf(slope, e.delta_row, shift)): the inner part is computed once a row and tile.
//
//   static float narrow_score_bound(const Params&, const TileContext&, const Uniform&)
//   static float score_narrow(<as score_shifted>)
//     A cheaper score_shifted: tanh as a polynomial on the FMA pipe, say. It is right while |score| (log2 units, not
//     shifted) is at most narrow_score_bound, and beyond it still grows with dot: then what leaves the range on the
//     upper side shows in the sum of a tile's probabilities, and what leaves it on the lower side is negligible.
//
//   static float narrow_query_factor(const Params&, const TileContext&, const Uniform&)
//   static float narrow_scaled_score_bound(<same>)
//   static float score_narrow_scaled(<as score_shifted>)
//     A score_narrow that is cheaper still, in a smaller range, for dot products of a fitting size: Q is to be
//     multiplied by narrow_query_factor, which is 2^i or -2^i with |i| <= 16. TileContext::scale must then be divided
//     by it and Uniform computed anew, and all that takes a dot product takes the new one. A bound below 0 says that no
//     score is in the range.
//
//   static float dropped_dot(const Params&, const TileContext&, const Uniform&)
//     The infinity of dot that score_narrow, or score_shifted where there is no score_narrow, turns into -inf whatever
//     finite values the mod adds: a kernel may then mask before it modifies. Where the mod adds an infinity, the result
//     may be NaN, which shows in the sum.
//
//   static float score_factor(const Params&, const TileContext&, const Uniform&)
//   static float score_slope(<same>)
//     The score is score_factor * dot + score_slope * (kv_idx - q_idx), in log2 units.

// The contract, spelled out with nothing modified. Generated code has the same members.
struct IdentityMods {
  // Run-time parameters and captured buffers; a plain struct passed inside the kernel's arguments. Never empty, so that
  // host and device agree on its size.
  struct Params {
    int unused;
  };
  // Level values. Column and Diagonal hold 4-byte fields only (so a kernel may stage them as words); *_words is how
  // many of them are in use, 0 when the level is empty.
  struct Uniform {};
  struct Row {};
  struct Column {};
  struct Diagonal {};
  static constexpr int column_words = 0;
  static constexpr int diagonal_words = 0;

  static constexpr bool has_score_mod = false;
  static constexpr MaskKind mask_kind = MaskKind::none;
  // The score returned by score() is proved to lie within +-score_bound_log2 (log2 units): no running maximum is needed
  // where exp2 of that range fits. 0 when nothing is proved.
  static constexpr float score_bound_log2 = 0.0f;
  // Every row is proved to keep at least one key: no -inf handling is needed.
  static constexpr bool rows_nonempty = true;
  // Whether classify() says anything; false: every block is to be treated as partial.
  static constexpr bool has_classifier = true;

  static Uniform uniform(const Params&, const TileContext&) { return {}; }
  static Row row(const Params&, const TileContext&, const Uniform&, int /*q_idx*/) { return {}; }
  static Column column(const Params&, const TileContext&, const Uniform&, int /*kv_idx*/) { return {}; }
  // `difference` is q_idx - kv_idx, within [1 - kv_len, q_len - 1].
  static Diagonal diagonal(const Params&, const TileContext&, const Uniform&, int /*difference*/) { return {}; }

  // `dot` is the raw dot product, unscaled. The result is the modified score times log2(e), ready for exp2.
  // Called only if has_score_mod; otherwise the kernel folds scale * log2(e) itself.
  static float score(const Params&, const TileContext& t, const Uniform&, const Row&, const Column&, const Diagonal&,
                     const Element&, float dot) {
    return dot * (t.scale * 1.44269504f);
  }
  // Called only if mask_kind == general.
  static bool keep(const Params&, const TileContext&, const Uniform&, const Row&, const Column&, const Diagonal&,
                   const Element&) {
    return true;
  }
  // Called only if mask_kind == band. Not clipped to [0, kv_len): the kernel does that.
  static Band row_band(const Params&, const TileContext& t, const Uniform&, const Row&) { return {0, t.kv_len}; }
  // A sound verdict on every element of the range at once: `full` and `empty` are proved, `partial` is undecided.
  static BlockVerdict classify(const Params&, const TileContext&, const Uniform&, const BlockRange&) {
    return BlockVerdict::full;
  }
};

}  // namespace attnc
