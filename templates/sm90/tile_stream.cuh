// SPDX-License-Identifier: Apache-2.0
// The kv tiles one q tile has to visit, each decided or undecided. A warp walks the stream together: every lane calls
// next() and gets the same answer. Last keys come first: the uneven end of the keys and a causal mask's diagonal then
// fall into the first tile, which takes the softmax's slow path anyway, and a score that grows towards the diagonal
// (ALiBi) meets its maximum at once.
//
//   dense       counts.
//   classifier  each lane classifies one range of keys, a ballot collects the verdicts: first for groups of 32 tiles,
//               so that long stretches of nothing cost one evaluation, then for the tiles of each group that is left,
//               for each warpgroup's rows apart.
//   table       walks the lists of undecided and of full blocks from their ends.
#pragma once

#include "arguments.cuh"
#include "sm90/scheduler.cuh"

namespace attnc::sm90 {

struct KvTile {
  int first_kv;
  int verdicts;  // stage_partial and stage_dropped of each warpgroup, two bits each
  // With bit masks: the verdicts of the table, before kv_len cut the tile, and places in the two rows' partial lists.
  int listed = 0;
  int positions[2] = {0, 0};
};

__device__ __forceinline__ StageNotice stage_notice(const KvTile& tile, bool last) {
  return {tile.first_kv, (last ? stage_last : 0) | tile.verdicts << stage_flags_of(0)};
}

// Whether the warpgroups of a q tile pass over tiles that only others of them need.
template <class Plan>
constexpr bool skips_tiles_by_warpgroup() {
  return Plan::source != TileSource::dense && Plan::consumer_warpgroups > 2;
}

template <class Plan, class Mods, TileSource source>
class TileStream;

template <class Plan, class Mods>
class TileStream<Plan, Mods, TileSource::dense> {
 public:
  __device__ __forceinline__ TileStream(const ForwardArguments& args, const typename Mods::Params&, const TileContext&,
                                        const WorkTile&)
      : kv_len_(args.kv_len), left_(ceil_div(args.kv_len, Plan::tile_kv)) {}

  __device__ __forceinline__ bool next(KvTile& tile) {
    if (left_ == 0) return false;
    --left_;
    tile = tile_at(left_, kv_len_);
    return true;
  }

  static __device__ __forceinline__ KvTile tile_at(int number, int kv_len) {
    const int first_kv = number * Plan::tile_kv;
    const bool partial = Mods::mask_kind != MaskKind::none || first_kv + Plan::tile_kv > kv_len;
    return {first_kv, for_all_warpgroups(partial ? stage_partial : 0)};
  }

 private:
  int kv_len_;
  int left_;
};

template <class Plan, class Mods>
class TileStream<Plan, Mods, TileSource::classifier> {
 public:
  __device__ __forceinline__ TileStream(const ForwardArguments& args, const typename Mods::Params& params,
                                        const TileContext& context, const WorkTile& work)
      : params_(params), context_(context), uniform_(Mods::uniform(params, context)) {
    q_first_ = work.q_tile * tile_q_rows<Plan>();
    lane_ = threadIdx.x % warp_threads;
    groups_first_ = ceil_div(ceil_div(args.kv_len, group_keys), warp_threads) * warp_threads;
  }

  __device__ __forceinline__ bool next(KvTile& tile) {
    while (tiles_left_ == 0) {
      while (groups_left_ == 0) {
        if (groups_first_ == 0) return false;
        groups_first_ -= warp_threads;
        const BlockVerdict verdict =
            classify(q_first_, tile_q_rows<Plan>(), (groups_first_ + lane_) * group_keys, group_keys);
        groups_left_ = __ballot_sync(0xffffffffu, verdict != BlockVerdict::empty);
      }
      const int group = take_last(groups_left_);
      tiles_first_kv_ = (groups_first_ + group) * group_keys;
      const int first_kv = tiles_first_kv_ + lane_ * Plan::tile_kv;
      lane_verdicts_ = first_kv + Plan::tile_kv > context_.kv_len ? for_all_warpgroups(stage_partial) : 0;
      // One copy of the classifier's code; the producer has time.
#pragma unroll 1
      for (int part = 0; part < row_parts; ++part) {
        const BlockVerdict verdict = classify(q_first_ + part * rows_per_part, rows_per_part, first_kv, Plan::tile_kv);
        int flags = 0;
        if (verdict != BlockVerdict::full) flags = stage_partial;
        if (verdict == BlockVerdict::empty) flags = stage_partial | stage_dropped;
        lane_verdicts_ |= row_parts == 1 ? for_all_warpgroups(flags) : flags << (2 * part);
      }
      constexpr int all_dropped = for_all_warpgroups(stage_dropped) & ((1 << (2 * Plan::consumer_warpgroups)) - 1);
      tiles_left_ = __ballot_sync(0xffffffffu, (lane_verdicts_ & all_dropped) != all_dropped);
    }
    const int position = take_last(tiles_left_);
    tile.first_kv = tiles_first_kv_ + position * Plan::tile_kv;
    tile.verdicts = __shfl_sync(0xffffffffu, lane_verdicts_, position);
    return true;
  }

