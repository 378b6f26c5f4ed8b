// SPDX-License-Identifier: Apache-2.0
// Which kv tiles a q tile visits, and with or without the mask.
#pragma once

#include <algorithm>
#include <cstdint>

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

/// Decides rectangles of the score matrix by interval analysis of the mask. Holds scratch: one per thread.
class TileClassifier {
 public:
  /// All three must outlive it. `program` is the one whose order `call.bindings` follows.
  TileClassifier(const ir::Program& program, const ForwardCall& call, const bounds::BufferRanges& buffers);
  bounds::Verdict classify(const QTile& q, int kv_first, int kv_last);

 private:
  bounds::Evaluator evaluator_;
  bounds::Box box_;
};

/// How a call is cut into q tiles, and those into kv tiles.
class TileSource {
 public:
  /// `call` must outlive this.
  TileSource(const ForwardCall& call, bool has_mask, int tile_rows, int max_keys);

  /// Longest first where later rows tend to see more keys.
  std::int64_t count() const { return static_cast<std::int64_t>(call_.batch) * call_.q_heads * q_tiles_; }
  QTile q_tile(std::int64_t index) const;
  bool has_block_mask() const { return block_rows_ != 0; }
  /// Tiles there are when nothing is skipped.
  std::int64_t whole_grid() const { return count() * ((call_.kv_len + max_keys_ - 1) / max_keys_); }
  /// Calls visit for each kv tile, ascending. A block mask decides where there is one, else the classifier, else (null)
  /// every tile is masked.
  template <class Visit>
  void kv_tiles(const QTile& q, TileClassifier* classifier, const Visit& visit) const {
    if (!has_block_mask()) {
      if (has_mask_ && classifier != nullptr) return decide(q, 0, call_.kv_len, *classifier, visit);
      return range(0, call_.kv_len, has_mask_, visit);
    }
    const BlockMask& mask = *call_.block_mask;
    const BlockSize size = mask.block_size();
    for (const BlockRun& run :
         BlockMaskAccess::row_runs(mask, mask.batch() == 1 ? 0 : q.b, mask.heads() == 1 ? 0 : q.h, q.first / size.q)) {
      const int first = run.first * size.kv;
      const auto last =
          std::min(static_cast<std::int64_t>(run.last) * size.kv, static_cast<std::int64_t>(call_.kv_len));
      range(first, static_cast<int>(last), has_mask_ && !run.full, visit);
    }
  }

 private:
  template <class Visit>
  void range(int first, int last, bool masked, const Visit& visit) const {
    for (int at = first; at < last; at += max_keys_) visit(KvTile{at, std::min(at + max_keys_, last), masked});
  }

  /// Halves [first, last) at tile boundaries until it is decided or one tile.
  template <class Visit>
  void decide(const QTile& q, int first, int last, TileClassifier& classifier, const Visit& visit) const {
    const bounds::Verdict verdict = classifier.classify(q, first, last);
    if (verdict == bounds::Verdict::empty) return;
    if (verdict == bounds::Verdict::full || last - first <= max_keys_)
      return range(first, last, verdict != bounds::Verdict::full, visit);
    const int tiles = (last - first + max_keys_ - 1) / max_keys_;
    const int middle = first + tiles / 2 * max_keys_;
    decide(q, first, middle, classifier, visit);
    decide(q, middle, last, classifier, visit);
  }

  const ForwardCall& call_;
  bool has_mask_;
  int tile_rows_, max_keys_;
  int block_rows_ = 0, tiles_per_block_ = 0;  // with a block mask
  int q_tiles_ = 0;
};

}  // namespace attnc::cpu
