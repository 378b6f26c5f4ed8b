// SPDX-License-Identifier: Apache-2.0
// The forward kernel for few queries of grouped heads (decoding): reading K and V is all of its time, and it reads them
// once per kv head.
//
// One CTA computes up to tile_q rows of one kv head (group_rows.cuh). Tiles of keys arrive last keys first, two on
// their way. With at most 16 rows each of the four warps works off a quarter of a tile's keys for
// all rows; its softmax and output are its own until the end (group_write.cuh).
#pragma once

#include "arguments.cuh"
#include "contract.cuh"
#include "dependent_launch.cuh"
#include "sm80/copies.cuh"
#include "sm80/group_write.cuh"

namespace attnc {
namespace sm80 {

template <class Plan, class Mods>
class GroupTile {
 public:
  using S = Shape<Plan, Mods>;
  using Params = typename Mods::Params;
  using Work = GroupWork<Mods>;

  __forceinline__ GroupTile(const ForwardArguments& args, const Params& params)
      : args_(args), params_(params), softmax_(args.scale) {}

  __forceinline__ void run() {
    begin_work();
    start_tiles();
    rows_.compute(params_, work());
    keep_queries();
    clear_accumulator();
    if constexpr (Plan::stages == 2) {
      visit_prefetching();
    } else {
      visit_in_turn();
    }
    wait_for_copies();
    softmax_.finish();
    __syncthreads();  // results are left over Q, K and V
    write_group_results<Plan, Mods, S>(shared_memory(), args_, work(), o_, softmax_);
  }

 private:
  static_assert(Plan::packs_groups && Plan::warps == 4, "row_warps_of divides four warps");
  using Staged = StagedLevels<Plan, Mods>;
  using Verdicts = StepVerdicts<Plan, Mods>;
  static_assert(Verdicts::steps == Plan::tile_kv / Plan::step_kv, "masked steps are as long as others");

  // The work tile, but for what depends on the mods. In shared memory: divisions are dear.
  struct Place {
    int b, kv_head, split, group, first_row, last_row, q_first, q_last;
  };
  struct SharedState {
    CursorState cursor;
    KvTile posted[2];  // the tile after the one being copied, alternating
    Place place;
  };

  // blockIdx.x counts the row tiles of a kv head, then kv heads, then the batch; blockIdx.y is the split.
  __forceinline__ Place decode_place() const {
    const uint32 kv_heads = args_.kv_heads, group = static_cast<uint32>(args_.q_heads) / kv_heads;
    const uint32 rows = args_.q_len * group, row_tiles = (rows + S::tile_q - 1) / S::tile_q;
    // Mostly one tile: a division takes longer than all else here.
    const uint32 head_index = row_tiles == 1 ? blockIdx.x : blockIdx.x / row_tiles, b = head_index / kv_heads;
    const uint32 first_row = (blockIdx.x - head_index * row_tiles) * S::tile_q;
    const uint32 last_row = min(first_row + S::tile_q, rows) - 1;
    const uint32 q_first = row_tiles == 1 ? 0 : first_row / group;
    const uint32 q_last = row_tiles == 1 ? args_.q_len - 1 : last_row / group;
    const auto as_int = [](uint32 value) { return static_cast<int>(value); };
    return {as_int(b),          as_int(head_index - b * kv_heads),
            as_int(blockIdx.y), as_int(group),
            as_int(first_row),  as_int(last_row),
            as_int(q_first),    as_int(q_last)};
  }

  __forceinline__ Work work() const {
    const Place& place = shared_state().place;
    Work work;
    work.context = {place.b, place.kv_head * place.group, args_.q_len, args_.kv_len, args_.scale};
    work.uniform = uniform_;
    work.q_first = place.q_first;
    work.q_last = place.q_last;
    work.split = place.split;
    work.group = place.group;
    work.first_row = place.first_row;
    work.last_row = place.last_row;
    return work;
  }

  // Computes the uniform level, and starts loading Q while the scout looks for the first tile of keys.
  __forceinline__ void begin_work() {
    if (threadIdx.x == 0) shared_state().place = decode_place();
    __syncthreads();
    if (!is_scout()) load_group_queries<Plan, Mods, S>(q_address(), args_, work());
    commit_copies();
    // The launch before may be the one that takes the extremes of what the mask captures. It began after all else.
    wait_for_previous_launch();
    allow_next_launch();  // that of combine_groups_sm80
    uniform_ = Mods::uniform(params_, work().context);
  }

