// SPDX-License-Identifier: Apache-2.0
// A consumer warpgroup: 64 query rows through all their kv tiles.
//
// Two overlaps hide the softmax. Within a warpgroup, the scores of tile n and the values of tile n-1 are issued together
// and only the scores are waited for, so the softmax of n runs under the value product of n-1. Between warpgroups, named
// barriers let them take turns at issuing, so one's softmax runs under the other's products (FlashAttention-3).
#pragma once

#include "sm90/epilogue.cuh"
#include "sm90/producer.cuh"
#include "sm90/scores.cuh"

namespace attnc::sm90 {

// Named barriers of the turns, one for each warpgroup, after the producer's.
inline constexpr int first_turn_barrier = producer_named_barrier + 1;

template <class Plan>
class Turns {
 public:
  __device__ __forceinline__ explicit Turns(int warpgroup) : mine_(first_turn_barrier + warpgroup) {
    next_ = first_turn_barrier + (warpgroup + 1) % Plan::consumer_warpgroups;
    if (enabled && warpgroup == Plan::consumer_warpgroups - 1) pass();
  }
  __device__ __forceinline__ void take() const {
    if constexpr (enabled) named_barrier_sync(mine_, 2 * warpgroup_threads);
  }
  __device__ __forceinline__ void pass() const {
    if constexpr (enabled) named_barrier_arrive(next_, 2 * warpgroup_threads);
  }

 private:
  static constexpr bool enabled = Plan::ping_pong && Plan::consumer_warpgroups > 1;
  int mine_;
  int next_;
};

template <class Plan, class Mods>
class Consumer {
  using Shared = SharedView<Plan, Mods>;
  using Layout = SharedLayout<Plan, Mods>;
  using Ring = RingPosition<Plan::stages>;
  using Softmax = OnlineSoftmax<Plan, Mods>;
  static constexpr int score_registers = Plan::tile_kv / 2;
  static constexpr int out_registers = Plan::head_dim_v / 2;

 public:
  __device__ __forceinline__ Consumer(const Shared& shared, const ForwardArguments& args,
                                      const typename Mods::Params& params, int warpgroup)
      : shared_(shared), args_(args), params_(params), warpgroup_(warpgroup), turns_(warpgroup) {
    thread_row_ = warpgroup * rows_per_warpgroup + static_cast<int>(threadIdx.x % warpgroup_threads) / 32 * 16 +
                  lane() / 4;
  }

  __device__ __forceinline__ void run() {
    for (uint32 q_phase = 0;; q_phase ^= 1) {
      barrier_wait(shared_.q_full(), q_phase);
      const WorkNotice work = *shared_.work();
      if (work.q_tile < 0) return;
      Softmax softmax(args_.scale);
      float out[out_registers];
#pragma unroll
      for (int i = 0; i < out_registers; ++i) out[i] = 0.0f;
      if (work.has_tiles) {
        attend(work, softmax, out);
      } else {
        release(shared_.q_empty());
      }
      softmax.finish();
      write_rows<Plan, Mods>(args_, work.batch, work.head, work.q_tile * Layout::tile_q + thread_row_, out, softmax);
    }
  }

 private:
  static __device__ __forceinline__ int lane() { return threadIdx.x % warp_threads; }

  // All kv tiles of one work tile; at least one.
  __device__ __forceinline__ void attend(const WorkNotice& work, Softmax& softmax, float (&out)[out_registers]) {
    const RowValues<Mods> rows = row_values(work);
    float scores[score_registers];
    uint32 probabilities[score_registers / 2];

    StageNotice tile = await_scores_tile();
    issue_scores(scores);
    wgmma_wait<0>();
    fence_registers(scores);
    release_scores_tile(tile);
    softmax_tile(tile, rows, softmax, scores);
    pack_probabilities<Plan::is_bf16>(probabilities, scores);

    while ((tile.flags & stage_last) == 0) {
      tile = await_scores_tile();
      turns_.take();
      issue_scores(scores);
      barrier_wait(shared_.v_full(v_.stage), v_.phase);
      issue_values(out, probabilities);
      turns_.pass();
      wgmma_wait<1>();
      fence_registers(scores);
      release_scores_tile(tile);
      const bool moved = softmax_tile(tile, rows, softmax, scores);
      wgmma_wait<0>();
      fence_registers(out);
      fence_registers(probabilities);
      release_values_tile();
      if (moved) softmax.rescale(out);
      pack_probabilities<Plan::is_bf16>(probabilities, scores);
    }

    barrier_wait(shared_.v_full(v_.stage), v_.phase);
    issue_values(out, probabilities);
    wgmma_wait<0>();
    fence_registers(out);
    fence_registers(probabilities);
    release_values_tile();
  }

