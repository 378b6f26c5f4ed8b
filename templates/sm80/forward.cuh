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
#include "dependent_launch.cuh"
#include "sm80/copies.cuh"
#include "sm80/write.cuh"

namespace attnc {
namespace sm80 {

template <class Plan, class Mods>
class ForwardTile {
 public:
  using S = Shape<Plan, Mods>;
  using Params = typename Mods::Params;
  using Uniform = typename Mods::Uniform;

  __forceinline__ ForwardTile(const ForwardArguments& args, const Params& params)
      : args_(args), params_(params), softmax_(args.scale) {}

  __forceinline__ void run() {
    begin_work();
    bool careful = false;
    while (true) {
      start_tiles(careful);
      clear_accumulator();
      if constexpr (Plan::stages == 2) {
        visit_prefetching();
      } else {
        visit_in_turn();
      }
      wait_for_copies();
      if (speculative && softmax_.has_overflowed()) shared_state().overflowed = 1;
      if constexpr (!speculative && S::k_offset == S::q_bytes && S::QkRows::row_bytes == S::VRows::row_bytes) {
        __syncwarp();
        break;
      }
      __syncthreads();  // the output is staged over Q
      if (!speculative || shared_state().careful || !shared_state().overflowed) break;
      __syncthreads();
      softmax_.start();
      careful = true;
    }
    softmax_.finish();
    write_results<Plan, Mods, S>(shared_memory(), args_, work(), o_, softmax_);
  }

 private:
  static constexpr bool speculative = Softmax<Plan, Mods, S>::speculative;
  static constexpr bool tests_each_step = Mods::has_score_mod && StagedLevels<Plan, Mods>::any;
  using Copies = TileCopies<Plan, S>;
  using Division = CopyDivision<Plan, Mods, S>;

  // Bytes of K and V of a group of heads. More than the L2 cache holds, but CTAs that work on neighbouring q tiles of a
  // head at one time read the same keys at about one time.
  static constexpr uint32 group_bytes = 128u << 20;

  // blockIdx.x counts groups of heads that are worked on together; within a group q tiles, last rows first, with
  // the heads fastest: with a causal mask a group begins with all of its longest tiles, and the grid ends with short
  // ones. Where all tiles are alike, heads follow one another. blockIdx.y is the split.
  __forceinline__ WorkPlace decode_place() const {
    const uint32 q_tiles = (static_cast<uint32>(args_.q_len) + S::tile_q - 1) / S::tile_q;
    const uint32 q_heads = static_cast<uint32>(args_.q_heads);
    uint32 head_index = blockIdx.x / q_tiles, rank = blockIdx.x - head_index * q_tiles;
    if constexpr (Mods::mask_kind != MaskKind::none || Plan::block_table) {
      constexpr uint32 key_bytes = (Plan::head_dim_qk + Plan::head_dim_v) * S::element_bytes;
      const uint32 all_heads = q_heads * args_.batch;
      const uint32 kv_heads = max(group_bytes / key_bytes / max(args_.kv_len, 1), 1u);
      const uint32 group =
          min(kv_heads, static_cast<uint32>(args_.kv_heads * args_.batch)) * (q_heads / args_.kv_heads);
      const uint32 first_head = head_index / group * group;
      const uint32 heads = min(group, all_heads - first_head);
      const uint32 within = blockIdx.x - first_head * q_tiles;
      rank = within / heads;
      head_index = first_head + within - rank * heads;
    }
    const uint32 b = head_index / q_heads;
    return {static_cast<int>(b), static_cast<int>(head_index - b * q_heads),
            static_cast<int>((q_tiles - 1 - rank) * S::tile_q), static_cast<int>(blockIdx.y)};
  }

