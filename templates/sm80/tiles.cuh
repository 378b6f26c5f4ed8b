// SPDX-License-Identifier: Apache-2.0
// Which kv tiles a CTA visits, and which of them need the mask.
//
// Tiles are judged 32 at a time, one per lane, and popped from two ballots, after windows of 32 tiles have been judged
// the same way: skipping a long run of empty tiles costs a judgement for 32768 of them. Last keys come first: a causal
// row then meets its nearest keys first, and scores that fall off with distance (ALiBi) seldom raise the maximum again.
// One warp does this for the CTA, a tile ahead of the copies; its state lives in shared memory, where it costs the
// other phases no registers.
#pragma once

#include "arguments.cuh"
#include "contract.cuh"
#include "sm80/mma.cuh"

namespace attnc {
namespace sm80 {

// What a CTA works on: tile_q query rows of one head of one batch, and one split of the keys.
template <class Mods>
struct WorkTile {
  TileContext context;
  typename Mods::Uniform uniform;
  int q_first;  // first query row
  int q_last;   // last query row that exists
  int split;
};

// The part of it that is kept in shared memory.
struct WorkPlace {
  int b, h, q_first, split;
};

struct KvTile {
  int first_key;  // negative: no more tiles
  // What the tile's masked steps are to each warp (StepVerdicts); 0: every element of the tile is kept.
  uint32 steps;
  int row_begin;  // rows of the q tile the visit counts for, relative to q_first
  int row_end;
};

// A tile that needs the mask is judged once more, for each warp's rows and each step of keys: bit warp * steps + step
// of the low half is set where the warp has anything to do, that of the high half where some element may be masked.
template <class Plan, class Mods>
struct StepVerdicts {
  static constexpr int steps = Plan::tile_kv / MaskedShape<Plan, Mods>::step_keys;
  static constexpr int count = Plan::warps * steps;
  static_assert(count <= 16, "verdicts of a tile do not fit their word");
  // A tile with nothing masked, worked off in such steps.
  static constexpr uint32 all_full = (1u << count) - 1;

  uint32 bits;  // of one warp
  __forceinline__ explicit StepVerdicts(uint32 tile_steps) : bits(tile_steps >> thread_index() / 32 * steps) {}
  __forceinline__ bool visits(int step) const { return bits >> step & 1; }
  __forceinline__ bool masks(int step) const { return bits >> (16 + step) & 1; }
};

// The extremes of row_band over the rows of a q tile: a kv tile is empty when it misses [lowest_lo, highest_hi) and
// full when it lies in [highest_lo, lowest_hi).
struct BandExtremes {
  int lowest_lo, highest_lo, lowest_hi, highest_hi;
};

// Keys [first, end) against the extremes of some rows' bands.
__forceinline__ bool misses(const BandExtremes& e, int first, int end) {
  return end <= e.lowest_lo || first >= e.highest_hi;
}
__forceinline__ bool covers(const BandExtremes& e, int first, int end) {
  return first >= e.highest_lo && end <= e.lowest_hi;
}

inline constexpr int int_max = 0x7fffffff;
inline constexpr int int_min = -0x7fffffff - 1;

struct BandRange {
  BandExtremes e{int_max, int_min, int_max, int_min};