  __device__ __forceinline__ RowValues<Mods> row_values(const WorkNotice& work) const {
    RowValues<Mods> rows;
    rows.context = TileContext{work.batch, work.head, args_.q_len, args_.kv_len, args_.scale};
    rows.uniform = Mods::uniform(params_, rows.context);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      rows.q_idx[i] = min_int(work.q_tile * Layout::tile_q + thread_row_ + 8 * i, args_.q_len - 1);
      rows.row[i] = Mods::row(params_, rows.context, rows.uniform, rows.q_idx[i]);
    }
    return rows;
  }

  __device__ __forceinline__ StageNotice await_scores_tile() const {
    barrier_wait(shared_.k_full(k_.stage), k_.phase);
    return *shared_.stage_notice(k_.stage);
  }

  // scores = Q K^T, raw dot products.
  __device__ __forceinline__ void issue_scores(float (&scores)[score_registers]) const {
    const MatrixDescriptor q =
        k_major_descriptor(shared_.q() + warpgroup_ * rows_per_warpgroup * chunk_row_bytes);
    const MatrixDescriptor k = k_major_descriptor(shared_.k(k_.stage));
    fence_registers(scores);
    wgmma_fence();
    WgmmaShared<Plan::tile_kv, Plan::is_bf16, false>::run(scores, q.at(0), k.at(0));
#pragma unroll
    for (int step = 1; step < ceil_div(Plan::head_dim_qk, 16); ++step) {
      WgmmaShared<Plan::tile_kv, Plan::is_bf16, true>::run(scores, q.at(k_major_step<Layout::tile_q>(step)),
                                                           k.at(k_major_step<Plan::tile_kv>(step)));
    }
    wgmma_commit();
  }

  // out += P V.
  __device__ __forceinline__ void issue_values(float (&out)[out_registers],
                                               uint32 (&probabilities)[score_registers / 2]) const {
    const MatrixDescriptor v = mn_major_descriptor<Plan::tile_kv>(shared_.v(v_.stage));
    fence_registers(out);
    fence_registers(probabilities);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < Plan::tile_kv / 16; ++step) {
      WgmmaRegister<Plan::head_dim_v, Plan::is_bf16>::run(out, probabilities + 4 * step, v.at(mn_major_step(step)));
    }
    wgmma_commit();
  }

  // Modify, mask, exponentiate. Returns whether the output must be rescaled.
  __device__ __forceinline__ bool softmax_tile(const StageNotice& tile, const RowValues<Mods>& rows,
                                               Softmax& softmax, float (&scores)[score_registers]) {
    softmax.orient(scores);
    if constexpr (Layout::has_side_values) barrier_wait(shared_.side_full(side_.stage), side_.phase);
    const TilePlace place = place_of(tile);
    if constexpr (Mods::has_score_mod) modify_scores<Plan, Mods>(scores, params_, rows, place);
    if (tile.flags & stage_partial) mask_scores<Plan, Mods>(scores, params_, rows, place);
    if constexpr (Layout::has_side_values) {
      release(shared_.side_empty(side_.stage));
      side_.advance();
    }
    return softmax.exponentiate(scores);
  }

  __device__ __forceinline__ TilePlace place_of(const StageNotice& tile) const {
    const int thread_column = 2 * (lane() % 4);
    TilePlace place{tile.first_kv, tile.first_kv + thread_column, nullptr, nullptr};
    if constexpr (Mods::column_words > 0) place.columns = shared_.columns(side_.stage) + thread_column;
    if constexpr (Mods::diagonal_words > 0) {
      place.diagonals = shared_.diagonals(side_.stage) + thread_row_ - thread_column + Plan::tile_kv - 1;
    }
    return place;
  }

  // One arrival for each warp, once all its lanes are done.
  __device__ __forceinline__ void release(uint64* barrier) const {
    __syncwarp();
    if (lane() == 0) barrier_arrive(barrier);
  }

  __device__ __forceinline__ void release_scores_tile(const StageNotice& tile) {
    release(shared_.k_empty(k_.stage));
    if (tile.flags & stage_last) release(shared_.q_empty());
    k_.advance();
  }

  __device__ __forceinline__ void release_values_tile() {
    release(shared_.v_empty(v_.stage));
    v_.advance();
  }

  const Shared& shared_;
  const ForwardArguments& args_;
  const typename Mods::Params& params_;
  int warpgroup_;
  int thread_row_;  // this thread's first row within the q tile
  Turns<Plan> turns_;
  Ring k_;
  Ring v_;
  Ring side_;
};

}  // namespace attnc::sm90
