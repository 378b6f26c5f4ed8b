// SPDX-License-Identifier: Apache-2.0
// The producer warpgroup. Warp 0 walks the work and the kv tiles and feeds the copy engine; the other three stage
// column and diagonal values when the mods have any, and leave at once when not.
#pragma once

#include "sm90/bias.cuh"
#include "sm90/mask_bits.cuh"
#include "sm90/side_values.cuh"
#include "sm90/tile_stream.cuh"

namespace attnc::sm90 {

inline constexpr int producer_named_barrier = 1;

// Shared memory with names, as the layout of plan.cuh places it.
template <class Plan, class Mods>
struct SharedView {
  using Layout = SharedLayout<Plan, Mods>;

  __device__ __forceinline__ explicit SharedView(uint8* base) : base_(base) {}

  __device__ __forceinline__ uint32 q(int slot) const {
    return shared_address(base_ + Layout::q) + slot * Layout::q_bytes;
  }
  __device__ __forceinline__ uint8* q_tile(int slot) const { return base_ + Layout::q + slot * Layout::q_bytes; }
  __device__ __forceinline__ uint32 k(int stage) const {
    return shared_address(base_ + Layout::k) + stage * Layout::k_bytes;
  }
  __device__ __forceinline__ uint32 v(int stage) const {
    return shared_address(base_ + Layout::v) + stage * Layout::v_bytes;
  }
  __device__ __forceinline__ uint8* bias_keys() const { return base_ + Layout::bias_keys; }
  __device__ __forceinline__ uint8* bias_rows(int slot) const {
    return base_ + Layout::bias_rows + slot * bias_group_bytes;
  }
  __device__ __forceinline__ uint8* mask_rows(int stage) const {
    return base_ + Layout::masks + stage * Layout::mask_bytes;
  }
  __device__ __forceinline__ uint32* columns(int stage) const {
    return reinterpret_cast<uint32*>(base_ + Layout::columns + stage * Layout::column_bytes);
  }
  __device__ __forceinline__ uint32* diagonals(int stage) const {
    return reinterpret_cast<uint32*>(base_ + Layout::diagonals + stage * Layout::diagonal_bytes);
  }
  __device__ __forceinline__ WorkNotice* work(int slot) const {
    return reinterpret_cast<WorkNotice*>(base_ + Layout::notices) + slot;
  }
  __device__ __forceinline__ StageNotice* stage_notice(int stage) const {
    return reinterpret_cast<StageNotice*>(base_ + Layout::notices + Plan::q_stages * sizeof(WorkNotice)) + stage;
  }
  // The index of the next work tile, from the copying warp to the staging warps.
  __device__ __forceinline__ int* drawn() const { return reinterpret_cast<int*>(base_ + Layout::drawn); }

  __device__ __forceinline__ uint64* q_full(int slot) const { return barrier(slot); }
  __device__ __forceinline__ uint64* q_empty(int slot) const { return barrier(Plan::q_stages + slot); }
  __device__ __forceinline__ uint64* k_full(int stage) const { return ring_barrier(0, stage); }
  __device__ __forceinline__ uint64* k_empty(int stage) const { return ring_barrier(1, stage); }
  __device__ __forceinline__ uint64* v_full(int stage) const { return ring_barrier(2, stage); }
  __device__ __forceinline__ uint64* v_empty(int stage) const { return ring_barrier(3, stage); }
  __device__ __forceinline__ uint64* side_full(int stage) const { return ring_barrier(4, stage); }
  __device__ __forceinline__ uint64* side_empty(int stage) const { return ring_barrier(5, stage); }

 private:
  __device__ __forceinline__ uint64* ring_barrier(int kind, int stage) const {
    return barrier(2 * Plan::q_stages + kind * Plan::stages + stage);
  }
  __device__ __forceinline__ uint64* barrier(int index) const {
    return reinterpret_cast<uint64*>(base_ + Layout::barriers) + index;
  }

  uint8* base_;
};

template <class Plan, class Mods>
class Producer {
  using Shared = SharedView<Plan, Mods>;
  using Layout = SharedLayout<Plan, Mods>;
  using Ring = RingPosition<Plan::stages>;

 public:
  __device__ __forceinline__ Producer(const Shared& shared, const TensorMaps& maps, const ForwardArguments& args,
                                      const typename Mods::Params& params)
      : shared_(shared), maps_(maps), args_(args), params_(params) {}

