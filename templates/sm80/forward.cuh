// SPDX-License-Identifier: Apache-2.0
// The forward kernel for SM80 and newer: mma.sync, ldmatrix and cp.async.
//
// One CTA computes tile_q query rows of one head; each warp owns rows_per_warp of them for every key. K and V arrive in
// tiles of tile_kv keys, one tile ahead of their use, last keys first. A tile is worked off in steps of step_kv keys,
// whose scores live in registers: scores, modify and mask, softmax, accumulate.
//
// A phase stands in the code once where that costs no speed: the time to compile a variant is mostly that of its
// unrolled instructions. Algorithm: FlashAttention-2 (arXiv 2307.08691), with the lazy maximum of softmax.cuh.
#pragma once

#include "arguments.cuh"
#include "contract.cuh"
#include "sm80/write.cuh"

namespace attnc {
namespace sm80 {

template <class Plan, class Mods>
class ForwardTile {
 public:
  using S = Shape<Plan, Mods>;
  using Params = typename Mods::Params;

  __forceinline__ ForwardTile(const ForwardArguments& args, const Params& params)
      : args_(args), params_(params), softmax_(args.scale) {}

  __forceinline__ void run() {
    begin_work();
    clear_accumulator();
    if constexpr (Plan::stages == 2) {
      visit_prefetching();
    } else {
      visit_in_turn();
    }
    wait_for_copies();
    __syncthreads();  // the output is staged over Q
    softmax_.finish();
    write_results<Plan, Mods, S>(shared_memory(), args_, work(), o_, softmax_);
  }

 private:
  // blockIdx.x counts q tiles fastest, last rows first: with a causal mask those are the longest. Heads that share K
  // and V are neighbours. blockIdx.y is the split.
  __forceinline__ WorkPlace decode_place() const {
    const int q_tiles = (args_.q_len + S::tile_q - 1) / S::tile_q;
    const int head_index = static_cast<int>(blockIdx.x) / q_tiles;
    const int q_tile = q_tiles - 1 - static_cast<int>(blockIdx.x) % q_tiles;
    return {head_index / args_.q_heads, head_index % args_.q_heads, q_tile * S::tile_q, static_cast<int>(blockIdx.y)};
  }

  // Starts loading Q, posts the first two kv tiles and computes the uniform and row levels.
  __forceinline__ void begin_work() {
    const WorkPlace place = decode_place();
    const int kv_head = place.h / (args_.q_heads / args_.kv_heads);
    load_rows<typename S::QkRows, S::tile_q, Plan::head_dim_qk, S::element_bytes, S::threads, Plan::vector_bytes>(
        q_address(), matrix_of(args_.q, place.b, place.h, S::element_bytes), args_.q.row_stride_elems, place.q_first,
        args_.q_len);
    commit_copies();
    if (threadIdx.x == 0) {
      shared_state().place = place;
      shared_state().k = matrix_of(args_.k, place.b, kv_head, S::element_bytes);
      shared_state().v = matrix_of(args_.v, place.b, kv_head, S::element_bytes);
    }
    __syncthreads();
    uniform_ = Mods::uniform(params_, work().context);
    if constexpr (Mods::has_score_mod) rows_.compute(params_, work());
    if (is_scout()) {
      const WorkTile<Mods> work = this->work();
      cursor(work).start();
#pragma unroll 1
      for (int slot = 0; slot < 2; ++slot) post_next(slot);
    }
    __syncthreads();
  }

  // Put together anew from shared memory wherever it is needed: the loop has no registers to spare for it.
  __forceinline__ WorkTile<Mods> work() const {
    const WorkPlace& place = shared_state().place;
    const int q_last = min(place.q_first + S::tile_q, args_.q_len) - 1;
    return {TileContext{place.b, place.h, args_.q_len, args_.kv_len, args_.scale}, uniform_, place.q_first, q_last,
            place.split};
  }

  __forceinline__ void clear_accumulator() {
#pragma unroll
    for (int i = 0; i < S::row_tiles; ++i) {
#pragma unroll
      for (int n = 0; n < S::out_tiles; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) o_.x[i][n][e] = 0.0f;
      }
    }
  }

