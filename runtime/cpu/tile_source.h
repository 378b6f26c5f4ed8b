// SPDX-License-Identifier: Apache-2.0
// Which kv tiles a q tile visits, and with or without the mask.
#pragma once

#include <functional>

#include "compiler/bounds/bounds.h"
#include "runtime/backend.h"

namespace attnc::cpu {

/// Keys [first, last) of one visit.
struct KvTile {
  int first = 0, last = 0;
  bool masked = false;
};

/// A q tile of one (b, h): rows [first, last), all in one row of blocks if there is a block mask.
struct QTile {
  int b = 0, h = 0, first = 0, last = 0;
};

/// Verdict on a rectangle of the score matrix. May be called from many threads.
using TileClassifier = std::function<bounds::Verdict(const QTile& q, int kv_first, int kv_last)>;

/// How a call is cut into q tiles, and those into kv tiles.
class TileSource {
 public:
  /// `classify` may be empty: then everything a block mask does not decide is masked. `call` must outlive this.
  TileSource(const ForwardCall& call, bool has_mask, int tile_rows, int max_keys, TileClassifier classify);

  /// Longest first where later rows tend to see more keys.
  std::int64_t count() const { return static_cast<std::int64_t>(call_.batch) * call_.q_heads * q_tiles_; }
  QTile q_tile(std::int64_t index) const;
  /// Calls visit for each kv tile, ascending.
  template <class Visit>
  void kv_tiles(const QTile& q, const Visit& visit) const {
    if (call_.block_mask == nullptr || !*call_.block_mask) return range(q, 0, call_.kv_len, has_mask_, visit);
    const BlockMask& mask = *call_.block_mask;
    const BlockSize size = mask.block_size();
    for (const BlockRun& run :
         BlockMaskAccess::row_runs(mask, mask.batch() == 1 ? 0 : q.b, mask.heads() == 1 ? 0 : q.h, q.first / size.q)) {
      const int first = run.first * size.kv;
      const auto last = std::min(static_cast<std::int64_t>(run.last) * size.kv, static_cast<std::int64_t>(call_.kv_len));
      range(q, first, static_cast<int>(last), has_mask_ && !run.full, visit);
    }
  }

 private:
  template <class Visit>
  void range(const QTile& q, int first, int last, bool masked, const Visit& visit) const {
    for (int at = first; at < last; at += max_keys_) {
      KvTile tile{at, std::min(at + max_keys_, last), masked};
      if (masked && classify_) {
        const bounds::Verdict verdict = classify_(q, tile.first, tile.last);
        if (verdict == bounds::Verdict::empty) continue;
        tile.masked = verdict == bounds::Verdict::partial;
      }
      visit(tile);
    }
  }

  const ForwardCall& call_;
  bool has_mask_;
  int tile_rows_, max_keys_;
  int block_rows_ = 0, tiles_per_block_ = 0;  // with a block mask
  int q_tiles_ = 0;
  TileClassifier classify_;
};

}  // namespace attnc::cpu