  // The copying warp, all 32 lanes.
  __device__ __forceinline__ void copy() {
    const WorkScheduler<Plan> scheduler(args_);
    int index = scheduler.first();
    // A slot of V with nothing in it, for the values before the consumers' very first tile.
    if (lane() == 0) barrier_arrive(shared_.v_full(v_.stage));
    v_.advance();
    while (scheduler.valid(index)) {
      const int next = next_index(scheduler, index);
      copy_work_tile(scheduler.decode(index));
      index = next;
    }
    copy_pending_v();
    post_notice(WorkNotice{0, 0, -1, 0});
  }

  // The staging warps, all 96 threads. They walk the same work and the same tiles.
  __device__ __forceinline__ void stage() {
    const WorkScheduler<Plan> scheduler(args_);
    int index = scheduler.first();
    while (scheduler.valid(index)) {
      const int next = next_index(scheduler, index);
      stage_work_tile(scheduler.decode(index));
      index = next;
    }
  }

 private:
  static __device__ __forceinline__ int lane() { return threadIdx.x % warp_threads; }

  __device__ __forceinline__ TileContext context_of(const WorkTile& work) const {
    return {work.batch, work.head, args_.q_len, args_.kv_len, args_.scale};
  }

  // With a counter, the copying warp draws the next index; staging warps get it through shared memory.
  __device__ __forceinline__ int next_index(const WorkScheduler<Plan>& scheduler, int index) {
    if (args_.tile_counter == nullptr) return scheduler.next(index, nullptr);
    int drawn = 0;
    const bool copying = threadIdx.x % warpgroup_threads < warp_threads;
    if (copying && lane() == 0) drawn = scheduler.next(index, args_.tile_counter);
    if constexpr (Layout::has_staging) {
      volatile int* slot = reinterpret_cast<volatile int*>(shared_.drawn());
      if (copying && lane() == 0) *slot = drawn;
      named_barrier_sync(producer_named_barrier, warpgroup_threads);
      drawn = *slot;
      named_barrier_sync(producer_named_barrier, warpgroup_threads);
      return drawn;
    }
    return __shfl_sync(0xffffffffu, drawn, 0);
  }

  // Order of issue: first K, then Q, then each K ahead of the V before it, as the consumers will ask for them.
  __device__ __forceinline__ void copy_work_tile(const WorkTile& work) {
    const TileContext context = context_of(work);
    const int kv_head = work.head / (args_.q_heads / args_.kv_heads);
    TileStream<Plan, Mods, Plan::source> stream(args_, params_, context, work);
    KvTile tile, after;
    const bool has_tiles = stream.next(tile);
    bool has_after = has_tiles && stream.next(after);
    copy_pending_v();
    if (has_tiles) copy_k(tile, !has_after, kv_head, work.batch);
    post_notice(WorkNotice{work.batch, work.head, work.q_tile, has_tiles});
    if (!has_tiles) return;
    while (has_after) {
      const int v_row = tile.first_kv;
      tile = after;
      has_after = stream.next(after);
      copy_k(tile, !has_after, kv_head, work.batch);
      copy_v(v_row, kv_head, work.batch);
    }
    if constexpr (looks_ahead) {
      pending_v_ = tile.first_kv;
      pending_head_ = kv_head;
      pending_batch_ = work.batch;
    } else {
      copy_v(tile.first_kv, kv_head, work.batch);
    }
  }

  // The last V of a work tile has to wait for its slot: time in which the next work tile's lists are read, or its first
  // tiles classified. (Three warpgroups leave the producer no registers to remember it by.)
  static constexpr bool looks_ahead = Plan::source != TileSource::dense && Plan::consumer_warpgroups == 2;

  __device__ __forceinline__ void copy_pending_v() {
    if constexpr (looks_ahead) {
      if (pending_v_ >= 0) copy_v(pending_v_, pending_head_, pending_batch_);
      pending_v_ = -1;
    }
  }