  // Load -----------------------------------------------------------------------------------------------------------

  // Starts copying a tile's keys and values, and computes the mods' values for its keys and differences.
  __forceinline__ void load_tile(const KvTile& tile, int stage) {
    load_rows<typename S::QkRows, Plan::tile_kv, Plan::head_dim_qk, S::element_bytes, S::threads, Plan::vector_bytes>(
        k_address(stage), read_volatile(shared_state().k), args_.k.row_stride_elems, tile.first_key, args_.kv_len);
    load_rows<typename S::VRows, Plan::tile_kv, Plan::head_dim_v, S::element_bytes, S::threads, Plan::vector_bytes>(
        v_address(stage), read_volatile(shared_state().v), args_.v.row_stride_elems, tile.first_key, args_.kv_len);
    commit_copies();
    if constexpr (StagedLevels<Plan, Mods>::any)
      StagedLevels<Plan, Mods>::stage(stage, params_, work(), tile.first_key);
  }

  static __forceinline__ uint32 q_address() { return shared_address(shared_memory()); }
  static __forceinline__ uint32 k_address(int stage) { return q_address() + S::k_offset + stage * S::k_stage_bytes; }
  static __forceinline__ uint32 v_address(int stage) { return q_address() + S::v_offset + stage * S::v_stage_bytes; }

  // A negative scale is folded into Q, so that larger scores always mean larger exponents.
  __forceinline__ void fold_sign_of_scale() {
    if (!Mods::has_score_mod && args_.scale < 0.0f) {
      wait_for_copies();
      __syncthreads();
      constexpr uint32 signs = S::is_f32 ? 0x80000000u : 0x80008000u;
      uint32* words = reinterpret_cast<uint32*>(shared_memory());
#pragma unroll 1
      for (int i = threadIdx.x; i < S::q_bytes / 4; i += S::threads) words[i] ^= signs;
    }
  }

  // Visit ----------------------------------------------------------------------------------------------------------

  // The first warp looks for tiles, two ahead of their use: what it posts is read after the next barrier.
  static __forceinline__ bool is_scout() { return threadIdx.x < 32; }
  __forceinline__ SharedState& shared_state() const {
    static_assert(sizeof(SharedState) <= S::cursor_bytes, "cursor_bytes");
    return *reinterpret_cast<SharedState*>(shared_memory() + S::cursor_offset);
  }
  __forceinline__ TileCursor<Plan, Mods> cursor(const WorkTile<Mods>& work) const {
    return TileCursor<Plan, Mods>(shared_state().cursor, args_, params_, work);
  }
  __forceinline__ void post_next(int slot) const {
    const WorkTile<Mods> work = this->work();
    const KvTile tile = cursor(work).next();
    if (threadIdx.x == 0) shared_state().posted[slot] = tile;
  }
  // Read anew at every call.
  __forceinline__ KvTile posted(int slot) const {
    const volatile KvTile& tile = shared_state().posted[slot];
    return {tile.first_key, tile.masked, tile.row_begin, tile.row_end};
  }

  // Two stages: the next tile is copied while this one is worked on. The first copy stands outside the loop: folding it
  // in costs 3 to 6 % of the speed.
  __forceinline__ void visit_prefetching() {
    bool second = false;  // the stage in use: a predicate, where an integer would take a register across the visit
    KvTile tile = posted(0);
    if (tile.first_key < 0) return;
    load_tile(tile, 0);
    fold_sign_of_scale();
    while (true) {
      wait_for_copies();
      __syncthreads();  // this tile is there, and nobody reads the other stage any more
      const KvTile next = posted(!second);
      if (next.first_key >= 0) {
        load_tile(next, !second);
        if (is_scout()) post_next(second);
      }
      visit(tile, second);
      tile = posted(!second);
      if (tile.first_key < 0) break;
      second = !second;
    }
  }