  // Starts loading Q and computes the uniform and row levels.
  __forceinline__ void begin_work() {
    const WorkPlace place = decode_place();
    const int kv_head = place.h / (args_.q_heads / args_.kv_heads);
    load_rows<typename S::QkRows, S::tile_q, Plan::head_dim_qk, S::element_bytes, S::threads, Plan::vector_bytes>(
        q_address(), matrix_of(args_.q, place.b, place.h, S::element_bytes), args_.q.row_stride_elems, place.q_first,
        args_.q_len);
    commit_copies();
    // The launch before may be the one that takes the extremes of what the mask captures. It began after all else.
    wait_for_previous_launch();
    if (threadIdx.x == 0) {
      shared_state().place = place;
      shared_state().k = matrix_of(args_.k, place.b, kv_head, S::element_bytes);
      shared_state().v = matrix_of(args_.v, place.b, kv_head, S::element_bytes);
    }
    __syncthreads();
    uniform_ = Mods::uniform(params_, work().context);
    if constexpr (Mods::has_score_mod) rows_.compute(params_, work());
  }

  // Posts the first two kv tiles, and starts loading the first before the second is looked for. The search stands in
  // the code once for both.
  __forceinline__ void start_tiles(bool careful) {
    if (is_scout()) {
      if (threadIdx.x == 0) {
        shared_state().careful = careful;
        shared_state().overflowed = 0;
      }
      const WorkTile<Mods> work = this->work();
      cursor(work).start();
    }
#pragma unroll 1
    for (int slot = 0;; ++slot) {
      if (is_scout()) post_next(slot);
      if (slot == 1) break;
      __syncthreads();
      const KvTile tile = posted(0);
      if (tile.first_key < 0) break;
      load_tile<true>(tile, 0);
    }
    fold_sign_of_scale();
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

  // Whether all of a tile's keys exist. Tiles come last keys first, so without a table only the first may reach beyond.
  __forceinline__ bool is_inside(const KvTile& tile) const { return tile.first_key + Plan::tile_kv <= args_.kv_len; }

  // The copies of what is posted for a stage, from a row of the tile on.
  __forceinline__ Copies copies_to(int stage, int row) const {
    const KvTile tile = posted(stage);
    const SharedState& shared = shared_state();
    return {{k_address(stage) + row * S::QkRows::row_bytes, read_volatile(shared.k), args_.k.row_stride_elems,
             tile.first_key + row},
            {v_address(stage) + row * S::VRows::row_bytes, read_volatile(shared.v), args_.v.row_stride_elems,
             tile.first_key + row},
            tile.first_key >= 0 && waits(tile)};
  }
  // Whether a tile's copies may start in the course of the tile before it, rather than before that one.
  __forceinline__ bool waits(const KvTile& tile) const {
    return (!(Plan::block_table || Division::spread) || is_inside(tile)) && !stages_levels(tile);
  }
  // Whether the visit of `tile` starts the copies of the next one.
  __forceinline__ bool divides(const KvTile& tile, const KvTile& next) const {
    if constexpr (Division::full != Division::masked) return waits(next) && (tile.steps != 0) == Division::masked;
    return Division::full && waits(next);
  }
  static __forceinline__ bool stages_levels(const KvTile& tile) {
    // Without a score mod only the mask reads them.
    return StagedLevels<Plan, Mods>::any && (Mods::has_score_mod || tile.steps != 0);
  }

  // Starts copying a tile's keys and values, and computes the mods' values for its keys and differences. `first`: of
  // the work tile.
  template <bool first>
  __forceinline__ void load_tile(const KvTile& tile, int stage) {
    using Staged = StagedLevels<Plan, Mods>;
    typename Mods::Column column{};
    if (Staged::early_columns && stages_levels(tile)) column = Staged::own_column(params_, work(), tile.first_key);
    if (Division::possible && (!(first || Plan::block_table) || is_inside(tile))) {
      copies_to(stage, 0).start();
    } else {
      load_rows<typename S::QkRows, Plan::tile_kv, Plan::head_dim_qk, S::element_bytes, S::threads, Plan::vector_bytes,
                !Division::possible>(k_address(stage), read_volatile(shared_state().k), args_.k.row_stride_elems,
                                     tile.first_key, args_.kv_len);
      load_rows<typename S::VRows, Plan::tile_kv, Plan::head_dim_v, S::element_bytes, S::threads, Plan::vector_bytes,
                !Division::possible>(v_address(stage), read_volatile(shared_state().v), args_.v.row_stride_elems,
                                     tile.first_key, args_.kv_len);
    }
    commit_copies();
    if (stages_levels(tile)) Staged::stage(stage, params_, work(), tile.first_key, column);
  }

  static __forceinline__ uint32 q_address() { return shared_address(shared_memory()); }
  static __forceinline__ uint32 k_address(int stage) { return q_address() + S::k_offset + stage * S::k_stage_bytes; }
  static __forceinline__ uint32 v_address(int stage) { return q_address() + S::v_offset + stage * S::v_stage_bytes; }

  // A negative scale is folded into Q, so that larger scores always mean larger exponents.
  __forceinline__ void fold_sign_of_scale() {
    if (!Mods::has_score_mod && args_.scale < 0.0f && !(speculative && shared_state().careful)) {
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
    static_assert(sizeof(SharedState) + S::threads <= S::cursor_bytes, "cursor_bytes");
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
    const volatile KvTile& tile = shared_state().posted[slot + opaque_zero()];
    return {tile.first_key, tile.steps, tile.row_begin, tile.row_end};
  }

  // The stage in use, or with one stage the slot of posted(): each thread's own copy in shared memory, where there is
  // no register for it across a visit. With two stages that is so without a mask, whose loop keeps more addresses.
  static constexpr bool keeps_stage_in_memory = Mods::mask_kind == MaskKind::none;
  static __forceinline__ volatile uint8& kept_stage() {
    return shared_memory()[S::cursor_offset + S::cursor_bytes - S::threads + thread_index()];
  }

  // Two stages: the next tile is copied while this one is worked on. The first copy stands outside the loop: folding it
  // in costs 3 to 6 % of the speed.
  __forceinline__ void visit_prefetching() {
    int stage = 0;
    if constexpr (keeps_stage_in_memory) kept_stage() = 0;
    KvTile tile = posted(0);
    if (tile.first_key < 0) return;
    while (true) {
      if constexpr (keeps_stage_in_memory) stage = kept_stage();
      wait_for_copies();
      __syncthreads();  // this tile is there, and nobody reads the other stage any more
      const int other = stage ^ 1;
      if constexpr (keeps_stage_in_memory) kept_stage() = static_cast<uint8>(other);
      const KvTile next = posted(other);
      if (next.first_key >= 0) {
        if (!divides(tile, next)) load_tile<false>(next, other);
        if (is_scout()) post_next(stage);
      }
      visit(tile, stage);
      // Not written as above: the assembler would keep that value across the visit.
      stage = keeps_stage_in_memory ? kept_stage() : 1 - stage;
      tile = posted(stage);
      if (tile.first_key < 0) break;
    }
  }

  // One stage, for devices with little shared memory, or where it leaves room for a second CTA.
  __forceinline__ void visit_in_turn() {
    kept_stage() = 0;
    KvTile tile = posted(0);
    if (tile.first_key < 0) return;
    while (true) {
      wait_for_copies();
      __syncthreads();
      visit(tile, 0);
      const int slot = kept_stage() ^ 1;
      tile = posted(slot);
      if (tile.first_key < 0) break;
      __syncthreads();
      load_tile<false>(tile, 0);
      if (is_scout()) post_next(slot ^ 1);
      kept_stage() = static_cast<uint8>(slot);
    }
  }

  __forceinline__ void visit(const KvTile& tile, int stage) {
    using M = MaskedShape<Plan, Mods>;
    if constexpr (M::step_keys == S::step_keys) {
      visit_steps<S, true>(tile, stage);
    } else if (Division::full ? is_judged(tile)
                              : tile.steps != 0 || (speculative && (shared_state().careful ||
                                                                    (!tests_each_step && !softmax_.may_speculate())))) {
      visit_steps<M, true>(tile, stage);
    } else {
      visit_steps<S, false>(tile, stage);
    }
  }

  // The same as in visit(). Which of the two forms a kernel has moves the assembler to schedules 3 % apart (D = 64).
  __forceinline__ bool is_judged(const KvTile& tile) const {
    if (tile.steps != 0) return true;
    if constexpr (!speculative) return false;
    return shared_state().careful || (!tests_each_step && !softmax_.may_speculate());
  }

  // Works off a tile, last keys first, in steps of Step::step_keys. `judged`: by the verdicts on the tile's steps, and
  // with an eye on the maximum; otherwise the tile is full and the origins serve.
  template <class Step, bool judged>
  __forceinline__ void visit_steps(const KvTile& tile, int stage) {
    using Verdicts = StepVerdicts<Plan, Mods>;
    const LaneAddress<typename S::QkRows> q = query_lane_address<Plan, S>(q_address());
    const LaneAddress<typename S::QkRows> k = key_lane_address<S>(k_address(stage));
    const ValueLaneAddress<Step> v(v_address(stage));
    const Verdicts verdicts(judged && tile.steps != 0 ? tile.steps : Verdicts::all_full);
    // The mask's row values are computed for each masked tile: kept, they would take registers from full tiles.
    // Those of a general mask may be loads: they are under way during the first product.
    ThreadRows<Plan, Mods> mask_rows;
    if constexpr (judged && Mods::mask_kind == MaskKind::general) {
      if (tile.steps != 0) mask_rows.compute(params_, work());
    }
#pragma unroll 1
    for (int step = Plan::tile_kv / Step::step_keys - 1; step >= 0; --step) {
      if constexpr (judged && Division::masked) {
        copies_to(stage ^ 1, step * Step::step_keys).template start_share<Plan::tile_kv / Step::step_keys>();
      }
      if (judged && !verdicts.visits(step)) continue;
      const int step_first = step * Step::step_keys;
      Scores<Step> s;
      compute_scores<Plan, Step>(s, q, k, step_first);
      if constexpr (Mods::has_score_mod) {
        modify_scores<Plan, Mods, judged>(s, softmax_, params_, work(), rows_, stage, tile, step_first);
      }
      if (judged && verdicts.masks(step)) {
        if constexpr (Mods::mask_kind == MaskKind::band) mask_rows.compute(params_, work());
        const bool kept = mask_scores<Plan, Mods>(s, params_, work(), mask_rows, stage, tile, step_first);
        if (Mods::mask_kind == MaskKind::general && !__any_sync(0xffffffffu, kept)) continue;
      }
      if constexpr (S::is_f32) {
        // Anew: the products of the scores need the registers.
        finish_step<Step, judged>(s, ValueLaneAddress<Step>(v_address(stage)), step_first);
      } else {
        finish_step<Step, judged>(s, v, step_first, stage);
      }
    }
    if (judged && Division::masked) commit_copies();
  }

  template <class Step, bool judged>
  __forceinline__ void finish_step(Scores<Step>& s, const ValueLaneAddress<Step>& v, int step_first, int stage = 0) {
    if (judged || !speculative || (tests_each_step && !softmax_.may_speculate())) softmax_.raise_origins(s, o_);
    // Never taken, but not to the assembler: with nothing between the products it holds values of V beside all of the
    // scores, and spills.
    constexpr bool may_spill = Mods::mask_kind == MaskKind::none || (!Mods::has_score_mod && sizeof(Uniform) > 1);
    constexpr bool divides_products = speculative && !judged && !tests_each_step && may_spill;
    if (divides_products && __any_sync(0xffffffffu, opaque_zero())) return;
    softmax_.exponentials(s);
    const Probabilities<Step> p = to_operand<Plan, Step>(s);
    if constexpr (!judged && Division::spread) {
      Copies copies = copies_to(stage ^ 1, 0);
      accumulate<Plan, Step>(o_, p, v, step_first, copies);
    } else {
      if constexpr (!judged && Division::full) {
        Copies copies = copies_to(stage ^ 1, 0);
        if (copies.wanted) copies.start();
      }
      NoCopies none;
      accumulate<Plan, Step>(o_, p, v, step_first, none);
    }
    if (!judged && Division::full) commit_copies();
    softmax_.add_to_sums(p);
  }

  const ForwardArguments& args_;
  const Params& params_;
  Uniform uniform_;
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