  __forceinline__ void add(const Band& band) {
    // A row that keeps nothing must not widen what is visited, nor let anything count as full.
    const bool empty = band.lo >= band.hi;
    add({empty ? int_max : band.lo, empty ? int_max : band.lo, empty ? int_min : band.hi, empty ? int_min : band.hi});
  }
  __forceinline__ void add(const BandExtremes& other) {
    e.lowest_lo = min(e.lowest_lo, other.lowest_lo);
    e.highest_lo = max(e.highest_lo, other.highest_lo);
    e.lowest_hi = min(e.lowest_hi, other.lowest_hi);
    e.highest_hi = max(e.highest_hi, other.highest_hi);
  }
  // Over the lanes of a warp.
  __forceinline__ BandExtremes reduce() const {
    constexpr uint32 all = 0xffffffffu;
    return {__reduce_min_sync(all, e.lowest_lo), __reduce_max_sync(all, e.highest_lo),
            __reduce_min_sync(all, e.lowest_hi), __reduce_max_sync(all, e.highest_hi)};
  }
};

// What a cursor remembers between tiles.
struct CursorState {
  // What is left of the run of tiles being scanned: [run_begin, run_end), then windows of 32 tiles, counted from
  // first_window, then tiles of one window.
  int run_begin, run_end, first_window, window;
  uint32 windows, visit, masked;
  BandExtremes band;
  // Block tables only: the list position, 16 cached block indices, and the rows the current block row covers.
  int block_row, position, position_end, partial_count, full_count;
  int cached_from, cached_blocks[16];
  int row_begin, row_end;
  int listed_full, restricted;
  BandExtremes warp_bands[8];
};

// A CTA's state in shared memory, outside the registers of the loop.
struct SharedState {
  CursorState cursor;
  KvTile posted[2];  // the tile after the one being copied, alternating
  WorkPlace place;
  int careful, overflowed;  // Softmax::speculative only
  const uint8* k;           // the head's matrices
  const uint8* v;
};

// A view of a CursorState in shared memory; every member function is called by all lanes of one warp. `Work` is
// WorkTile, or GroupWork where groups are packed.
template <class Plan, class Mods, class Work = WorkTile<Mods>>
class TileCursor {
 public:
  using Params = typename Mods::Params;

  __forceinline__ TileCursor(CursorState& state, const ForwardArguments& args, const Params& params, const Work& work)
      : shared_(state), args_(args), params_(params), work_(work) {}

  __forceinline__ void start() {
    CursorState s;
    if constexpr (Mods::mask_kind == MaskKind::band) s.band = band_extremes();
    if constexpr (Plan::block_table) {
      s.block_row = work_.q_first / args_.blocks.q_block - 1;
      s.position = 0;
      s.position_end = 0;
      s.run_begin = 0;
      s.run_end = 0;
    } else {
      s.run_begin = 0;
      s.run_end = ceil_div(args_.kv_len + opaque_zero(), tile_kv);
      if constexpr (Mods::mask_kind == MaskKind::band) {
        s.run_begin = min(max(s.band.lowest_lo, 0) / tile_kv, s.run_end);
        s.run_end = ceil_div(min(max(s.band.highest_hi, 0), args_.kv_len), tile_kv);
      }
      if (args_.kv_splits > 1) {
        const int per_split = ceil_div(max(s.run_end - s.run_begin, 0), args_.kv_splits);
        s.run_begin += work_.split * per_split;
        s.run_end = min(s.run_end, s.run_begin + per_split);
      }
    }
    s.windows = 0;
    s.visit = 0;
    store(s);
  }

  // The next tile, in the order of the work; first_key is negative when there is none. The judgement stands in the loop
  // once, for windows of 32 tiles, for the tiles of a window, and for a masked tile's steps: 32 at a time, one a lane.
  __forceinline__ KvTile next() {
    KvTile tile{-1, 0, 0, tile_q};
    CursorState s = load();
    while (true) {
      const bool of_steps = s.visit != 0, of_tiles = !of_steps && s.windows != 0;
      int q_first = work_.q_first, q_last = work_.q_last, first_key, keys;
      if (of_steps) {
        const int bit = 31 - __clz(s.visit);
        s.visit ^= 1u << bit;
        tile.first_key = (s.window + bit) * tile_kv;
        if (!(s.masked >> bit & 1)) break;
        const int warp = lane() / Verdicts::steps;
        if constexpr (Plan::packs_groups) {
          q_first = work_.first_query(warp);
          q_last = warp < Plan::warps ? work_.last_query(warp) : -1;
        } else {
          q_first += warp * Plan::rows_per_warp;
          q_last = warp < Plan::warps ? min(q_first + Plan::rows_per_warp - 1, q_last) : -1;
        }
        keys = tile_kv / Verdicts::steps;
        first_key = tile.first_key + lane() % Verdicts::steps * keys;
      } else if (of_tiles) {
        const int bit = 31 - __clz(s.windows);
        s.windows ^= 1u << bit;
        s.window = s.first_window + 32 * bit;
        keys = tile_kv;
        first_key = (s.window + lane()) * keys;
      } else if (s.run_begin < s.run_end) {
        s.first_window = s.run_end - 32 * 32;
        const bool one_window = s.run_end - s.run_begin <= 32;
        s.run_end = s.first_window;
        s.windows = 1u << 31;
        if (one_window) continue;
        keys = 32 * tile_kv;
        first_key = (s.first_window + 32 * lane()) * tile_kv;
      } else {
        if constexpr (Plan::block_table) {
          if (next_block(s)) continue;
        }
        break;
      }
      const int end = first_key + keys;
      if (!of_steps) first_key = max(first_key, s.run_begin * tile_kv);
      BlockVerdict verdict = BlockVerdict::empty;
      if (first_key < min(end, args_.kv_len) && q_first <= q_last) {
        verdict = judge(s, of_steps, BlockRange{q_first, q_last, first_key, min(end, args_.kv_len) - 1});
      }
      const uint32 kept = __ballot_sync(all_lanes, verdict != BlockVerdict::empty);
      bool masked = verdict == BlockVerdict::partial || (verdict == BlockVerdict::full && end > args_.kv_len);
      if constexpr (Plan::block_table) masked |= verdict == BlockVerdict::full && s.restricted != 0;
      // Where only one warp has rows the others have steps to leave out.
      if (!Plan::packs_groups && of_tiles && q_last - q_first < Plan::rows_per_warp && Plan::warps > 1) masked = true;
      const uint32 partial = __ballot_sync(all_lanes, masked);
      if (of_steps) {
        tile.steps = kept == Verdicts::all_full && partial == 0 ? 0 : kept | partial << 16;
        if (kept != 0) break;
        tile.first_key = -1;
      } else if (of_tiles) {
        s.visit = kept;
        s.masked = partial;
      } else {
        s.windows = kept;
      }
    }
    if constexpr (Plan::block_table) {
      tile.row_begin = s.row_begin;
      tile.row_end = s.row_end;
    }
    store(s);
    return tile;
  }

