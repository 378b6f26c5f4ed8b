// SPDX-License-Identifier: Apache-2.0
// Which q tile of which head a CTA works on next. CTAs are persistent: each takes work until none is left, either in a
// fixed stride or, where the host gives a counter, whichever comes next.
#pragma once

#include "arguments.cuh"
#include "sm90/plan.cuh"

namespace attnc::sm90 {

struct WorkTile {
  int batch;
  int head;
  int q_tile;
};

// Bytes of K and V that stay in L2 while the q tiles of a group of heads are worked on.
inline constexpr int l2_budget_bytes = 32 << 20;

template <class Plan>
class WorkScheduler {
 public:
  __device__ __forceinline__ explicit WorkScheduler(const ForwardArguments& args)
      : q_tiles_(ceil_div(args.q_len, tile_q_rows<Plan>())),
        heads_(args.q_heads),
        total_(q_tiles_ * args.q_heads * args.batch) {
    constexpr int fitting_keys = l2_budget_bytes / ((Plan::head_dim_qk + Plan::head_dim_v) * 2);
    const int kv_heads = min_int(max_int(fitting_keys / max_int(args.kv_len, 1), 1), 4096);
    group_ = min_int(kv_heads * (args.q_heads / args.kv_heads), args.q_heads * args.batch);
    if constexpr (reads_order) {
      order_ = args.blocks.work_order;
      order_batch_stride_ = static_cast<int>(args.blocks.counts_batch_stride);
      order_head_stride_ = static_cast<int>(args.blocks.counts_head_stride);
    }
  }

  __device__ __forceinline__ int first() const { return blockIdx.x; }

  // The index after `index`; called by one thread of the CTA when `counter` is given. As many are drawn in a launch as
  // there are tiles, so that the last draw finds all of them drawn and sets the counter back to 0.
  __device__ __forceinline__ int next(int index, int* counter) const {
    if (counter == nullptr) return index + static_cast<int>(gridDim.x);
    return static_cast<int>(gridDim.x + atomicInc(reinterpret_cast<unsigned*>(counter), total_ - 1));
  }

  __device__ __forceinline__ bool valid(int index) const { return index < total_; }

  __device__ __forceinline__ WorkTile decode(int index) const {
    int row;  // batch and head as one index
    int q_tile;
    if constexpr (Plan::order == WorkOrder::first_q_first) {
      row = index / q_tiles_;
      q_tile = index - row * q_tiles_;
    } else {
      const int section = index / (group_ * q_tiles_);
      const int within = index - section * group_ * q_tiles_;
      const int rows_here = min_int(group_, total_ / q_tiles_ - section * group_);
      const int rank = within / rows_here;
      row = section * group_ + within - rank * rows_here;
      q_tile = q_tiles_ - 1 - rank;
    }
    const int batch = row / heads_, head = row - batch * heads_;
    if constexpr (reads_order) {
      if (order_ != nullptr)
        q_tile = order_[batch * order_batch_stride_ + head * order_head_stride_ + q_tiles_ - 1 - q_tile];
    }
    return {batch, head, q_tile};
  }

 private:
  // Tiles of 128 rows are the rows of blocks that a table has an order of; those of 192 never are.
  static constexpr bool reads_order =
      Plan::source == TileSource::table && Plan::order == WorkOrder::last_q_first && Plan::consumer_warpgroups == 2;

  int q_tiles_;
  int heads_;
  int total_;
  int group_;  // query heads whose K and V share L2
  // A table's own order, most work first; null: none.
  const int32* order_ = nullptr;
  int order_batch_stride_ = 0;
  int order_head_stride_ = 0;
};

}  // namespace attnc::sm90
