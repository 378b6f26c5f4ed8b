// SPDX-License-Identifier: Apache-2.0
// A mask of few blocks in one launch: every block of threads decides 32 blocks of a row, and the one that ends last
// makes both sides' lists and the work order, which are small, from the planes in shared memory.
#pragma once

#include "block_mask/look.cuh"

namespace attnc::block_mask {

inline constexpr int small_threads = 512;
inline constexpr int small_words = 1024;  // of a plane, at most
inline constexpr int small_rows = 1024;   // of either side, at most

struct SmallStorage {
  uint32 planes[2][small_words];     // partial, full
  uint16 counts[2][2 * small_rows];  // of a side: partial, full
  int32 warp_sums[small_threads / 32];
};

// The length of one list, entry `kind * rows + row` of a side; the list itself, ascending, to `out` unless it is null.
__forceinline__ int list_blocks(const Arguments& args, const SmallStorage& shared, bool q_side, int rows, int entry,
                                int32* out) {
  const int kind = entry >= rows ? 1 : 0, row = entry - kind * rows;
  const uint32* plane = shared.planes[kind];
  // Words of a row of the plane, or one bit of each row of a column.
  int step = 1, end = args.words, at = row * args.words, column = -1;
  if (q_side) {
    const int group = static_cast<int>(static_cast<uint32>(row) / static_cast<uint32>(args.kv_blocks));
    column = row - group * args.kv_blocks;
    step = args.words;
    end = args.q_blocks;
    at = group * args.q_blocks * args.words + column / 32;
  }
  int count = 0;
#pragma unroll 1
  for (int i = 0; i < end; ++i, at += step) {
    uint32 bits = plane[at];
    if (q_side) bits = bits >> (column % 32) & 1;
    if (out == nullptr) {
      count += __popc(bits);
      continue;
    }
#pragma unroll 1
    for (; bits != 0; bits &= bits - 1) out[count++] = q_side ? i : i * 32 + lowest_bit(bits);
  }
  return count;
}

// Lists and order, by all threads of a block: the first half takes the kv side, the second the q side.
__forceinline__ void make_small_lists(const Arguments& args, SmallStorage& shared) {
  constexpr int half = small_threads / 2;
  const int groups = args.batch * args.heads;
  const int total = groups * args.q_blocks * args.words;
  for (int i = static_cast<int>(threadIdx.x); i < total; i += small_threads) {
    shared.planes[0][i] = load_fresh(args.partial + i);
    shared.planes[1][i] = load_fresh(args.full + i);
  }
  __syncthreads();

  const bool q_side = threadIdx.x >= half;
  const int side = q_side ? 1 : 0;
  const int thread = static_cast<int>(threadIdx.x) % half, warp = static_cast<int>(threadIdx.x) / 32;
  const Lists& lists = q_side ? args.q : args.kv;
  const int rows = groups * (q_side ? args.kv_blocks : args.q_blocks);
  // A thread counts for a stretch of entries, so that one scan over threads gives the offsets.
  const int each = (2 * rows + half - 1) / half;
  const int begin = smaller(thread * each, 2 * rows), end = smaller(begin + each, 2 * rows);
  int own = 0, offset = 0;
#pragma unroll 1
  for (int pass = 0; pass < 2; ++pass) {
#pragma unroll 1
    for (int entry = begin; entry < end; ++entry) {
      const int count = list_blocks(args, shared, q_side, rows, entry, pass == 0 ? nullptr : lists.indices + offset);
      if (pass == 0) {
        shared.counts[side][entry] = static_cast<uint16>(count);
      } else {
        lists.counts[entry] = count;
        lists.offsets[entry] = offset;
      }
      offset += count;
    }
    if (pass == 1) break;
    own = offset;
#pragma unroll 1
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = __shfl_up_sync(all_lanes, offset, distance);
      if (lane_index() >= distance) offset += other;
    }
    if (lane_index() == 31) shared.warp_sums[warp] = offset;
    __syncthreads();
    offset -= own;
#pragma unroll 1
    for (int i = q_side ? half / 32 : 0; i < warp; ++i) offset += shared.warp_sums[i];
  }

