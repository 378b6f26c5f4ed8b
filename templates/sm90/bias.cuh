// SPDX-License-Identifier: Apache-2.0
// A term of the score that is linear in kv_idx (ALiBi), added by the tensor cores: one more reduction step of the score
// product, in which each key of the tile has its number in the tile and each row the slope. That costs the tensor cores
// 16 columns of head_dim, and the softmax nothing: an addition for each score would cost it a quarter at head_dim 64.
//
// The slope goes in as three bf16 that add up to 24 bits; the numbers, below 256, are exact in bf16. The slope is in
// units of raw dot products, so that what turns those into log2 units serves both.
#pragma once

#include "sm90/wgmma.cuh"

namespace attnc::sm90 {

// Writes row `row` of a tile of 16 columns as load_tile would have: `first` and `second` hold columns 0 to 3, the
// others are 0. A proxy fence and a barrier must follow.
__device__ __forceinline__ void store_bias_row(uint8* tile, int row, uint32 first, uint32 second) {
  // The 16-byte pieces of a row stand where their number, exclusive-or the row's within its group of 8, says.
  uint4* pieces = reinterpret_cast<uint4*>(tile + row * chunk_row_bytes);
  pieces[0 ^ (row % 8)] = uint4{first, second, 0, 0};
  pieces[1 ^ (row % 8)] = uint4{0, 0, 0, 0};
}

// The side of the keys, the same for every tile; by `threads` threads together.
template <int tile_kv>
__device__ __forceinline__ void store_bias_keys(uint8* tile, int thread, int threads) {
  for (int row = thread; row < tile_kv; row += threads) {
    const uint32 number = pack_pair<true>(static_cast<float>(row), static_cast<float>(row));
    store_bias_row(tile, row, number, number & 0xffffu);
  }
}

// What turns raw dot products into log2 units; not zero, so that the product with an infinity stays one.
__device__ __forceinline__ float not_zero(float unit) { return fabsf(unit) < 1e-30f ? 1e-30f : unit; }

// The side of the rows: the slope in log2 units a key over `unit`, the log2 units of a raw dot product. It is the same
// for all rows of a head, so one group of eight is stored and read for all of them. By lanes 0 to 7 of a warp.
inline constexpr int bias_group_bytes = 8 * chunk_row_bytes;

__device__ __forceinline__ void store_bias_group(uint8* group, int lane, float slope, float unit) {
  const float raw = slope / unit;
  const uint32 high = pack_pair<true>(raw, 0.0f);
  const float after_high = raw - __int_as_float(high << 16);
  const uint32 middle = pack_pair<true>(after_high, 0.0f);
  const uint32 low = pack_pair<true>(after_high - __int_as_float(middle << 16), 0.0f);
  if (lane < 8) store_bias_row(group, lane, high | middle << 16, low);
}

}  // namespace attnc::sm90