  // Tells the consumers what comes next, and loads its Q if there is anything to attend to.
  __device__ __forceinline__ void post_notice(const WorkNotice& notice) {
    barrier_wait(shared_.q_empty(q_.stage), q_.phase ^ 1);
    if constexpr (Plan::bias_product) {
      if (notice.has_tiles) store_bias(notice);
    }
    if (lane() == 0) {
      *shared_.work(q_.stage) = notice;
      uint64* full = shared_.q_full(q_.stage);
      if (notice.has_tiles) {
        barrier_arrive_expect(full, Layout::q_bytes);
        load_tile<Layout::tile_q, Plan::head_dim_qk>(&maps_.q, full, shared_.q(q_.stage),
                                                     notice.q_tile * Layout::tile_q, notice.head, notice.batch);
      } else {
        barrier_arrive(full);
      }
    }
    __syncwarp();
    q_.advance();
  }

  // The slope of these rows, as their score products read it.
  __device__ __forceinline__ void store_bias(const WorkNotice& notice) const {
    const TileContext context{notice.batch, notice.head, args_.q_len, args_.kv_len, args_.scale};
    const typename Mods::Uniform uniform = Mods::uniform(params_, context);
    store_bias_group(shared_.bias_rows(q_.stage), lane(), Mods::score_slope(params_, context, uniform),
                     not_zero(Mods::score_factor(params_, context, uniform)));
    proxy_fence();
    __syncwarp();
  }

  __device__ __forceinline__ void copy_k(const KvTile& tile, bool last, int kv_head, int batch) {
    barrier_wait(shared_.k_empty(k_.stage), k_.phase ^ 1);
    if (lane() == 0) {
      if constexpr (posts_tiles<Plan>()) *shared_.stage_notice(k_.stage) = stage_notice(tile, last);
      uint64* full = shared_.k_full(k_.stage);
      barrier_arrive_expect(full, Layout::k_bytes);
      load_tile<Plan::tile_kv, Plan::head_dim_qk>(&maps_.k, full, shared_.k(k_.stage), tile.first_kv, kv_head, batch);
    }
    __syncwarp();
    k_.advance();
  }

  __device__ __forceinline__ void copy_v(int first_kv, int kv_head, int batch) {
    barrier_wait(shared_.v_empty(v_.stage), v_.phase ^ 1);
    if (lane() == 0) {
      uint64* full = shared_.v_full(v_.stage);
      barrier_arrive_expect(full, Layout::v_bytes);
      load_tile<Plan::tile_kv, Plan::head_dim_v>(&maps_.v, full, shared_.v(v_.stage), first_kv, kv_head, batch);
    }
    __syncwarp();
    v_.advance();
  }

  __device__ __forceinline__ void stage_work_tile(const WorkTile& work) {
    const TileContext context = context_of(work);
    const typename Mods::Uniform uniform = Mods::uniform(params_, context);
    TileStream<Plan, Mods, Plan::source> stream(args_, params_, context, work);
    const int thread = static_cast<int>(threadIdx.x % warpgroup_threads) - warp_threads;
    KvTile tile;
    while (stream.next(tile)) {
      if (!Layout::has_side_values && tile.verdicts == 0) continue;  // full for all, and nothing else to stage
      barrier_wait(shared_.side_empty(side_.stage), side_.phase ^ 1);
      uint64* full = shared_.side_full(side_.stage);
      uint32 bytes = 0;
      if constexpr (Plan::bit_mask) {
        const int warpgroup = thread / warp_threads;  // whose rows this warp looks after
        if (tile.verdicts != 0 && warpgroup < Plan::consumer_warpgroups) {
          bytes = stage_mask_bits<Plan>(shared_.mask_rows(side_.stage), args_, work, stream, tile, warpgroup, full);
        }
      }
      if constexpr (Layout::has_side_values) {
        stage_side_values<Plan, Mods>(shared_.columns(side_.stage), shared_.diagonals(side_.stage), params_, context,
                                      uniform, work.q_tile * Layout::tile_q, tile.first_kv, thread,
                                      staging_warps * warp_threads);
      }
      if (lane() == 0) {
        barrier_arrive_expect(full, bytes);
      } else {
        barrier_arrive(full);
      }
      side_.advance();
    }
  }

  const Shared& shared_;
  const TensorMaps& maps_;
  const ForwardArguments& args_;
  const typename Mods::Params& params_;
  RingPosition<Plan::q_stages> q_;
  Ring k_;
  Ring v_;
  Ring side_;
  // The last V of a work tile that is not copied yet: its first key; -1: none.
  int pending_v_ = -1;
  int pending_head_ = 0;
  int pending_batch_ = 0;
};

}  // namespace attnc::sm90
