// SPDX-License-Identifier: Apache-2.0
// One block: where its elements are, and the exact verdict on it by looking at them.
//
// `Mask` is generated: Params, Uniform, classify(...) as in contract.cuh, and keep(params, context, q_idx, kv_idx).
#pragma once

#include "block_mask/arguments.cuh"
#include "contract.cuh"

namespace attnc::block_mask {

// Elements of blocks [row, row + rows) x [column, column + columns), of which at least one exists.
__forceinline__ BlockRange elements_of(const Arguments& args, int row, int rows, int column, int columns) {
  BlockRange range;
  range.q_first = row * args.q_block;
  range.q_last = smaller((row + rows) * args.q_block, args.q_len) - 1;
  range.kv_first = column * args.kv_block;
  range.kv_last = smaller((column + columns) * args.kv_block, args.kv_len) - 1;
  return range;
}

__forceinline__ TileContext context_of(const Arguments& args, int group) {
  return {group / args.heads, group % args.heads, args.q_len, args.kv_len, 1.0f};
}

struct Seen {
  bool kept = false, dropped = false;

  __forceinline__ void add(bool asked, bool keep) {
    kept = kept || __any_sync(all_lanes, asked && keep);
    dropped = dropped || __any_sync(all_lanes, asked && !keep);
  }
  __forceinline__ bool both() const { return kept && dropped; }
};

// Elements that a warp looks at: rows [q_first, q_last], the same for all lanes or one a lane, of every lane's columns
// kv_first, kv_first + 32, ... up to kv_last.
struct Elements {
  int q_first, q_last;
  int kv_first, kv_last;
  int columns;  // of a lane, at most
};

// 32 of a block, corners first, then by steps coprime to any block: neighbours, both parities, both ends.
__forceinline__ Elements scattered(const BlockRange& block) {
  const int lane = lane_index();
  const int height = block.q_last - block.q_first + 1, width = block.kv_last - block.kv_first + 1;
  const int y = lane < 4 ? lane / 2 * (height - 1) : static_cast<int>((lane * 37u + 1u) % static_cast<uint32>(height));
  const int x =
      lane < 4 ? lane % 2 * (width - 1) : static_cast<int>((lane * 53u + (lane & 1u)) % static_cast<uint32>(width));
  return {block.q_first + y, block.q_first + y, block.kv_first + x, block.kv_first + x, 1};
}

// One of 8 x 4 parts of a block; beyond the block's end where it has none.
__forceinline__ BlockRange part_range(const BlockRange& block, int part) {
  const int height = (block.q_last - block.q_first + 8) / 8, width = (block.kv_last - block.kv_first + 4) / 4;
  BlockRange range;
  range.q_first = block.q_first + part / 4 * height;
  range.q_last = smaller(range.q_first + height - 1, block.q_last);
  range.kv_first = block.kv_first + part % 4 * width;
  range.kv_last = smaller(range.kv_first + width - 1, block.kv_last);
  return range;
}

__forceinline__ Elements part_of(const BlockRange& block, int part) {
  const BlockRange range = part_range(block, part);
  return {range.q_first, range.q_last, range.kv_first + lane_index(), range.kv_last,
          (range.kv_last - range.kv_first + 32) / 32};
}

// Looks until both kinds have been seen.
template <class Mask>
__forceinline__ void look(const typename Mask::Params& params, const TileContext& context, const Elements& elements,
                          Seen& seen) {
#pragma unroll 1
  for (int i = 0; i < elements.columns && !seen.both(); ++i) {
    const int kv_idx = elements.kv_first + 32 * i;
    const bool asked = kv_idx <= elements.kv_last;
#pragma unroll 1
    for (int q_idx = elements.q_first; __any_sync(all_lanes, q_idx <= elements.q_last) && !seen.both(); ++q_idx)
      seen.add(asked, asked && Mask::keep(params, context, q_idx, kv_idx));
  }
}

// The exact verdict on a block, by a warp. Most undecided blocks show both kinds of element at once; where they do not,
// 8 x 4 parts are classified, and the elements of those left open are looked at until both kinds have been seen.
template <class Mask>
__forceinline__ Seen look_at_block(const typename Mask::Params& params, const TileContext& context,
                                   const BlockRange& block) {
  Seen seen;
  uint32 open = 0;
  for (bool sample = true; sample || (open != 0 && !seen.both());) {
    const Elements elements = sample ? scattered(block) : part_of(block, lowest_bit(open));
    open &= open - 1;
    look<Mask>(params, context, elements, seen);
    if (!sample || seen.both()) {
      sample = false;
      continue;
    }
    sample = false;
    const BlockRange range = part_range(block, lane_index());
    const bool exists = range.q_first <= range.q_last && range.kv_first <= range.kv_last;
    BlockVerdict verdict = BlockVerdict::empty;
    if (exists) verdict = Mask::classify(params, context, typename Mask::Uniform{}, range);
    open = __ballot_sync(all_lanes, exists && verdict == BlockVerdict::partial);
    seen.kept = seen.kept || __any_sync(all_lanes, exists && verdict == BlockVerdict::full);
    seen.dropped = seen.dropped || __any_sync(all_lanes, exists && verdict == BlockVerdict::empty);
  }
  return seen;
}

}  // namespace attnc::block_mask
