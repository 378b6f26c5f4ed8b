// SPDX-License-Identifier: Apache-2.0
// Deciding a mask of few blocks: every block of threads takes 32 blocks of a row. There are warps enough for each to
// judge single blocks at once, and nothing is gained by asking about large rectangles first.
#pragma once

#include "block_mask/look.cuh"

namespace attnc::block_mask {

inline constexpr int decide_threads = 512;

// Leaves the planes exact, and in args.open which blocks were looked at. Full blocks are not merged yet.
//
// The classifier and the mask are each called from one place in the text, however much that bends the loops: they may
// be long, and a user waits for them to compile.
template <class Mask>
__forceinline__ void decide_small(const Arguments& args, const typename Mask::Params& params) {
  constexpr int warps = decide_threads / 32;
  __shared__ uint32 decided[2];  // of the undecided blocks: partial, full
  allow_next_launch();
  wait_for_previous_launch();
  const int lane = lane_index(), warp = static_cast<int>(threadIdx.x) / 32;
  const uint32 any_row = blockIdx.x / static_cast<uint32>(args.words);
  const int word = static_cast<int>(blockIdx.x - any_row * static_cast<uint32>(args.words));
  const int group = static_cast<int>(any_row / static_cast<uint32>(args.q_blocks));
  const int row = static_cast<int>(any_row) - group * args.q_blocks;
  const TileContext context = context_of(args, group);
  if (threadIdx.x < 2) decided[threadIdx.x] = 0;
  __syncthreads();

  // First every warp judges the 32 blocks, one a lane; then the parts of a block that has to be looked at.
  const int column = word * 32 + lane;
  BlockRange asked = elements_of(args, row, 1, column < args.kv_blocks ? column : 0, 1), block{};
  bool exists = column < args.kv_blocks;
  bool whole_word = true;
  uint32 proved = 0, open = 0, left = 0, current = 0, open_parts = 0;
  Seen seen;
  for (bool done = false; !done;) {
    BlockVerdict verdict = BlockVerdict::empty;
    if (exists) verdict = Mask::classify(params, context, typename Mask::Uniform{}, asked);
    const uint32 full = __ballot_sync(all_lanes, verdict == BlockVerdict::full);
    const uint32 undecided = __ballot_sync(all_lanes, verdict == BlockVerdict::partial);
    if (whole_word) {
      whole_word = false;
      proved = full;
      open = undecided;
      left = undecided;
      // This warp's share: every `warps`-th.
      for (int skip = warp; skip > 0; --skip) left &= left - 1;
    } else {
      seen.kept = seen.kept || full != 0;
      seen.dropped = seen.dropped || __any_sync(all_lanes, exists && verdict == BlockVerdict::empty);
      open_parts = undecided;
    }
    // Elements: of the parts left open, then the scattered ones of the next block, until a block needs its parts
    // judged.
    for (;;) {
      const bool sample = open_parts == 0 || seen.both();
      Elements elements;
      if (sample) {
        if (current != 0 && seen.kept && lane == 0) atomicOr(&decided[seen.dropped ? 0 : 1], current);
        if (left == 0) {
          done = true;
          break;
        }
        current = left & (~left + 1);
        for (int skip = warps; skip > 0 && left != 0; --skip) left &= left - 1;
        seen = {};
        block = elements_of(args, row, 1, word * 32 + lowest_bit(current), 1);
        elements = scattered(block);
      } else {
        elements = part_of(block, lowest_bit(open_parts));
        open_parts &= open_parts - 1;
      }
      look<Mask>(params, context, elements, seen);
      if (sample) {
        open_parts = 0;
        if (!seen.both()) break;
      }
    }
    asked = part_range(block, lane);
    exists = asked.q_first <= asked.q_last && asked.kv_first <= asked.kv_last;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    args.partial[blockIdx.x] = decided[0];
    args.full[blockIdx.x] = proved | decided[1];
    args.open[blockIdx.x] = open;
  }
}

}  // namespace attnc::block_mask
