// SPDX-License-Identifier: Apache-2.0
// What a BlockMask holds: rows of runs, and the index tables made from them on demand. Internal: not installed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dsl/once.h"
#include "runtime/backend.h"
#include "runtime/block_mask.h"
#include "runtime/cuda/device_mask.h"

namespace attnc {

/// Runs of every row of blocks, row r in runs[offsets[r], offsets[r + 1]): ascending, disjoint, neighbouring runs of
/// one kind merged (so equal masks have equal runs).
struct BlockRows {
  std::vector<std::int64_t> offsets{0};
  std::vector<BlockRun> runs;

  std::int64_t count() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::span<const BlockRun> row(std::int64_t r) const {
    const auto first = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r)]);
    const auto last = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r) + 1]);
    return {runs.data() + first, last - first};
  }
  void end_row() { offsets.push_back(static_cast<std::int64_t>(runs.size())); }
  /// Appends to the last row, which must still be open; merges with its last run where they touch.
  void append(const BlockRun& run) {
    if (run.first >= run.last) return;
    if (static_cast<std::int64_t>(runs.size()) > offsets.back()) {
      BlockRun& previous = runs.back();
      if (previous.last == run.first && previous.full == run.full) {
        previous.last = run.last;
        return;
      }
    }
    runs.push_back(run);
  }
};

/// Counts and index lists of one side and one kind (partial or full).
struct BlockLists {
  std::vector<std::int32_t> num_blocks;  ///< per row
  std::vector<std::int32_t> indices;     ///< [rows, width]
  int width = 1;
};

struct BlockSide {
  BlockLists partial, full;
};

/// Blocks of size `block` that cover `length`.
inline int block_count(int length, int block) {
  return static_cast<int>((static_cast<std::int64_t>(length) + block - 1) / block);
}

/// How a mask was made, so that it can be made again.
struct BlockMaskRecipe {
  ir::Program declared;  ///< as the user wrote it
  ir::Program program;   ///< canonicalized
  bool separate_full_blocks = true;
  std::string cache_dir;
};

/// The tables as the host sees them: complete when the mask is made on the host, else read back when asked for.
struct BlockMaskHostSide {
  BlockRows rows;  ///< [batch, heads, q_blocks]
  BlockMaskStats stats;
  std::int64_t full_blocks = 0, partial_blocks = 0;
  BlockSide kv, q;
  std::shared_ptr<void> device_copy;
  Once rows_once, kv_once, q_once, device_once;
};

struct BlockMask::State {
  int batch = 1, heads = 1, q_len = 0, kv_len = 0;
  BlockSize block_size;
  Device device;
  double build_ms = 0;
  std::optional<BlockMaskRecipe> recipe;
  std::unique_ptr<cuda::DeviceMask> built;  ///< where the device decided
  std::unique_ptr<BlockMaskHostSide> host = std::make_unique<BlockMaskHostSide>();

  int q_blocks() const { return block_count(q_len, block_size.q); }
  int kv_blocks() const { return block_count(kv_len, block_size.kv); }
  std::int64_t row_index(int b, int h, int q_block) const {
    return (static_cast<std::int64_t>(batch == 1 ? 0 : b) * heads + (heads == 1 ? 0 : h)) * q_blocks() + q_block;
  }
  /// The host's side with its rows; waits for a device that decided them.
  const BlockMaskHostSide& view() const;
  const BlockRows& rows() const { return view().rows; }
  const BlockSide& kv_tables() const;
  const BlockSide& q_tables() const;
  /// Decides the blocks on the host, into `host`.
  void decide_on_host(const ir::Bindings& bindings);
};

}  // namespace attnc
