// SPDX-License-Identifier: Apache-2.0
// The elements of partial blocks as bits (ForwardArguments::mask_bits), for masks that are dear to evaluate in a kernel
// that meets each of them once a head. Blocks of 128 x 128; block number k of the kv side's lists has words
// [512 k, 512 (k + 1)): row after row, 4 words each, bit i of word w for key 32 w + i of the block.
#pragma once

#include "block_mask/look.cuh"

namespace attnc::block_mask {

inline constexpr int bits_threads = 512;

// A block of threads takes every gridDim.y-th partial block of a row of blocks; a warp takes 32 rows of one word.
template <class Mask>
__forceinline__ void write_bits(const Arguments& args, uint32* bits, const typename Mask::Params& params) {
  constexpr int row_words = 4, block_words = 128 * row_words;
  allow_next_launch();
  wait_for_previous_launch();
  const uint32 any_row = blockIdx.x;
  const int group = static_cast<int>(any_row / static_cast<uint32>(args.q_blocks));
  const int row = static_cast<int>(any_row) - group * args.q_blocks;
  const TileContext context = context_of(args, group);
  const int lane = lane_index(), warp = static_cast<int>(threadIdx.x) / 32;
  const int word = warp % row_words, first_row = warp / row_words * 32;
  const int count = args.kv.counts[any_row], offset = args.kv.offsets[any_row];
  const int q_first = row * 128 + first_row;
  const int q_count = smaller(args.q_len - q_first, 32);
  for (int i = static_cast<int>(blockIdx.y); i < count; i += static_cast<int>(gridDim.y)) {
    const int kv_idx = args.kv.indices[offset + i] * 128 + word * 32 + lane;
    const bool exists = kv_idx < args.kv_len;
    uint32 mine = 0;
#pragma unroll 2
    for (int r = 0; r < q_count; ++r) {
      const uint32 kept = __ballot_sync(all_lanes, exists && Mask::keep(params, context, q_first + r, kv_idx));
      if (lane == r) mine = kept;
    }
    bits[static_cast<int64>(offset + i) * block_words + (first_row + lane) * row_words + word] = mine;
  }
}

}  // namespace attnc::block_mask