  // Posts the first two kv tiles, and starts loading the first before the second is looked for.
  __forceinline__ void start_tiles() {
    if (is_scout()) {
      const Work work = this->work();
      cursor(work).start();
    }
#pragma unroll 1
    for (int slot = 0;; ++slot) {
      if (is_scout()) post_next(slot);
      if (slot == 1) break;
      __syncthreads();
      const KvTile tile = posted(0);
      load_next(tile, 0);
      if (tile.first_key < 0) break;
    }
  }

  // Q is there before the first tile of keys is. A negative scale is folded into it, so that larger scores always mean
  // larger exponents; its fragments then stay in registers where there is room.
  __forceinline__ void keep_queries() {
    wait_for_copies<1>();
    __syncthreads();
    if (!Mods::has_score_mod && args_.scale < 0.0f) {
      uint32* words = reinterpret_cast<uint32*>(shared_memory() + S::q_offset);
#pragma unroll 1
      for (int i = threadIdx.x; i < S::q_bytes / 4; i += S::threads) words[i] ^= 0x80008000u;
      __syncthreads();
    }
    if constexpr (S::keeps_queries) {
      const LaneAddress<typename S::QkRows> q = query_address();
#pragma unroll
      for (int d = 0; d < S::depths; ++d) queries_[d] = load_matrices(q.at(0, 2 * d));
      __syncthreads();  // the second stage is free
    }
  }
  __forceinline__ LaneAddress<typename S::QkRows> query_address() const {
    const int thread = thread_index();
    return {q_address(), thread / 32 % work().row_warps() * 16 + thread % 16, thread % 32 / 16};
  }

  __forceinline__ void clear_accumulator() {
#pragma unroll
    for (int n = 0; n < S::out_tiles; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) o_.x[0][n][e] = 0.0f;
    }
  }

  static __forceinline__ bool stages_levels(const KvTile& tile) {
    // Without a score mod only the mask reads them.
    return Staged::any && (Mods::has_score_mod || tile.steps != 0);
  }

  // Starts copying a tile's keys and values, and computes the mods' values for its keys and differences.
  __forceinline__ void load_tile(const KvTile& tile, int stage) {
    const Place& place = shared_state().place;
    typename Mods::Column column{};
    if (Staged::early_columns && stages_levels(tile)) column = Staged::own_column(params_, work(), tile.first_key);
    load_rows<typename S::QkRows, Plan::tile_kv, Plan::head_dim_qk, S::element_bytes, S::threads, Plan::vector_bytes>(
        k_address(stage), matrix_of(args_.k, place.b, place.kv_head, S::element_bytes), args_.k.row_stride_elems,
        tile.first_key, args_.kv_len);
    load_rows<typename S::VRows, Plan::tile_kv, Plan::head_dim_v, S::element_bytes, S::threads, Plan::vector_bytes>(
        v_address(stage), matrix_of(args_.v, place.b, place.kv_head, S::element_bytes), args_.v.row_stride_elems,
        tile.first_key, args_.kv_len);
    commit_copies();
    if (stages_levels(tile)) Staged::stage(stage, params_, work(), tile.first_key, column);
  }

  static __forceinline__ uint32 address(int offset) { return shared_address(shared_memory()) + offset; }
  static __forceinline__ uint32 q_address() { return address(S::q_offset); }
  static __forceinline__ uint32 k_address(int stage) { return address(S::k_offset + stage * S::k_stage_bytes); }
  static __forceinline__ uint32 v_address(int stage) { return address(S::v_offset + stage * S::v_stage_bytes); }

  // The first warp looks for tiles, two ahead of their use: what it posts is read after the next barrier.
  static __forceinline__ bool is_scout() { return threadIdx.x < 32; }
  __forceinline__ SharedState& shared_state() const {
    static_assert(sizeof(SharedState) <= S::cursor_bytes, "cursor_bytes");
    return *reinterpret_cast<SharedState*>(shared_memory() + S::cursor_offset);
  }
  __forceinline__ TileCursor<Plan, Mods, Work> cursor(const Work& work) const {
    return TileCursor<Plan, Mods, Work>(shared_state().cursor, args_, params_, work);
  }
  __forceinline__ void post_next(int slot) const {
    const Work work = this->work();
    const KvTile tile = cursor(work).next();
    if (threadIdx.x == 0) shared_state().posted[slot] = tile;
  }
  __forceinline__ KvTile posted(int slot) const { return shared_state().posted[slot]; }

