// SPDX-License-Identifier: Apache-2.0
// Masks that come with a block table as bits (ForwardArguments::mask_bits), from global to shared memory.
#pragma once

#include "sm90/tile_stream.cuh"

namespace attnc::sm90 {

// One warp, for the rows of one warpgroup in one tile that is not full for all: has the copy engine fetch them where
// the table has bits, and writes them itself where it has none. Returns the bytes that the copy engine will deliver.
template <class Plan, class Stream>
__device__ __forceinline__ uint32 stage_mask_bits(uint8* tile_rows, const ForwardArguments& args, const WorkTile& work,
                                                  const Stream& stream, const KvTile& tile, int warpgroup,
                                                  uint64* full) {
  constexpr int bytes = rows_per_warpgroup * mask_row_bytes;
  const int lane = threadIdx.x % warp_threads;
  const int listed = (tile.listed >> (2 * warpgroup)) & (stage_partial | stage_dropped);
  uint8* rows = tile_rows + warpgroup * bytes;
  if (listed == stage_partial) {
    const int upper = warpgroup >= stream.split() ? 1 : 0;
    const int q_first = work.q_tile * tile_q_rows<Plan>() + warpgroup * rows_per_warpgroup;
    const int64 entry =
        BlockRow::first_partial(args.blocks, work.batch, work.head, stream.first_row() + upper) +
        (upper != 0 ? tile.positions[1] : tile.positions[0]);  // an index would put them in local memory
    const int64 row = entry * mask_block + q_first % mask_block;
    if (lane == 0) {
      load_bytes(reinterpret_cast<const uint8*>(args.mask_bits) + row * mask_row_bytes, full, shared_address(rows),
                 bytes);
    }
    return bytes;
  }
  // Full as far as there are keys, or dropped.
  const int keys = listed == 0 ? args.kv_len - tile.first_kv / mask_block * mask_block : 0;
  const uint4 row{low_bits(keys), low_bits(keys - 32), low_bits(keys - 64), low_bits(keys - 96)};
#pragma unroll 1
  for (int i = lane; i < rows_per_warpgroup; i += warp_threads) reinterpret_cast<uint4*>(rows)[i] = row;
  proxy_fence();  // the copy engine may fill these bytes next
  return 0;
}

}  // namespace attnc::sm90
