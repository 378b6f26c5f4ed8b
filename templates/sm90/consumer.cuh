// SPDX-License-Identifier: Apache-2.0
// A consumer warpgroup: 64 query rows through all their kv tiles, work tile after work tile.
//
// The scores of tile n and the values of tile n-1 are issued together, also from one work tile to the next, in turns
// with the other warpgroups (turns.cuh).
#pragma once

#include "sm90/bias.cuh"
#include "sm90/epilogue.cuh"
#include "sm90/mask_tile.cuh"
#include "sm90/producer.cuh"
#include "sm90/turns.cuh"

namespace attnc::sm90 {

// One for each warpgroup's own use.
inline constexpr int first_own_barrier = first_turn_barrier + 3;

template <class Plan, class Mods>
class Consumer {
  using Shared = SharedView<Plan, Mods>;
  using Layout = SharedLayout<Plan, Mods>;
  using Ring = RingPosition<Plan::stages>;
  using Softmax = OnlineSoftmax<Plan, Mods>;
  static constexpr bool two_block_rows = Plan::source == TileSource::table && Plan::consumer_warpgroups > 2;
  static constexpr int score_registers = Plan::tile_kv / 2;
  static constexpr int out_registers = Plan::head_dim_v / 2;

 public:
  __device__ __forceinline__ Consumer(const Shared& shared, const ForwardArguments& args,
                                      const typename Mods::Params& params, int warpgroup)
      : shared_(shared), args_(args), params_(params), warpgroup_(warpgroup), turns_(warpgroup) {
    thread_row_ =
        warpgroup * rows_per_warpgroup + static_cast<int>(threadIdx.x % warpgroup_threads) / 32 * 16 + lane() / 4;
    unit_ = not_zero(args.scale * log2_e);
#pragma unroll
    for (int i = 0; i < score_registers / 2; ++i) probabilities_[i] = 0;
    if constexpr (!overwrites_output) clear_output();
  }

  __device__ __forceinline__ void run() {
    work_ = await_work();
    if (work_.q_tile < 0) return;
    begin_rows();
    // The values that run under the first scores of these rows are the last of `pending`'s. Before the very first tile
    // those are no rows at all: zeros are multiplied by whatever is in the slot that the producer gives for it, and
    // nobody reads the result. A second copy of the loop for that tile would cost more.
    PendingRows pending{0, 0, args_.q_len, {0.0f, 0.0f}};
    StageNotice next{};
    if constexpr (looks_ahead) next = await_scores_tile(k_);
    for (;;) {
      const StageNotice tile = looks_ahead ? next : await_scores_tile(k_);
      const bool last = (tile.flags & stage_last) != 0;
      const bool skipped = may_skip(tile, first() && last);
      if (skipped) {
        skip(tile);
      } else {
        turns_.take();
        issue_scores();
        barrier_wait(shared_.v_full(v_.stage), v_.phase);
        issue_values();
        turns_.pass();
        if (looks_ahead && !last) next = await_scores_tile(k_.next());  // while the products run
        wgmma_wait<1>();
        fence_registers(scores_);
        release_scores_tile(tile);
        if (has_side_values(tile)) barrier_wait(shared_.side_full(side_.stage), side_.phase);
        const TilePlace place = place_of(tile);
        if constexpr (masks_dots) mask(tile, place, dropped_dot());
        await_values();  // whose operand registers the softmax is about to fill again
        if (first()) {
          write_rows<Plan>(args_, pending, out_);
          if constexpr (!overwrites_output) clear_output();
        }
        progress_ = first() ? first_tile_taken : more_taken;
        softmax(tile, place);
        if (has_side_values(tile)) release_side_values();
        release_skipped_values();
      }
      if (last) {
        progress_ = -(progress_ & 1);
        pending = finish_rows<Plan, Mods>(args_, work_.batch, work_.head, first_row(work_), softmax_);
        if (!begin_next_work()) break;
      }
      if (looks_ahead && (last || skipped)) next = await_scores_tile(k_);
    }
    barrier_wait(shared_.v_full(v_.stage), v_.phase);
    issue_values();
    await_values();
    write_rows<Plan>(args_, pending, out_);
  }

