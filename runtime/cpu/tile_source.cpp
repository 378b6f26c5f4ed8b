// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/tile_source.h"

#include <algorithm>

namespace attnc::cpu {

TileClassifier::TileClassifier(const ir::Program& program, const ForwardCall& call, const bounds::BufferRanges& buffers)
    : evaluator_(program, bounds::Knowledge{&call.bindings, &buffers}),
      box_(bounds::Box::whole(call.batch, call.q_heads, call.q_len, call.kv_len)) {}

bounds::Verdict TileClassifier::classify(const QTile& q, int kv_first, int kv_last) {
  box_.b_first = box_.b_last = q.b;
  box_.h_first = box_.h_last = q.h;
  box_.q_first = q.first;
  box_.q_last = q.last - 1;
  box_.kv_first = kv_first;
  box_.kv_last = kv_last - 1;
  return evaluator_.classify(box_);
}

TileSource::TileSource(const ForwardCall& call, bool has_mask, int tile_rows, int max_keys)
    : call_(call), has_mask_(has_mask), tile_rows_(tile_rows), max_keys_(max_keys) {
  auto ceil_div = [](int a, int b) { return (a + b - 1) / b; };
  if (call.block_mask != nullptr && *call.block_mask) {
    block_rows_ = call.block_mask->block_size().q;
    tile_rows_ = std::min(tile_rows_, block_rows_);
    tiles_per_block_ = ceil_div(block_rows_, tile_rows_);
    // The last block may need fewer tiles than a whole one.
    const int whole_blocks = call.q_len / block_rows_;
    q_tiles_ = whole_blocks * tiles_per_block_ + ceil_div(call.q_len % block_rows_, tile_rows_);
  } else {
    q_tiles_ = ceil_div(call.q_len, tile_rows_);
  }
}

QTile TileSource::q_tile(std::int64_t index) const {
  // From the last rows up: under causal masks those have the most keys, and long tasks should start early.
  const int tile = q_tiles_ - 1 - static_cast<int>(index % q_tiles_);
  const auto bh = static_cast<int>(index / q_tiles_);
  QTile result{bh / call_.q_heads, bh % call_.q_heads, 0, 0};
  if (block_rows_ != 0) {
    const int block_first = tile / tiles_per_block_ * block_rows_;
    result.first = block_first + tile % tiles_per_block_ * tile_rows_;
    result.last = std::min({result.first + tile_rows_, block_first + block_rows_, call_.q_len});
  } else {
    result.first = tile * tile_rows_;
    result.last = std::min(result.first + tile_rows_, call_.q_len);
  }
  return result;
}

}  // namespace attnc::cpu
