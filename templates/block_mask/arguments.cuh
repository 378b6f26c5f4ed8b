// SPDX-License-Identifier: Apache-2.0
// The one argument of the kernels that build a BlockMask. runtime/cuda/block_mask_arguments.h writes the same layout.
//
// What the tables are made from are two planes of bits, partial and full, one bit a block, [groups, q_blocks, words]
// with bit j of word w standing for kv block 32 * w + j. A group is a (b, h) that the mask tells apart.
#pragma once

#include "dependent_launch.cuh"
#include "prelude.cuh"

namespace attnc::block_mask {

// One side's lists. Row r of `kind` (0 partial, 1 full) is indices[offsets[kind * rows + r]] and the counts[...] - 1
// entries after it, ascending. An offset of -1 stands for all blocks 0, 1, 2, ...: the row did not fit into `capacity`,
// and is then one long partial list, which is as right and slower.
struct Lists {
  int32* counts;   // [2, rows]
  int32* offsets;  // [2, rows]
  int32* indices;  // [capacity]
  // Q side only: counts of stretches of Arguments::section_rows q blocks, [groups, sections, 2, kv_blocks].
  int32* section_counts;
  int64 capacity;
};

// What is counted on the way, for BlockMaskStats.
struct Tally {
  int32 evaluated;
  int32 evaluated_full;
  int32 evaluated_partial;
  int32 full;  // before full blocks are merged into the partial ones
  int32 overflowing_rows;
};

struct Arguments {
  uint32* partial;  // planes
  uint32* full;
  uint32* open;  // plane, of few blocks only: those that were looked at
  Lists kv;
  Lists q;
  int32* work_order;  // [groups, q_blocks]: q blocks of a group, see order_section
  Tally* tally;
  int32 batch;  // those the mask tells apart
  int32 heads;
  int32 q_len;
  int32 kv_len;
  int32 q_block;
  int32 kv_block;
  int32 q_blocks;
  int32 kv_blocks;
  int32 words;                 // of a row of a plane
  int32 sections;              // of the q side
  int32 section_rows;          // a multiple of 32
  int32 rows_per_warp;         // of a square of 32 x 32 blocks: 4 or 32
  int32 words_per_step;        // a warp of the exact pass takes at once: 1 or 32
  int32 separate_full_blocks;  // 0: full blocks are listed as partial
};

// The order in which kernels take the q blocks of a group: sections of so many, the last first, and within a section
// those with most kv blocks first, the last first among equals. So the longest do not come last, what runs at one time
// is near enough to share K and V in L2 (64 K tokens in blocks of 128), and a causal mask is walked as without a table.
inline constexpr int order_section = 512;

// Where q block `self` stands in its group's order, if `before` blocks of its section come before it.
__forceinline__ int order_position(int self, int q_blocks, int before) {
  const int end = (self / order_section + 1) * order_section;
  return q_blocks - (end < q_blocks ? end : q_blocks) + before;
}

inline constexpr uint32 all_lanes = 0xffffffffu;

__forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) % 32; }
// Warps, rows and words of a plane are counted in 32 bits, unsigned: divisions of 64 bits take long to compile and run.
// The host sees to it that they fit.
__forceinline__ uint32 warp_index() { return blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; }
__forceinline__ uint32 warp_count() { return gridDim.x * (blockDim.x / 32); }
__forceinline__ int smaller(int a, int b) { return a < b ? a : b; }
__forceinline__ int lowest_bit(uint32 bits) { return __ffs(static_cast<int>(bits)) - 1; }
// Bits [0, count) set, for count of any sign and size.
__forceinline__ uint32 low_bits(int count) { return count >= 32 ? ~0u : count <= 0 ? 0u : (1u << count) - 1; }

}  // namespace attnc::block_mask