 private:
  static constexpr bool modified = modifies_scores<Plan, Mods>;
  // Whether the first value product of new rows overwrites what the accumulators hold. Before CUDA 12.9 ptxas gives
  // them values of its own where they have none yet, and serialises the products for it (C7515).
  static constexpr bool overwrites_output = __CUDACC_VER_MAJOR__ > 12 || __CUDACC_VER_MINOR__ >= 9;
  // Whether masking may come before the score mod: what it puts there then stays -inf.
  static constexpr bool masks_dots = !modified || has_dropped_dot<Mods>;
  static constexpr ScoreForm cheapest_form =
      scales_queries<Plan, Mods>() ? ScoreForm::narrow_scaled : ScoreForm::narrow;
  // The slow path looks for no maximum where scores are bounded, and each copy of the loop costs the others: two
  // warpgroups gain 1 to 2 % without this one, three lose.
  static constexpr bool leaves_exact_to_slow_path = Softmax::bounded && Plan::consumer_warpgroups == 2;
  // The notice of the next tile is read while the products of this one run. Three warpgroups are 1.5 % slower with
  // that, and 256 columns, whose two slots of K fill too late, 3 %.
  static constexpr bool looks_ahead =
      Plan::source != TileSource::dense && Plan::consumer_warpgroups == 2 && Plan::speculative;
  static constexpr bool skips_tiles = skips_tiles_by_warpgroup<Plan>();
  static __device__ __forceinline__ int lane() { return threadIdx.x % warp_threads; }

  // Returns false at the end of all work.
  __device__ __forceinline__ bool begin_next_work() {
    q_.advance();
    work_ = await_work();
    if (work_.q_tile < 0) return false;
    softmax_.reset();
    begin_rows();
    return true;
  }

  __device__ __forceinline__ void begin_rows() {
    rows_ = row_values(work_);
    tiles_left_ = ceil_div(args_.kv_len, Plan::tile_kv);
    form_ = cheapest_form;
    if constexpr (scales_queries<Plan, Mods>()) {
      scale_queries();
      proxy_fence();
      named_barrier_sync(first_own_barrier + warpgroup_, warpgroup_threads);
    }
    mask_.begin_rows(params_, rows_);
    if constexpr (Plan::bias_product) {
      unit_ = not_zero(Mods::score_factor(params_, rows_.context, rows_.uniform));
      slope_ = Mods::score_slope(params_, rows_.context, rows_.uniform);
    }
  }

  // This warpgroup's rows of Q, times a power of two.
  __device__ __forceinline__ void scale_queries() const {
    const uint32 factors = pack_pair<true>(query_factor_, query_factor_);
    uint8* rows = shared_.q_tile(q_.stage) + warpgroup_ * rows_per_warpgroup * chunk_row_bytes;
#pragma unroll
    for (int chunk = 0; chunk < ceil_div(Plan::head_dim_qk, 64); ++chunk) {
      uint4* pieces = reinterpret_cast<uint4*>(rows + chunk * Layout::tile_q * chunk_row_bytes);
#pragma unroll
      for (int first = 0; first < rows_per_warpgroup * chunk_row_bytes / 16; first += warpgroup_threads) {
        uint4& piece = pieces[first + threadIdx.x % warpgroup_threads];
        piece = uint4{multiply_bf16_pairs(piece.x, factors), multiply_bf16_pairs(piece.y, factors),
                      multiply_bf16_pairs(piece.z, factors), multiply_bf16_pairs(piece.w, factors)};
      }
    }
  }

  __device__ __forceinline__ int first_row(const WorkNotice& work) const {
    return work.q_tile * Layout::tile_q + thread_row_;
  }