  const int kv_rows = groups * args.q_blocks;
  for (int row = static_cast<int>(threadIdx.x); row < kv_rows; row += small_threads) {
    const int first = row - static_cast<int>(static_cast<uint32>(row) % static_cast<uint32>(args.q_blocks));
    const uint16 *partial = shared.counts[0] + first, *full = partial + kv_rows;
    const int self = row - first, work = partial[self] + full[self];
    int rank = 0;
#pragma unroll 2
    for (int i = 0; i < args.q_blocks; ++i) {
      const int other = partial[i] + full[i];
      rank += other > work || (other == work && i < self);
    }
    args.work_order[first + rank] = self;
  }
}

template <class Mask>
__forceinline__ void build_small(const Arguments& args, const typename Mask::Params& params) {
  __shared__ SmallStorage shared;
  __shared__ uint32 decided[2];  // of the undecided blocks: partial, full
  __shared__ bool is_last;
  allow_next_launch();
  wait_for_previous_launch();
  const int lane = lane_index(), warp = static_cast<int>(threadIdx.x) / 32;
  const uint32 any_row = blockIdx.x / static_cast<uint32>(args.words);
  const int word = static_cast<int>(blockIdx.x - any_row * static_cast<uint32>(args.words));
  const int group = static_cast<int>(any_row / static_cast<uint32>(args.q_blocks));
  const int row = static_cast<int>(any_row) - group * args.q_blocks;
  const TileContext context = context_of(args, group);
  if (threadIdx.x < 2) decided[threadIdx.x] = 0;

  // Every warp judges the 32 blocks, one a lane, and then looks at its share of those left open.
  const int column = word * 32 + lane;
  BlockVerdict verdict = BlockVerdict::empty;
  if (column < args.kv_blocks)
    verdict = Mask::classify(params, context, typename Mask::Uniform{}, elements_of(args, row, 1, column, 1));
  const uint32 proved = __ballot_sync(all_lanes, verdict == BlockVerdict::full);
  const uint32 open = __ballot_sync(all_lanes, verdict == BlockVerdict::partial);
  __syncthreads();
  int turn = 0;
#pragma unroll 1
  for (uint32 bits = open; bits != 0; bits &= bits - 1, ++turn) {
    if (turn % (small_threads / 32) != warp) continue;
    const Seen seen = look_at_block<Mask>(params, context, elements_of(args, row, 1, word * 32 + lowest_bit(bits), 1));
    if (lane == 0 && seen.kept) atomicOr(&decided[seen.dropped ? 0 : 1], bits & (~bits + 1));
  }
  __syncthreads();

  if (threadIdx.x == 0) {
    uint32 partial = decided[0], full = proved | decided[1];
    Tally& tally = args.progress->tally;
    if (open != 0) {
      atomicAdd(&tally.evaluated, __popc(open));
      atomicAdd(&tally.evaluated_full, __popc(decided[1]));
      atomicAdd(&tally.evaluated_partial, __popc(partial));
    }
    if (!args.separate_full_blocks) {
      if (full != 0) atomicAdd(&tally.full, __popc(full));
      partial |= full;
      full = 0;
    }
    args.partial[blockIdx.x] = partial;
    args.full[blockIdx.x] = full;
    __threadfence();
    is_last = atomicAdd(&args.progress->ended, 1) == static_cast<int>(gridDim.x) - 1;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  if (threadIdx.x == 0) {
    const volatile Tally& counted = args.progress->tally;
    *args.tally = {counted.evaluated, counted.evaluated_full, counted.evaluated_partial, counted.full, 0};
    *args.progress = {};
  }
  make_small_lists(args, shared);
}

}  // namespace attnc::block_mask