 private:
  static constexpr int group_keys = warp_threads * Plan::tile_kv;
  // Rows that get a verdict of their own.
  static constexpr int row_parts = skips_tiles_by_warpgroup<Plan>() ? Plan::consumer_warpgroups : 1;
  static constexpr int rows_per_part = tile_q_rows<Plan>() / row_parts;

  // The highest set bit, cleared.
  static __device__ __forceinline__ int take_last(uint32& bits) {
    const int position = 31 - __clz(static_cast<int>(bits));
    bits &= ~(1u << position);
    return position;
  }

  __device__ __forceinline__ BlockVerdict classify(int first_row, int rows, int first_kv, int keys) const {
    if (first_kv >= context_.kv_len || first_row >= context_.q_len) return BlockVerdict::empty;
    const int last_row = min_int(first_row + rows, context_.q_len) - 1;
    const int last_kv = min_int(first_kv + keys, context_.kv_len) - 1;
    return Mods::classify(params_, context_, uniform_, BlockRange{first_row, last_row, first_kv, last_kv});
  }

  const typename Mods::Params& params_;
  const TileContext& context_;
  typename Mods::Uniform uniform_;
  int q_first_;
  int lane_;
  int groups_first_;  // group of bit 0 of groups_left_; all groups from here on are classified
  uint32 groups_left_ = 0;
  int tiles_first_kv_ = 0;  // first key of bit 0 of tiles_left_
  uint32 tiles_left_ = 0;
  int lane_verdicts_ = 0;  // of the tile that stands for this lane
};

// One block row of a table. Each entry is met once, whatever the order of the lists; with ascending lists, the last
// block comes first.
class BlockRow {
 public:
  __device__ __forceinline__ BlockRow(const BlockTableArgument& table, int batch, int head, int row) {
    const int64 count_at = batch * table.counts_batch_stride + head * table.counts_head_stride + row;
    if (table.kv_num_blocks != nullptr) {
      partial_left_ = table.kv_num_blocks[count_at];
      const int64 first = first_partial(table, batch, head, row);
      partial_list_ = first < 0 ? nullptr : table.kv_indices + first;
    }
    if (table.full_kv_num_blocks != nullptr) {
      full_left_ = table.full_kv_num_blocks[count_at];
      const int64 first = table.full_kv_offsets != nullptr
                              ? table.full_kv_offsets[count_at]
                              : batch * table.full_indices_batch_stride + head * table.full_indices_head_stride +
                                    row * table.full_indices_row_stride;
      full_list_ = first < 0 ? nullptr : table.full_kv_indices + first;
    }
    fetch_partial();
    fetch_full();
  }

  // Where the partial list of a row begins, in entries from kv_indices; negative for the list of all blocks.
  static __device__ __forceinline__ int64 first_partial(const BlockTableArgument& table, int batch, int head, int row) {
    if (table.kv_offsets != nullptr) {
      return table.kv_offsets[batch * table.counts_batch_stride + head * table.counts_head_stride + row];
    }
    return batch * table.indices_batch_stride + head * table.indices_head_stride + row * table.indices_row_stride;
  }

  // -1 when none is left.
  __device__ __forceinline__ int last_block() const { return max_int(partial_block_, full_block_); }