  // Read by one lane for all of its warp, the one that is elected to give the slot back on the hardware there is: so
  // racecheck can follow how the producer's next write comes after the read. (release() orders the two in any case.)
  static __device__ __forceinline__ WorkNotice read_notice(const WorkNotice* notice) {
    WorkNotice work{};
    if (lane() == 0) work = *notice;
    work.batch = __shfl_sync(0xffffffffu, work.batch, 0);
    work.head = __shfl_sync(0xffffffffu, work.head, 0);
    work.q_tile = __shfl_sync(0xffffffffu, work.q_tile, 0);
    work.has_tiles = __shfl_sync(0xffffffffu, work.has_tiles, 0);
    return work;
  }

  // The next work tile that has any kv tile; the rows of those that have none are written on the way.
  __device__ __forceinline__ WorkNotice await_work() {
    for (;; q_.advance()) {
      barrier_wait(shared_.q_full(q_.stage), q_.phase);
      const WorkNotice work = read_notice(shared_.work(q_.stage));
      if (work.q_tile < 0 || work.has_tiles) return work;
      release(shared_.q_empty(q_.stage));
      write_empty_rows<Plan>(args_, work.batch, work.head,
                             work.q_tile * Layout::tile_q + warpgroup_ * rows_per_warpgroup);
    }
  }

  __device__ __forceinline__ RowValues<Mods> row_values(const WorkNotice& work) {
    RowValues<Mods> rows;
    rows.context = TileContext{work.batch, work.head, args_.q_len, args_.kv_len, args_.scale};
    rows.uniform = Mods::uniform(params_, rows.context);
    if constexpr (scales_queries<Plan, Mods>()) {
      query_factor_ = Mods::narrow_query_factor(params_, rows.context, rows.uniform);
      rows.context.scale = args_.scale / query_factor_;
      rows.uniform = Mods::uniform(params_, rows.context);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      rows.q_idx[i] = min_int(first_row(work) + 8 * i, args_.q_len - 1);
      rows.row[i] = Mods::row(params_, rows.context, rows.uniform, rows.q_idx[i]);
    }
    return rows;
  }

  // Where every tile is visited, nobody needs to be told which.
  __device__ __forceinline__ StageNotice await_scores_tile(const Ring& at) {
    barrier_wait(shared_.k_full(at.stage), at.phase);
    if constexpr (posts_tiles<Plan>()) {
      return *shared_.stage_notice(at.stage);
    } else {
      const KvTile tile = TileStream<Plan, Mods, TileSource::dense>::tile_at(--tiles_left_, args_.kv_len);
      return stage_notice(tile, tiles_left_ == 0);
    }
  }

  // scores = Q K^T, raw dot products.
  __device__ __forceinline__ void issue_scores() {
    const MatrixDescriptor q = k_major_descriptor(shared_.q(0) + warpgroup_ * rows_per_warpgroup * chunk_row_bytes)
                                   .slot<Layout::q_bytes>(q_.stage);
    const MatrixDescriptor k = k_major_descriptor(shared_.k(0)).slot<Layout::k_bytes>(k_.stage);
    fence_registers(scores_);
    wgmma_fence();
    if constexpr (Plan::bias_product) {
      WgmmaShared<Plan::tile_kv, Plan::is_bf16, false>::run(
          scores_, repeated_rows_descriptor(shared_address(shared_.bias_rows(0)) + q_.stage * bias_group_bytes),
          k_major_descriptor(shared_address(shared_.bias_keys())).at(0));
    }
    WgmmaShared<Plan::tile_kv, Plan::is_bf16, Plan::bias_product>::run(scores_, q.at(0), k.at(0));
#pragma unroll
    for (int step = 1; step < ceil_div(Plan::head_dim_qk, 16); ++step) {
      WgmmaShared<Plan::tile_kv, Plan::is_bf16, true>::run(scores_, q.at(k_major_step<Layout::tile_q>(step)),
                                                           k.at(k_major_step<Plan::tile_kv>(step)));
    }
    wgmma_commit();
  }