 private:
  static constexpr int tile_q = Shape<Plan, Mods>::tile_q;
  static constexpr int tile_kv = Plan::tile_kv;
  static constexpr uint32 all_lanes = 0xffffffffu;
  using Verdicts = StepVerdicts<Plan, Mods>;

  static constexpr int ceil_div(int value, int divisor) { return (value + divisor - 1) / divisor; }
  static __forceinline__ int lane() { return thread_index() % 32; }

  // Every lane reads the state, one writes it.
  __forceinline__ CursorState load() const {
    __syncwarp();
    return shared_;
  }
  __forceinline__ void store(const CursorState& s) const {
    __syncwarp();
    if (lane() == 0) {
      shared_.run_begin = s.run_begin;
      shared_.run_end = s.run_end;
      shared_.first_window = s.first_window;
      shared_.window = s.window;
      shared_.windows = s.windows;
      shared_.visit = s.visit;
      shared_.masked = s.masked;
      shared_.band = s.band;
      if constexpr (Plan::block_table) {
        shared_.block_row = s.block_row;
        shared_.position = s.position;
        shared_.position_end = s.position_end;
        shared_.partial_count = s.partial_count;
        shared_.full_count = s.full_count;
        shared_.cached_from = s.cached_from;
        shared_.row_begin = s.row_begin;
        shared_.row_end = s.row_end;
        shared_.listed_full = s.listed_full;
        shared_.restricted = s.restricted;
      }
    }
  }

  // The extremes of row_band over the rows of each warp, which are kept, and of the q tile.
  __forceinline__ BandExtremes band_extremes() const {
    BandRange all;
#pragma unroll 1
    for (int warp = 0; warp < Plan::warps; ++warp) {
      BandRange range;
#pragma unroll 1
      for (int i = lane(); i < Plan::rows_per_warp; i += 32) {
        int q_idx;
        if constexpr (Plan::packs_groups) {
          q_idx = min(work_.first_query(warp) + i, work_.last_query(warp));
        } else {
          q_idx = min(work_.q_first + warp * Plan::rows_per_warp + i, work_.q_last);
        }
        const auto row = Mods::row(params_, work_.context, work_.uniform, q_idx);
        range.add(Mods::row_band(params_, work_.context, work_.uniform, row));
      }
      const BandExtremes band = range.reduce();
      if (lane() == 0) shared_.warp_bands[warp] = band;
      all.add(band);
    }
    return all.e;
  }