  // Takes `block` if it is the last one: how it stands to these rows, and its place in the partial list.
  __device__ __forceinline__ int take(int block, int& position) {
    position = partial_left_ - 1;
    if (partial_block_ == block) {
      --partial_left_;
      fetch_partial();
      return stage_partial;
    }
    if (full_block_ != block) return stage_partial | stage_dropped;
    --full_left_;
    fetch_full();
    return 0;
  }

 private:
  __device__ __forceinline__ void fetch_partial() {
    partial_block_ = partial_left_ - 1;
    if (partial_left_ > 0 && partial_list_ != nullptr) partial_block_ = partial_list_[partial_left_ - 1];
  }
  __device__ __forceinline__ void fetch_full() {
    full_block_ = full_left_ - 1;
    if (full_left_ > 0 && full_list_ != nullptr) full_block_ = full_list_[full_left_ - 1];
  }

  const int32* partial_list_ = nullptr;  // null: all blocks
  const int32* full_list_ = nullptr;
  int partial_left_ = 0;
  int full_left_ = 0;
  int partial_block_;
  int full_block_;
};

// A q tile of 128 rows lies within one block row. One of 192 lies across two: it visits what either lists, and the
// warpgroups of the other drop what theirs does not.
template <class Plan, class Mods>
class TileStream<Plan, Mods, TileSource::table> {
 public:
  static constexpr int rows = Plan::consumer_warpgroups == 2 ? 1 : 2;

  __device__ __forceinline__ TileStream(const ForwardArguments& args, const typename Mods::Params&, const TileContext&,
                                        const WorkTile& work)
      : kv_len_(args.kv_len),
        kv_block_(args.blocks.kv_block),
        first_row_(work.q_tile * tile_q_rows<Plan>() / args.blocks.q_block),
        split_(Plan::consumer_warpgroups),
        lower_(args.blocks, work.batch, work.head, first_row_),
        upper_(lower_) {
    if constexpr (rows == 2) {
      const int next_row = first_row_ + 1;
      const int first_above = next_row * args.blocks.q_block;
      if (first_above < args.q_len && first_above < (work.q_tile + 1) * tile_q_rows<Plan>()) {
        split_ = (first_above - work.q_tile * tile_q_rows<Plan>()) / rows_per_warpgroup;
        upper_ = BlockRow(args.blocks, work.batch, work.head, next_row);
      }
    }
  }

  __device__ __forceinline__ bool next(KvTile& tile) {
    // A tile at or beyond kv_len, in the last block of an uneven length, is skipped.
    while (next_kv_ >= block_end_) {
      int block = lower_.last_block();
      const bool two = rows == 2 && split_ < Plan::consumer_warpgroups;
      if (two) block = max_int(block, upper_.last_block());
      if (block < 0) return false;
      const int lower = lower_.take(block, positions_[0]);
      verdicts_ = for_all_warpgroups(lower);
      if (two) {
        const int all_above = 0x3f & -(1 << (2 * split_));
        const int upper = upper_.take(block, positions_[rows - 1]);
        verdicts_ = (verdicts_ & ~all_above) | (for_all_warpgroups(upper) & all_above);
      }
      next_kv_ = block * kv_block_;
      block_end_ = min_int(next_kv_ + kv_block_, kv_len_);
    }
    tile.first_kv = next_kv_;
    next_kv_ += Plan::tile_kv;
    tile.verdicts = next_kv_ > kv_len_ ? verdicts_ | for_all_warpgroups(stage_partial) : verdicts_;
    if constexpr (Plan::bit_mask) {
      tile.listed = verdicts_;
      tile.positions[0] = positions_[0];
      tile.positions[1] = positions_[rows - 1];
    }
    return true;
  }

  // First warpgroup of the second block row; Plan::consumer_warpgroups if there is only one.
  __device__ __forceinline__ int split() const { return split_; }
  __device__ __forceinline__ int first_row() const { return first_row_; }

 private:
  int kv_len_;
  int kv_block_;
  int first_row_;
  int split_;
  BlockRow lower_;
  BlockRow upper_;
  int positions_[rows];
  int verdicts_ = 0;
  int next_kv_ = 0;
  int block_end_ = 0;
};

}  // namespace attnc::sm90