  // out += P V; out = P V where these rows have no output yet.
  __device__ __forceinline__ void issue_values() {
    const MatrixDescriptor v = mn_major_descriptor<Plan::tile_kv>(shared_.v(0)).slot<Layout::v_bytes>(v_.stage);
    fence_registers(out_);
    fence_registers(probabilities_);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < Plan::tile_kv / 16; ++step) {
      WgmmaRegister<Plan::head_dim_v, Plan::is_bf16>::run(out_, probabilities_ + 4 * step, v.at(mn_major_step(step)),
                                                          step > 0 || !overwrites_output || !out_is_empty());
    }
    wgmma_commit();
  }

  // The value product is complete; its registers and its slot are free.
  __device__ __forceinline__ void await_values() {
    wgmma_wait<0>();
    fence_registers(out_);
    fence_registers(probabilities_);
    keep_operands(probabilities_, args_.reserved != 0, reinterpret_cast<uint32*>(shared_.drawn() + 1));
    release_values_tile();
  }

  // Tiles of which none of this warpgroup's rows keeps a key, as far as classifier or table know, are passed over, so
  // that the last keys of a causal mask cost nothing to the rows before them. The values that wait for the next scores
  // keep their slot meanwhile, and so do those of the tiles passed over, since slots are released in order. The
  // producer asks for the slots of all tiles but one before it delivers the next K: no more than stages - 1 may be
  // kept. And the rows must meet one tile, under whose scores the values of the rows before them run.
  __device__ __forceinline__ bool may_skip(const StageNotice& tile, bool only) const {
    if constexpr (!skips_tiles) {
      return false;
    } else {
      return (verdict(tile) & stage_dropped) != 0 && !only && skipped_values_ < Plan::stages - 1;
    }
  }

  __device__ __forceinline__ void skip(const StageNotice& tile) {
    release_scores_tile(tile);
    if (has_side_values(tile)) {
      barrier_wait(shared_.side_full(side_.stage), side_.phase);
      release_side_values();
    }
    ++skipped_values_;
    turns_.take();
    turns_.pass();
  }

  __device__ __forceinline__ void release_skipped_values() {
    if constexpr (skips_tiles) {
#pragma unroll 1
      for (; skipped_values_ > 0; --skipped_values_) {
        barrier_wait(shared_.v_full(v_.stage), v_.phase);
        release_values_tile();
      }
    }
  }

  __device__ __forceinline__ bool has_side_values(const StageNotice& tile) const {
    return Layout::has_side_values || (Plan::bit_mask && tile.flags > stage_last);
  }

  // The flags of this warpgroup in a tile.
  __device__ __forceinline__ int verdict(const StageNotice& tile) const {
    return tile.flags >> stage_flags_of(warpgroup_);
  }