  // The range is one of a warp's rows (that which this lane judges a step for), or of all.
  __forceinline__ BlockVerdict judge(const CursorState& s, bool of_steps, const BlockRange& range) const {
    if constexpr (Plan::block_table) {
      if (s.listed_full) return BlockVerdict::full;
    }
    if constexpr (Mods::mask_kind == MaskKind::none) {
      return BlockVerdict::full;
    } else if constexpr (Mods::mask_kind == MaskKind::band) {
      const BandExtremes band = of_steps ? shared_.warp_bands[lane() / Verdicts::steps] : s.band;
      if (misses(band, range.kv_first, range.kv_last + 1)) return BlockVerdict::empty;
      return covers(band, range.kv_first, range.kv_last + 1) ? BlockVerdict::full : BlockVerdict::partial;
    } else if constexpr (Mods::has_classifier) {
      return Mods::classify(params_, work_.context, work_.uniform, range);
    } else {
      return BlockVerdict::partial;
    }
  }

  // Moves to the next block of the table: the rest of this block row's partial list, then its full list, each from its
  // end, then the next block row that the q tile reaches into. A split takes an equal share of each row's blocks.
  __forceinline__ bool next_block(CursorState& s) const {
    const BlockTableArgument& table = args_.blocks;
    while (s.position >= s.position_end) {
      ++s.block_row;
      const int64 first_row = static_cast<int64>(s.block_row) * table.q_block;
      if (first_row > work_.q_last) return false;
      s.row_begin = max(static_cast<int>(first_row) - work_.q_first, 0);
      s.row_end = static_cast<int>(min(first_row + table.q_block - work_.q_first, static_cast<int64>(tile_q)));
      s.restricted = s.row_begin > 0 || work_.q_first + s.row_end <= work_.q_last;
      const int64 counts = work_.context.b * table.counts_batch_stride + work_.context.h * table.counts_head_stride;
      s.partial_count = table.kv_num_blocks ? table.kv_num_blocks[counts + s.block_row] : 0;
      s.full_count = table.full_kv_num_blocks ? table.full_kv_num_blocks[counts + s.block_row] : 0;
      const int per_split = ceil_div(s.partial_count + s.full_count, max(args_.kv_splits, 1));
      s.position = work_.split * per_split;
      s.position_end = min(s.position + per_split, s.partial_count + s.full_count);
      s.cached_from = s.position - 16;
    }
    if (s.position - s.cached_from >= 16) {
      // One coalesced load of the next 16 indices, one per lane.
      s.cached_from = s.position;
      // Lanes 16 and up stand beyond both lists. (position_end would not do: a split may end inside the partial list.)
      const int p = lane() < 16 ? s.position + lane() : int_max;
      if (p < s.partial_count) {
        const int64 list = work_.context.b * table.indices_batch_stride + work_.context.h * table.indices_head_stride +
                           s.block_row * table.indices_row_stride;
        shared_.cached_blocks[lane()] = entry(table.kv_indices, table.kv_offsets, s, list, s.partial_count - 1 - p);
      } else if (p < s.position_end) {
        const int64 list = work_.context.b * table.full_indices_batch_stride +
                           work_.context.h * table.full_indices_head_stride +
                           s.block_row * table.full_indices_row_stride;
        shared_.cached_blocks[lane()] =
            entry(table.full_kv_indices, table.full_kv_offsets, s, list, s.partial_count + s.full_count - 1 - p);
      }
      __syncwarp();
    }
    const int block = shared_.cached_blocks[s.position - s.cached_from];
    s.listed_full = s.position >= s.partial_count;
    ++s.position;
    const int tiles_per_block = table.kv_block / tile_kv;
    s.run_begin = block * tiles_per_block;
    s.run_end = s.run_begin + tiles_per_block;
    return true;
  }

  // Entry i of the list of this block row, which starts at `strided` where lists are not packed.
  __forceinline__ int entry(const int32* indices, const int32* offsets, const CursorState& s, int64 strided,
                            int i) const {
    if (offsets == nullptr) return indices[strided + i];
    const BlockTableArgument& table = args_.blocks;
    const int32 offset =
        offsets[work_.context.b * table.counts_batch_stride + work_.context.h * table.counts_head_stride + s.block_row];
    return offset < 0 ? i : indices[offset + i];
  }

  CursorState& shared_;
  const ForwardArguments& args_;
  const Params& params_;
  const Work& work_;
};

}  // namespace sm80
}  // namespace attnc
