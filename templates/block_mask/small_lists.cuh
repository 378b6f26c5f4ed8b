// SPDX-License-Identifier: Apache-2.0
// The lists of a mask of few blocks, both sides and the work order, by one block of threads from planes in shared
// memory. Follows small.cuh.
#pragma once

#include "block_mask/arguments.cuh"

namespace attnc::block_mask {

inline constexpr int small_threads = 512;
inline constexpr int small_words = 1024;  // of a plane, at most
inline constexpr int small_rows = 1024;   // of either side, at most

struct SmallStorage {
  uint32 planes[2][small_words];     // partial, full
  uint16 counts[2][2 * small_rows];  // of a side: partial, full
  int32 warp_sums[small_threads / 32];
  int32 counted[4];  // of Tally
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

// Reads the planes, merges full blocks into the partial ones if asked to, and writes what was counted on the way.
__forceinline__ void read_planes(const Arguments& args, SmallStorage& shared, int total) {
  int evaluated = 0, evaluated_full = 0, evaluated_partial = 0, merged = 0;
  for (int i = static_cast<int>(threadIdx.x); i < total; i += small_threads) {
    uint32 partial = args.partial[i], full = args.full[i];
    const uint32 open = args.open[i];
    evaluated += __popc(open);
    evaluated_full += __popc(open & full);
    evaluated_partial += __popc(partial);
    if (!args.separate_full_blocks) {
      merged += __popc(full);
      partial |= full;
      full = 0;
      args.partial[i] = partial;
      args.full[i] = 0;
    }
    shared.planes[0][i] = partial;
    shared.planes[1][i] = full;
  }
  const int counted[4] = {evaluated, evaluated_full, evaluated_partial, merged};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32 of_warp = __reduce_add_sync(all_lanes, static_cast<uint32>(counted[i]));
    if (lane_index() == 0 && of_warp != 0) atomicAdd(&shared.counted[i], static_cast<int>(of_warp));
  }
  __syncthreads();
  if (threadIdx.x == 0) *args.tally = {shared.counted[0], shared.counted[1], shared.counted[2], shared.counted[3], 0};
}

// By one block of threads: the first half takes the kv side, the second the q side.
__forceinline__ void list_small(const Arguments& args) {
  __shared__ SmallStorage shared;
  constexpr int half = small_threads / 2;
  allow_next_launch();
  wait_for_previous_launch();
  const int groups = args.batch * args.heads;
  if (threadIdx.x < 4) shared.counted[threadIdx.x] = 0;
  __syncthreads();
  read_planes(args, shared, groups * args.q_blocks * args.words);

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
    const int begin = self / order_section * order_section, end = smaller(begin + order_section, args.q_blocks);
    int before = 0;
#pragma unroll 2
    for (int i = begin; i < end; ++i) {
      const int other = partial[i] + full[i];
      before += other > work || (other == work && i > self);
    }
    args.work_order[first + order_position(self, args.q_blocks, before)] = self;
  }
}

}  // namespace attnc::block_mask
