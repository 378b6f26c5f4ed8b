// SPDX-License-Identifier: Apache-2.0
// Deciding many blocks: by the classifier for rectangles of them, then by looking at the elements of what it leaves
// open.
#pragma once

#include "block_mask/look.cuh"

namespace attnc::block_mask {

// A warp decides a square of 32 x 32 blocks, or a few rows of one where squares are few: first the whole square, then
// its 8 x 8 parts, one a lane, then the blocks of the parts that are left, a row at a time. What stays undecided is
// set in the partial plane.
template <class Mask>
__forceinline__ void classify(const Arguments& args, const typename Mask::Params& params) {
  allow_next_launch();
  wait_for_previous_launch();
  const int lane = lane_index();
  const uint32 parts = 32u / static_cast<uint32>(args.rows_per_warp), words = static_cast<uint32>(args.words);
  const uint32 square_rows = (static_cast<uint32>(args.q_blocks) + 31) / 32;
  const uint32 square = warp_index() / parts;
  const int part = static_cast<int>(warp_index() % parts);
  const uint32 rest = square / words;
  const int word = static_cast<int>(square - rest * words);
  const int group = static_cast<int>(rest / square_rows);
  const int row = static_cast<int>(rest % square_rows) * 32;
  if (group >= args.batch * args.heads) return;
  const int column = word * 32;
  const int first = part * args.rows_per_warp, end = smaller(first + args.rows_per_warp, args.q_blocks - row);
  if (first >= end) return;
  const TileContext context = context_of(args, group);
  const typename Mask::Uniform uniform{};

  uint32 full_parts = 0, open_parts = 0;  // 8 x 8 parts: bit 4 * (row / 8) + column / 8
  uint32 full_word = 0, partial_word = 0;
  // Rounds: 0 the square, 1 its parts, then a row of blocks each. One call of the classifier keeps the code small.
  for (int round = 0; round < 2 + end - first;) {
    const int r = first + round - 2;
    int sub_row = row, sub_column = column, size = 32;
    bool asked = true;
    if (round == 1) {
      sub_row += lane / 4 * 8;
      sub_column += lane % 4 * 8;
      size = 8;
      asked = lane < 16;
    } else if (round >= 2) {
      sub_row += r;
      sub_column += lane;
      size = 1;
      asked = open_parts >> (r / 8 * 4 + lane / 8) & 1;
    }
    asked = asked && sub_row < args.q_blocks && sub_column < args.kv_blocks;
    BlockVerdict verdict = BlockVerdict::empty;
    if (asked) verdict = Mask::classify(params, context, uniform, elements_of(args, sub_row, size, sub_column, size));
    const uint32 full = __ballot_sync(all_lanes, verdict == BlockVerdict::full);
    const uint32 open = __ballot_sync(all_lanes, verdict == BlockVerdict::partial);
    if (round == 0) {
      full_parts = full != 0 ? 0xffffu : 0u;
      if (open == 0) {
        if (full != 0 && lane >= first && lane < end) full_word = low_bits(args.kv_blocks - column);
        break;
      }
    } else if (round == 1) {
      full_parts = full;
      open_parts = open;
    } else {
      const uint32 decided = __ballot_sync(all_lanes, (full_parts >> (r / 8 * 4 + lane / 8) & 1) != 0);
      if (lane == r) {
        full_word = (full | decided) & low_bits(args.kv_blocks - column);
        partial_word = open;
      }
    }
    ++round;
  }
  if (lane >= first && lane < end) {
    const int64 at = (static_cast<int64>(group) * args.q_blocks + row + lane) * args.words + word;
    args.full[at] = full_word;
    args.partial[at] = partial_word;
  }
}

// Goes through the partial plane, whose bits are the undecided blocks, and leaves both planes exact.
template <class Mask>
__forceinline__ void decide(const Arguments& args, const typename Mask::Params& params) {
  allow_next_launch();
  wait_for_previous_launch();
  const int lane = lane_index();
  const uint32 words = static_cast<uint32>(args.batch * args.heads * args.q_blocks) * static_cast<uint32>(args.words);
  const uint32 step = static_cast<uint32>(args.words_per_step);
  Tally tally{};
  for (uint32 base = warp_index() * step; base < words; base += warp_count() * step) {
    const bool mine = lane < args.words_per_step && base + lane < words;
    uint32 open = mine ? args.partial[base + lane] : 0;
    uint32 full = mine ? args.full[base + lane] : 0;
    uint32 partial = open;
    for (uint32 lanes = __ballot_sync(all_lanes, open != 0); lanes != 0; lanes &= lanes - 1) {
      const int owner = lowest_bit(lanes);
      const uint32 at = base + static_cast<uint32>(owner);
      const uint32 any_row = at / static_cast<uint32>(args.words);
      const int word = static_cast<int>(at - any_row * static_cast<uint32>(args.words));
      const int group = static_cast<int>(any_row / static_cast<uint32>(args.q_blocks));
      const int row = static_cast<int>(any_row) - group * args.q_blocks;
      const TileContext context = context_of(args, group);
      for (uint32 bits = __shfl_sync(all_lanes, open, owner); bits != 0; bits &= bits - 1) {
        const uint32 bit = bits & (~bits + 1);
        const Seen seen =
            look_at_block<Mask>(params, context, elements_of(args, row, 1, word * 32 + lowest_bit(bits), 1));
        ++tally.evaluated;
        tally.evaluated_full += seen.kept && !seen.dropped;
        tally.evaluated_partial += seen.both();
        if (lane == owner && !seen.both()) {
          partial &= ~bit;
          if (seen.kept) full |= bit;
        }
      }
    }
    if (!args.separate_full_blocks) {
      tally.full += static_cast<int>(__reduce_add_sync(all_lanes, __popc(full)));
      partial |= full;
      full = 0;
    }
    if (mine && (open != 0 || !args.separate_full_blocks)) {
      args.partial[base + lane] = partial;
      args.full[base + lane] = full;
    }
  }
  if (lane == 0) {
    if (tally.evaluated != 0) {
      atomicAdd(&args.tally->evaluated, tally.evaluated);
      atomicAdd(&args.tally->evaluated_full, tally.evaluated_full);
      atomicAdd(&args.tally->evaluated_partial, tally.evaluated_partial);
    }
    if (tally.full != 0) atomicAdd(&args.tally->full, tally.full);
  }
}

}  // namespace attnc::block_mask