  // One stage, for devices with little shared memory.
  __forceinline__ void visit_in_turn() {
    int slot = 0;
    KvTile tile = posted(0);
    if (tile.first_key < 0) return;
    load_tile(tile, 0);
    fold_sign_of_scale();
    while (true) {
      wait_for_copies();
      __syncthreads();
      visit(tile, 0);
      slot ^= 1;
      tile = posted(slot);
      if (tile.first_key < 0) break;
      __syncthreads();
      load_tile(tile, 0);
      if (is_scout()) post_next(slot ^ 1);
    }
  }

  __forceinline__ void visit(const KvTile& tile, int stage) {
    using M = MaskedShape<Plan, Mods>;
    if constexpr (M::step_keys == S::step_keys) {
      visit_steps<S, true, true>(tile, stage);
    } else if (tile.masked) {
      visit_steps<M, true, false>(tile, stage);
    } else {
      visit_steps<S, false, true>(tile, stage);
    }
  }

  // Works off a tile, last keys first, in steps of Step::step_keys. `some_masked`, `some_full`: whether it may be a
  // tile that needs the mask, and one that does not.
  template <class Step, bool some_masked, bool some_full>
  __forceinline__ void visit_steps(const KvTile& tile, int stage) {
    const LaneAddress<typename S::QkRows> q = query_lane_address<Plan, S>(q_address());
    const LaneAddress<typename S::QkRows> k = key_lane_address<S>(k_address(stage));
    const ValueLaneAddress<Step> v(v_address(stage));
    const bool masked = some_masked && (!some_full || tile.masked);
    // The mask's row values are computed for each masked tile: kept, they would take registers from full tiles.
    ThreadRows<Plan, Mods> mask_rows;
    if constexpr (some_masked && Mods::mask_kind != MaskKind::none) {
      if (masked) mask_rows.compute(params_, work());
    }
#pragma unroll 1
    for (int step_first = Plan::tile_kv - Step::step_keys; step_first >= 0; step_first -= Step::step_keys) {
      const int first_key = tile.first_key + step_first;
      BlockVerdict verdict = BlockVerdict::full;
      if (masked) verdict = mask_rows.judge_step(params_, work(), first_key, first_key + Step::step_keys);
      if (verdict == BlockVerdict::empty) continue;
      Scores<Step> s;
      compute_scores<Plan, Step>(s, q, k, step_first);
      if constexpr (Mods::has_score_mod) {
        modify_scores<Plan, Mods, some_masked>(s, softmax_, params_, work(), rows_, stage, tile, step_first);
      }
      if (some_masked && verdict == BlockVerdict::partial) {
        const bool kept = mask_scores(s, params_, work(), mask_rows, stage, tile, step_first);
        if (Mods::mask_kind == MaskKind::general && !__any_sync(0xffffffffu, kept)) continue;
      }
      if constexpr (S::is_f32) {
        // Anew: the products of the scores need the registers.
        finish_step<Step>(s, ValueLaneAddress<Step>(v_address(stage)), step_first);
      } else {
        finish_step<Step>(s, v, step_first);
      }
    }
  }

  template <class Step>
  __forceinline__ void finish_step(Scores<Step>& s, const ValueLaneAddress<Step>& v, int step_first) {
    softmax_.raise_origins(s, o_);
    softmax_.exponentials(s);
    const Probabilities<Step> p = to_operand<Plan, Step>(s);
    accumulate<Plan, Step>(o_, p, v, step_first);
    softmax_.add_to_sums(p);
  }

  const ForwardArguments& args_;
  const Params& params_;
  typename Mods::Uniform uniform_;
  ThreadRows<Plan, Mods> rows_;  // for the score mod
  Accumulator<S> o_;
  Softmax<Plan, Mods, S> softmax_;
};

}  // namespace sm80

// The body of `attnc_forward`: see README.md for grid, block and shared memory.
template <class Plan, class Mods>
__forceinline__ void forward_sm80(const ForwardArguments& args, const typename Mods::Params& params) {
  sm80::ForwardTile<Plan, Mods> tile(args, params);
  tile.run();
}

}  // namespace attnc
