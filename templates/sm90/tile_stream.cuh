// SPDX-License-Identifier: Apache-2.0
// The kv tiles one q tile has to visit, each decided or undecided. A warp walks the stream together: every lane calls
// next() and gets the same answer. Last keys come first: the uneven end of the keys and a causal mask's diagonal then
// fall into the first tile, which takes the softmax's slow path anyway, and a score that grows towards the diagonal
// (ALiBi) meets its maximum at once.
//
//   dense       counts.
//   classifier  each lane classifies one range of keys, a ballot collects the verdicts: first for groups of 32 tiles,
//   so
//               that long stretches of nothing cost one evaluation, then for the tiles of each group that is left.
//   table       walks the block lists, undecided blocks first.
#pragma once

#include "arguments.cuh"
#include "sm90/scheduler.cuh"

namespace attnc::sm90 {

struct KvTile {
  int first_kv;
  bool partial;
};

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
    tile.first_kv = left_ * Plan::tile_kv;
    tile.partial = Mods::mask_kind != MaskKind::none || tile.first_kv + Plan::tile_kv > kv_len_;
    return true;
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
    q_last_ = min_int(q_first_ + tile_q_rows<Plan>(), args.q_len) - 1;
    lane_ = threadIdx.x % warp_threads;
    groups_first_ = ceil_div(ceil_div(args.kv_len, group_keys), warp_threads) * warp_threads;
  }

  __device__ __forceinline__ bool next(KvTile& tile) {
    while (tiles_left_ == 0) {
      while (groups_left_ == 0) {
        if (groups_first_ == 0) return false;
        groups_first_ -= warp_threads;
        const BlockVerdict verdict = classify((groups_first_ + lane_) * group_keys, group_keys);
        groups_left_ = __ballot_sync(0xffffffffu, verdict != BlockVerdict::empty);
      }
      const int group = take_last(groups_left_);
      tiles_first_kv_ = (groups_first_ + group) * group_keys;
      const BlockVerdict verdict = classify(tiles_first_kv_ + lane_ * Plan::tile_kv, Plan::tile_kv);
      tiles_left_ = __ballot_sync(0xffffffffu, verdict != BlockVerdict::empty);
      tiles_partial_ = __ballot_sync(0xffffffffu, verdict == BlockVerdict::partial);
    }
    const int position = take_last(tiles_left_);
    tile.first_kv = tiles_first_kv_ + position * Plan::tile_kv;
    tile.partial = ((tiles_partial_ >> position) & 1u) != 0 || tile.first_kv + Plan::tile_kv > context_.kv_len;
    return true;
  }

 private:
  static constexpr int group_keys = warp_threads * Plan::tile_kv;

  // The highest set bit, cleared.
  static __device__ __forceinline__ int take_last(uint32& bits) {
    const int position = 31 - __clz(static_cast<int>(bits));
    bits &= ~(1u << position);
    return position;
  }

  __device__ __forceinline__ BlockVerdict classify(int first_kv, int keys) const {
    if (first_kv >= context_.kv_len) return BlockVerdict::empty;
    const int last_kv = min_int(first_kv + keys, context_.kv_len) - 1;
    return Mods::classify(params_, context_, uniform_, BlockRange{q_first_, q_last_, first_kv, last_kv});
  }

  const typename Mods::Params& params_;
  const TileContext& context_;
  typename Mods::Uniform uniform_;
  int q_first_;
  int q_last_;
  int lane_;
  int groups_first_;  // group of bit 0 of groups_left_; all groups from here on are classified
  uint32 groups_left_ = 0;
  int tiles_first_kv_ = 0;  // first key of bit 0 of tiles_left_
  uint32 tiles_left_ = 0;
  uint32 tiles_partial_ = 0;
};

template <class Plan, class Mods>
class TileStream<Plan, Mods, TileSource::table> {
 public:
  __device__ __forceinline__ TileStream(const ForwardArguments& args, const typename Mods::Params&, const TileContext&,
                                        const WorkTile& work)
      : kv_len_(args.kv_len), kv_block_(args.blocks.kv_block) {
    const BlockTableArgument& table = args.blocks;
    const int64 block_row = static_cast<int64>(work.q_tile) * tile_q_rows<Plan>() / table.q_block;
    const int64 count_at = work.batch * table.counts_batch_stride + work.head * table.counts_head_stride + block_row;
    if (table.kv_num_blocks != nullptr) {
      partial_count_ = table.kv_num_blocks[count_at];
      const int64 at = work.batch * table.indices_batch_stride + work.head * table.indices_head_stride +
                       block_row * table.indices_row_stride;
      partial_list_ = list_of(table.kv_indices, table.kv_offsets, count_at, at);
    }
    if (table.full_kv_num_blocks != nullptr) {
      full_count_ = table.full_kv_num_blocks[count_at];
      const int64 at = work.batch * table.full_indices_batch_stride + work.head * table.full_indices_head_stride +
                       block_row * table.full_indices_row_stride;
      full_list_ = list_of(table.full_kv_indices, table.full_kv_offsets, count_at, at);
    }
  }

  __device__ __forceinline__ bool next(KvTile& tile) {
    // A tile at or beyond kv_len, in the last block of an uneven length, is skipped.
    while (next_kv_ >= block_end_) {
      if (position_ == partial_count_ + full_count_) return false;
      partial_ = position_ < partial_count_;
      const int32* list = partial_ ? partial_list_ : full_list_;
      const int entry = partial_ ? position_ : position_ - partial_count_;
      const int block = list != nullptr ? list[entry] : entry;
      ++position_;
      next_kv_ = block * kv_block_;
      block_end_ = min_int(next_kv_ + kv_block_, kv_len_);
    }
    tile.first_kv = next_kv_;
    next_kv_ += Plan::tile_kv;
    tile.partial = partial_ || next_kv_ > kv_len_;
    return true;
  }

 private:
  // Null: the list of all blocks.
  static __device__ __forceinline__ const int32* list_of(const int32* indices, const int32* offsets, int64 count_at,
                                                         int64 strided_at) {
    if (offsets == nullptr) return indices + strided_at;
    const int32 offset = offsets[count_at];
    return offset < 0 ? nullptr : indices + offset;
  }

  int kv_len_;
  int kv_block_;
  int partial_count_ = 0;
  int full_count_ = 0;
  const int32* partial_list_ = nullptr;
  const int32* full_list_ = nullptr;
  int position_ = 0;
  int next_kv_ = 0;
  int block_end_ = 0;
  bool partial_ = false;
};

}  // namespace attnc::sm90
