// SPDX-License-Identifier: Apache-2.0
// Lists of block indices from planes of bits: count, scan, fill. Both sides at once: a warp takes a row of the planes
// for the kv side, or 32 columns of a stretch of rows for the q side.
#pragma once

#include "block_mask/arguments.cuh"

namespace attnc::block_mask {

__forceinline__ uint32 groups(const Arguments& args) { return static_cast<uint32>(args.batch * args.heads); }
__forceinline__ uint32 kv_rows(const Arguments& args) { return groups(args) * static_cast<uint32>(args.q_blocks); }
__forceinline__ uint32 q_rows(const Arguments& args) { return groups(args) * static_cast<uint32>(args.kv_blocks); }
__forceinline__ uint32 strips(const Arguments& args) {
  return groups(args) * static_cast<uint32>(args.sections) * static_cast<uint32>(args.words);
}

// 32 columns of a stretch of rows.
struct Strip {
  int group, section, word;

  __forceinline__ Strip(const Arguments& args, uint32 index) {
    const uint32 rest = index / static_cast<uint32>(args.words);
    word = static_cast<int>(index - rest * static_cast<uint32>(args.words));
    group = static_cast<int>(rest / static_cast<uint32>(args.sections));
    section = static_cast<int>(rest) - group * args.sections;
  }
  __forceinline__ int64 counts_at(const Arguments& args, int of_section, int kind) const {
    return (static_cast<int64>(group * args.sections + of_section) * 2 + kind) * args.kv_blocks + word * 32 +
           lane_index();
  }
};

// Calls visit(first row, bits) for stretches of 32 rows: bit i of `bits` is row first + i of this lane's column.
template <class Visit>
__forceinline__ void for_each_column(const Arguments& args, const uint32* plane, const Strip& strip, Visit&& visit) {
  const int lane = lane_index();
  const int begin = strip.section * args.section_rows, end = smaller(begin + args.section_rows, args.q_blocks);
  constexpr int ahead = 4;
  for (int first = begin; first < end; first += 32 * ahead) {
    uint32 loaded[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      const int row = first + 32 * i + lane;
      const int64 at = (static_cast<int64>(strip.group) * args.q_blocks + row) * args.words + strip.word;
      loaded[i] = row < end ? plane[at] : 0;
    }
#pragma unroll 1
    for (int i = 0; i < ahead; ++i) {
      const uint32 word = i == 0 ? loaded[0] : i == 1 ? loaded[1] : i == 2 ? loaded[2] : loaded[3];
      if (!__any_sync(all_lanes, word != 0)) continue;
      uint32 bits = 0;
#pragma unroll 4
      for (int column = 0; column < 32; ++column) {
        const uint32 rows = __ballot_sync(all_lanes, (word >> column & 1) != 0);
        if (lane == column) bits = rows;
      }
      visit(first + 32 * i, bits);
    }
  }
}

__forceinline__ void count(const Arguments& args) {
  allow_next_launch();
  wait_for_previous_launch();
  const int lane = lane_index();
  const uint32 rows = kv_rows(args), warp = warp_index();
  if (warp >= rows + strips(args)) return;
  const Strip strip(args, warp - rows);  // of no meaning below rows
#pragma unroll 1
  for (int kind = 0; kind < 2; ++kind) {
    const uint32* plane = kind == 0 ? args.partial : args.full;
    int sum = 0;
    if (warp < rows) {
      const uint32* row = plane + static_cast<int64>(warp) * args.words;
      for (int word = lane; word < args.words; word += 32) sum += __popc(row[word]);
      sum = static_cast<int>(__reduce_add_sync(all_lanes, static_cast<uint32>(sum)));
      if (lane == 0) args.kv.counts[kind * rows + warp] = sum;
    } else {
      for_each_column(args, plane, strip, [&](int, uint32 bits) { sum += __popc(bits); });
      if (strip.word * 32 + lane < args.kv_blocks)
        args.q.section_counts[strip.counts_at(args, strip.section, kind)] = sum;
    }
  }
}

// Offsets from counts, by one block of 1024 threads a side (block 0: kv, block 1: q).
__forceinline__ void scan(const Arguments& args) {
  allow_next_launch();
  wait_for_previous_launch();
  __shared__ int warp_sums[32];
  const bool q_side = blockIdx.x == 1;
  const Lists& lists = q_side ? args.q : args.kv;
  const uint32 rows = q_side ? q_rows(args) : kv_rows(args);
  const int other_blocks = q_side ? args.q_blocks : args.kv_blocks;
  const int lane = lane_index(), warp = static_cast<int>(threadIdx.x) / 32;

  int64 before_all = 0;
#pragma unroll 1
  for (uint32 base = 0; base < 2 * rows; base += 1024) {
    const uint32 index = base + threadIdx.x;
    int own = 0;
    if (index < 2 * rows) {
      if (q_side) {
        const uint32 kind = index >= rows, row = index - kind * rows;
        const uint32 group = row / static_cast<uint32>(args.kv_blocks), column = row - group * args.kv_blocks;
        const int32* counts =
            lists.section_counts + (static_cast<int64>(group) * args.sections * 2 + kind) * args.kv_blocks + column;
#pragma unroll 4
        for (int section = 0; section < args.sections; ++section) own += counts[2ll * section * args.kv_blocks];
        lists.counts[index] = own;
      } else {
        own = lists.counts[index];
      }
    }
    int before = own;  // over the lanes up to this one, itself included
#pragma unroll 1
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = __shfl_up_sync(all_lanes, before, distance);
      if (lane >= distance) before += other;
    }
    if (lane == 31) warp_sums[warp] = before;
    __syncthreads();
    const int sum_of_warp = warp_sums[lane];
    __syncthreads();
    const int before_warp =
        static_cast<int>(__reduce_add_sync(all_lanes, static_cast<uint32>(lane < warp ? sum_of_warp : 0)));
    const int64 offset = before_all + before_warp + before - own;
    if (index < 2 * rows) lists.offsets[index] = offset + own <= lists.capacity ? static_cast<int32>(offset) : -1;
    before_all += static_cast<int>(__reduce_add_sync(all_lanes, static_cast<uint32>(sum_of_warp)));
  }
  __syncthreads();
  // A row of which either list did not fit becomes one list of all blocks, partial.
  for (uint32 row = threadIdx.x; row < rows; row += 1024) {
    if (lists.offsets[row] >= 0 && lists.offsets[rows + row] >= 0) continue;
    lists.offsets[row] = -1;
    lists.offsets[rows + row] = -1;
    lists.counts[row] = other_blocks;
    lists.counts[rows + row] = 0;
    atomicAdd(&args.tally->overflowing_rows, 1);
  }
}

