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

// The exact verdict on a block, by a warp. Most undecided blocks show both kinds of element at once; where they do not,
// 8 x 4 parts are classified, and the elements of those left open are looked at until both kinds have been seen.
template <class Mask>
__forceinline__ Seen look_at_block(const typename Mask::Params& params, const TileContext& context,
                                   const BlockRange& block) {
  const int lane = lane_index();
  const int height = block.q_last - block.q_first + 1, width = block.kv_last - block.kv_first + 1;
  const int part_height = (height + 7) / 8, part_width = (width + 3) / 4;
  Seen seen;
  uint32 open = 0;
  // Part -1: 32 scattered elements, corners first.
  for (int part = -1; part < 32; ++part) {
    int q_first, q_last, kv_first, kv_last;
    if (part < 0) {
      // Steps coprime to any block: neighbours, both parities, both ends.
      const int y =
          lane < 4 ? lane / 2 * (height - 1) : static_cast<int>((lane * 37u + 1u) % static_cast<uint32>(height));
      const int x =
          lane < 4 ? lane % 2 * (width - 1) : static_cast<int>((lane * 53u + (lane & 1u)) % static_cast<uint32>(width));
      q_first = q_last = block.q_first + y;
      kv_first = kv_last = block.kv_first + x;
    } else {
      if (open == 0) break;
      part = lowest_bit(open);
      open &= open - 1;
      q_first = block.q_first + part / 4 * part_height;
      q_last = smaller(q_first + part_height - 1, block.q_last);
      kv_first = block.kv_first + part % 4 * part_width + lane;
      kv_last = smaller(kv_first - lane + part_width - 1, block.kv_last);
    }
    const int columns = part < 0 ? 1 : (part_width + 31) / 32;
    for (int i = 0; i < columns && !seen.both(); ++i) {
      const int kv_idx = kv_first + 32 * i;
      for (int q_idx = q_first; __any_sync(all_lanes, q_idx <= q_last) && !seen.both(); ++q_idx) {
        const bool asked = kv_idx <= kv_last;
        seen.add(asked, asked && Mask::keep(params, context, q_idx, kv_idx));
      }
    }
    if (seen.both()) break;
    if (part < 0) {
      BlockRange range;
      range.q_first = block.q_first + lane / 4 * part_height;
      range.q_last = smaller(range.q_first + part_height - 1, block.q_last);
      range.kv_first = block.kv_first + lane % 4 * part_width;
      range.kv_last = smaller(range.kv_first + part_width - 1, block.kv_last);
      const bool exists = range.q_first <= range.q_last && range.kv_first <= range.kv_last;
      BlockVerdict verdict = BlockVerdict::empty;
      if (exists) verdict = Mask::classify(params, context, typename Mask::Uniform{}, range);
      open = __ballot_sync(all_lanes, exists && verdict == BlockVerdict::partial);
      seen.kept = seen.kept || __any_sync(all_lanes, exists && verdict == BlockVerdict::full);
      seen.dropped = seen.dropped || __any_sync(all_lanes, exists && verdict == BlockVerdict::empty);
      if (seen.both()) break;
    }
  }
  return seen;
}

}  // namespace attnc::block_mask