  // Two stages, both on their way while a tile is waited for: a stage is copied to as soon as its tile is worked off.
  // (forward.cuh copies one tile ahead and saves a barrier; here the bytes in flight count.)
  __forceinline__ void visit_prefetching() {
    KvTile tile = posted(0);
    if (tile.first_key < 0) return;
    KvTile next = posted(1);
    load_next(next, 1);
#pragma unroll 1
    for (int stage = 0;; stage ^= 1) {
      wait_for_copies<1>();
      __syncthreads();
      if (next.first_key >= 0 && is_scout()) post_next(stage);
      visit(tile, stage);
      if (next.first_key < 0) break;
      __syncthreads();
      const KvTile after = posted(stage);
      load_next(after, stage);
      tile = next;
      next = after;
    }
  }
  // Commits in any case, so that all copies but those of one tile can be waited for.
  __forceinline__ void load_next(const KvTile& tile, int stage) {
    if (tile.first_key >= 0) {
      load_tile(tile, stage);
    } else {
      commit_copies();
    }
  }

  // One stage, for devices with little shared memory.
  __forceinline__ void visit_in_turn() {
    KvTile tile = posted(0);
#pragma unroll 1
    for (int slot = 1; tile.first_key >= 0; slot ^= 1) {
      wait_for_copies();
      __syncthreads();
      visit(tile, 0);
      tile = posted(slot);
      if (tile.first_key < 0) break;
      __syncthreads();
      load_tile(tile, 0);
      if (is_scout()) post_next(slot ^ 1);
    }
  }

  // The warp's steps of a tile: warps with the same rows take turns.
  __forceinline__ void visit(const KvTile& tile, int stage) {
    const int row_warps = work().row_warps(), warp = thread_index() / 32;
    const LaneAddress<typename S::QkRows> k = key_lane_address<S>(k_address(stage));
    const ValueLaneAddress<S> v(v_address(stage));
    const Verdicts verdicts(tile.steps != 0 ? tile.steps : Verdicts::all_full);
#pragma unroll 1
    for (int step = Verdicts::steps - 1 - warp / row_warps; step >= 0; step -= Plan::warps / row_warps) {
      if (!verdicts.visits(step)) continue;
      const int step_first = step * S::step_keys;
      Scores<S> s;
      compute_scores(s, k, step_first);
      if constexpr (Mods::has_score_mod) {
        modify_scores<Plan, Mods, true>(s, softmax_, params_, work(), rows_, stage, tile, step_first);
      }
      if (verdicts.masks(step)) {
        const bool kept = mask_scores<Plan, Mods>(s, params_, work(), rows_, stage, tile, step_first);
        if (Mods::mask_kind == MaskKind::general && !__any_sync(0xffffffffu, kept)) continue;
      }
      softmax_.raise_origins(s, o_);
      softmax_.exponentials(s);
      const Probabilities<S> p = to_operand<Plan, S>(s);
      NoCopies none;
      accumulate<Plan, S>(o_, p, v, step_first, none);
      softmax_.add_to_sums(p);
    }
  }

  // s = Q K^T for keys [first_row, first_row + step) of the tile that `k` points into.
  __forceinline__ void compute_scores(Scores<S>& s, const LaneAddress<typename S::QkRows>& k, int first_row) const {
    clear(s);
    if constexpr (S::keeps_queries) {
#pragma unroll
      for (int d = 0; d < S::depths; ++d) multiply(s, queries_[d], k, first_row, d);
    } else {
      const LaneAddress<typename S::QkRows> q = query_address();
#pragma unroll
      for (int d = 0; d < S::depths; ++d) multiply(s, load_matrices(q.at(0, 2 * d)), k, first_row, d);
    }
  }
  static __forceinline__ void multiply(Scores<S>& s, const Fragment4& queries, const LaneAddress<typename S::QkRows>& k,
                                       int first_row, int d) {
#pragma unroll
    for (int j = 0; j < S::key_tiles; j += 2) {
      const Fragment4 keys = load_matrices(k.at(first_row + 8 * j, 2 * d));
      multiply_add<Plan::dtype>(s.x[0][j], queries.x, keys.x[0], keys.x[1]);
      multiply_add<Plan::dtype>(s.x[0][j + 1], queries.x, keys.x[2], keys.x[3]);
    }
  }

  const ForwardArguments& args_;
  const Params& params_;
  typename Mods::Uniform uniform_;  // of the group's first head, for levels that do not depend on the head
  GroupRows<Plan, Mods> rows_;
  Fragment4 queries_[S::keeps_queries ? S::depths : 1];
  Accumulator<S> o_;
  Softmax<Plan, Mods, S> softmax_;
};

}  // namespace sm80

// The body of `attnc_forward` where Plan::packs_groups: see README.md for grid, block and shared memory.
template <class Plan, class Mods>
__forceinline__ void forward_groups_sm80(const ForwardArguments& args, const typename Mods::Params& params) {
  sm80::GroupTile<Plan, Mods> tile(args, params);
  tile.run();
}

}  // namespace attnc