// The indices of the bits set in a row of a plane.
__forceinline__ void fill_row(const Arguments& args, uint32 row) {
  const int lane = lane_index();
  const uint32 rows = kv_rows(args);
#pragma unroll 1
  for (int kind = 0; kind < 2; ++kind) {
    const int32 offset = args.kv.offsets[kind * rows + row];
    if (offset < 0) return;
    int32* out = args.kv.indices + offset;
    const uint32* plane = (kind == 0 ? args.partial : args.full) + static_cast<int64>(row) * args.words;
    for (int first = 0; first < args.words; first += 32) {
      const uint32 mine = first + lane < args.words ? plane[first + lane] : 0;
      for (uint32 lanes = __ballot_sync(all_lanes, mine != 0); lanes != 0; lanes &= lanes - 1) {
        const int owner = lowest_bit(lanes);
        const uint32 bits = __shfl_sync(all_lanes, mine, owner);
        if (bits >> lane & 1) out[__popc(bits & low_bits(lane))] = (first + owner) * 32 + lane;
        out += __popc(bits);
      }
    }
  }
}

__forceinline__ void fill_strip(const Arguments& args, const Strip& strip) {
  const uint32 rows = q_rows(args);
  const int column = strip.word * 32 + lane_index();
  const bool exists = column < args.kv_blocks;
  const uint32 row = static_cast<uint32>(strip.group * args.kv_blocks + column);
#pragma unroll 1
  for (int kind = 0; kind < 2; ++kind) {
    int32 offset = exists ? args.q.offsets[kind * rows + row] : -1;
    const bool fits = offset >= 0;
    if (fits) {
#pragma unroll 4
      for (int section = 0; section < strip.section; ++section)
        offset += args.q.section_counts[strip.counts_at(args, section, kind)];
    }
    for_each_column(args, kind == 0 ? args.partial : args.full, strip, [&](int first, uint32 bits) {
      if (!fits) return;
      for (; bits != 0; bits &= bits - 1) args.q.indices[offset++] = first + lowest_bit(bits);
    });
  }
}

// Where a q block stands in the order of its group; by a warp.
__forceinline__ void order(const Arguments& args, uint32 row) {
  const uint32 rows = kv_rows(args);
  if (row >= rows) return;
  const int self = static_cast<int>(row % static_cast<uint32>(args.q_blocks));
  const uint32 first = row - static_cast<uint32>(self);
  const int32 *partial = args.kv.counts + first, *full = args.kv.counts + rows + first;
  const int work = partial[self] + full[self];
  const int begin = self / order_section * order_section, end = smaller(begin + order_section, args.q_blocks);
  uint32 before = 0;
#pragma unroll 4
  for (int i = begin + lane_index(); i < end; i += 32) {
    const int other = partial[i] + full[i];
    before += other > work || (other == work && i > self);
  }
  before = __reduce_add_sync(all_lanes, before);
  if (lane_index() == 0) args.work_order[first + order_position(self, args.q_blocks, static_cast<int>(before))] = self;
}

// The warps of `count`, then one a row for the order.
__forceinline__ void fill(const Arguments& args) {
  allow_next_launch();
  wait_for_previous_launch();
  const uint32 rows = kv_rows(args), warp = warp_index();
  if (warp < rows) {
    fill_row(args, warp);
  } else if (warp - rows < strips(args)) {
    fill_strip(args, Strip(args, warp - rows));
  } else {
    order(args, warp - rows - strips(args));
  }
}

}  // namespace attnc::block_mask