  // What rows are shifted by in a tile: the reference and, with bias_product, the bias of its first key.
  __device__ __forceinline__ void shifts(float (&shift)[2], const TilePlace& place) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      shift[i] = softmax_.shift(i);
      if constexpr (Plan::bias_product) {
        shift[i] += slope_ * static_cast<float>(place.first_kv - rows_.q_idx[i]);
      }
    }
  }

  // From dot products to packed probabilities; rescales the output where the reference moves. The first way has the
  // shorter code and the faster first tile, and pays where rows are short; where tiles are many, the second is faster
  // by 1 % (64 columns) to 3 % (128).
  __device__ __forceinline__ void softmax(const StageNotice& tile, const TilePlace& place) {
    if constexpr (!modified && skips_tiles) {
      softmax_of_dots(place, !Plan::speculative || !softmax_.settled(), !Plan::speculative);
    } else if (!softmax_fast(tile, place)) {
      if constexpr (!modified && Plan::speculative) {
        softmax_of_dots(place, true, softmax_.settled());
      } else {
        float factor[2];
        if (softmax_slow(tile, place, factor)) rescale(factor);
      }
      if constexpr (scales_queries<Plan, Mods>()) {
        // Rows that come this near to the end of the range with their first keys will leave it, each warp at another
        // time, and code that warps do not share is slow.
        const float near = 0.8f * Mods::narrow_scaled_score_bound(params_, rows_.context, rows_.uniform);
        if (form_ == ScoreForm::narrow_scaled &&
            __any_sync(0xffffffffu, -softmax_.shift(0) > near || -softmax_.shift(1) > near)) {
          form_ = ScoreForm::narrow;
        }
      }
    }
  }

  __device__ __forceinline__ void clear_output() {
#pragma unroll
    for (int i = 0; i < out_registers; ++i) out_[i] = 0.0f;
  }

  // No tile of these rows so far.
  __device__ __forceinline__ bool first() const { return progress_ <= 0; }
  // What out_ holds is of other rows, as far as the next value product is concerned.
  __device__ __forceinline__ bool out_is_empty() const { return (progress_ & 1) != 0; }

  __device__ __forceinline__ void rescale(const float (&factor)[2]) {
    if (progress_ == first_tile_taken) return;
#pragma unroll
    for (int i = 0; i < out_registers; ++i) out_[i] *= factor[(i / 2) % 2];
  }

  // Where scores are dot products, shifted: a pass against the reference that rows have or that a sample gives them
  // and, should that fail, one against the maximum. Both are the same code.
  __device__ __forceinline__ void softmax_of_dots(const TilePlace& place, bool search, bool all) {
    for (;;) {
      if (search) {
        float shift[2];
        shifts(shift, place);
        float factor[2];
        if (softmax_.find_reference(scores_, unit_, shift, all, factor)) rescale(factor);
      }
      if (speculate<ScoreForm::exact>(place, 0.0f, 0.0f, all)) break;
      search = all = true;
    }
  }

  // One pass from dot products to packed probabilities; leaves the dot products alone. False if the tile needs the slow
  // path.
  __device__ __forceinline__ bool softmax_fast(const StageNotice& tile, const TilePlace& place) {
    if constexpr (!Plan::speculative) return false;
    const bool partial = (verdict(tile) & stage_partial) != 0;
    if (!softmax_.settled() || (!masks_dots && partial)) return false;
    if constexpr (has_score_narrow<Mods>) {
      // The cheapest form last: the compiler then places it nearest to what follows.
      if (form_ == ScoreForm::exact) {
        if (leaves_exact_to_slow_path || (masks_dots && partial)) return false;
      } else if (!scales_queries<Plan, Mods>() || form_ == ScoreForm::narrow) {
        const float bound = Mods::narrow_score_bound(params_, rows_.context, rows_.uniform);
        const bool done = speculate<ScoreForm::narrow>(place, bound, 14.0f);
        if (!done) form_ = ScoreForm::exact;
        return done;
      } else if constexpr (scales_queries<Plan, Mods>()) {
        // Just below the bound this form is wrong by a few hundredths of a probability only.
        const float bound = Mods::narrow_scaled_score_bound(params_, rows_.context, rows_.uniform);
        const bool done = speculate<ScoreForm::narrow_scaled>(place, bound, 10.0f);
        if (!done) form_ = ScoreForm::narrow;
        return done;
      }
    }
    return speculate<ScoreForm::exact>(place, 0.0f, 0.0f);
  }

  template <ScoreForm form>
  __device__ __forceinline__ bool speculate(const TilePlace& place, float score_bound, float tail_log2,
                                            bool known = false) {
    float shift[2];
    shifts(shift, place);
    ElementWalk<Plan, Mods> walk(rows_, place);
    return softmax_.template speculate<form != ScoreForm::exact>(
        probabilities_,
        [&](int j, float(&x)[4]) { block_scores<form>(x, scores_ + 4 * j, j, walk, params_, rows_, unit_, shift); },
        score_bound, tail_log2, known);
  }

  // Modify, mask, find the maximum, exponentiate. Returns whether the output so far must be rescaled.
  __device__ __forceinline__ bool softmax_slow(const StageNotice& tile, const TilePlace& place, float (&factor)[2]) {
    float shift[2];
    shifts(shift, place);
    modify_scores<Plan, Mods>(scores_, params_, rows_, place, unit_, shift);
    if constexpr (modified) mask(tile, place, minus_infinity());
    const bool moved = softmax_.exponentiate(scores_, factor);
    Softmax::pack(probabilities_, scores_);
    return moved;
  }

  // Puts `dropped` wherever a key is dropped.
  __device__ __forceinline__ void mask(const StageNotice& tile, const TilePlace& place, float dropped) {
    const int verdict = this->verdict(tile);
    if ((verdict & stage_partial) == 0) return;
    if constexpr (Plan::bit_mask) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        drop_by_bits<Plan>(scores_, i, shared_.mask_rows(side_.stage) + (thread_row_ + 8 * i) * mask_row_bytes,
                           tile.first_kv, dropped);
      }
    } else {
      const bool nothing = two_block_rows && (verdict & stage_dropped) != 0;
      mask_.apply(scores_, args_, params_, rows_, place, nothing, dropped);
    }
  }

  // What `unit` or the score mod turns into -inf.
  __device__ __forceinline__ float dropped_dot() const {
    if constexpr (modified && has_dropped_dot<Mods>) {
      return Mods::dropped_dot(params_, rows_.context, rows_.uniform);
    }
    return unit_ < 0.0f ? -minus_infinity() : minus_infinity();
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
    if (elect_lane()) barrier_arrive(barrier);
  }

  __device__ __forceinline__ void release_scores_tile(const StageNotice& tile) {
    if constexpr (posts_tiles<Plan>()) {
      barrier_arrive(shared_.k_empty(k_.stage));
    } else {
      release(shared_.k_empty(k_.stage));
    }
    if (tile.flags & stage_last) release(shared_.q_empty(q_.stage));
    k_.advance();
  }

  __device__ __forceinline__ void release_side_values() {
    barrier_arrive(shared_.side_empty(side_.stage));
    side_.advance();
  }

  __device__ __forceinline__ void release_values_tile() {
    release(shared_.v_empty(v_.stage));
    v_.advance();
  }

  const Shared& shared_;
  const ForwardArguments& args_;
  const typename Mods::Params& params_;
  int warpgroup_;
  float unit_;      // from raw dot products to log2 units, where scores are not modified
  float slope_;     // with bias_product: log2 units a key
  int thread_row_;  // this thread's first row within the q tile
  Turns<Plan> turns_;
  WorkNotice work_;
  RowValues<Mods> rows_;
  TileMask<Plan, Mods> mask_;
  Softmax softmax_;
  int tiles_left_;                  // of this work tile, where all are visited
  int skipped_values_ = 0;          // tiles passed over whose slot of V is still to be released
  float query_factor_;              // what Q is multiplied by, with scales_queries
  ScoreForm form_ = cheapest_form;  // the cheapest whose range no tile of this work tile has left
  // How far these rows are, up to the scores of a second tile. Before the first, at 0 or below, it is the values of the
  // rows before that are still to be multiplied; odd if those are all that these had.
  static constexpr int first_tile_taken = 1;
  static constexpr int more_taken = 2;
  int progress_ = -first_tile_taken;
  float out_[out_registers];
  float scores_[score_registers];
  uint32 probabilities_[score_registers / 2];
  RingPosition<Plan::q_stages> q_;
  Ring k_;
  Ring v_;
  Ring side_;
};

}  // namespace attnc::sm90
