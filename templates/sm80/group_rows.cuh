// SPDX-License-Identifier: Apache-2.0
// Packed groups: the rows of a tile stand for (query, query head) pairs of one kv head, the heads of a query next to
// each other, so that few queries fill a tile and K and V are read once for all heads of a group.
//
// Row i of a kv head's q_len * group rows is query i / group of head kv_head * group + i % group. The group's size is
// a run-time value. Up to 16 rows all warps have the same rows and each a share of the keys; with more, 2 or 4 sets of
// 16 rows are divided among the warps first.
#pragma once

#include "sm80/modify.cuh"
#include "sm80/softmax.cuh"

namespace attnc {
namespace sm80 {

// What a CTA works on. `context.h` is the first head of the group: what depends on h is a row's own (GroupRows).
template <class Mods>
struct GroupWork : WorkTile<Mods> {
  int group;      // query heads that share the kv head
  int first_row;  // of the kv head's rows
  int last_row;   // that exists

  __forceinline__ int row_warps() const { return row_warps_of(last_row - first_row + 1); }
  // Sets of 16 rows that the warps are divided into; a divisor of their number, 4.
  static __forceinline__ int row_warps_of(int rows) { return rows <= 16 ? 1 : rows <= 32 ? 2 : 4; }

  // Of a kv head's rows, the one that a warp's row stands for: rows past the end stand for the last one and are never
  // written.
  __forceinline__ int row(int warp, int i) const { return min(first_row + warp % row_warps() * 16 + i, last_row); }
  __forceinline__ int first_query(int warp) const { return row(warp, 0) / group; }
  __forceinline__ int last_query(int warp) const { return row(warp, 15) / group; }
};

// The rows a thread owns, eight apart, and all that mods know of them: in a group the head differs from row to row.
template <class Plan, class Mods>
struct GroupRows {
  using S = Shape<Plan, Mods>;
  using Work = WorkTile<Mods>;
  using Uniform = typename Mods::Uniform;
  TileContext contexts[S::rows];
  Uniform uniforms[S::rows];
  typename Mods::Row values[S::rows];
  int q_idx[S::rows];

  __forceinline__ void compute(const typename Mods::Params& params, const GroupWork<Mods>& work) {
    const int thread = thread_index();
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      const int row = work.row(thread / 32, thread % 32 / 4 + 8 * r);
      q_idx[r] = row / work.group;
      contexts[r] = work.context;
      contexts[r].h += row - q_idx[r] * work.group;
      uniforms[r] = Mods::uniform(params, contexts[r]);
      values[r] = Mods::row(params, contexts[r], uniforms[r], q_idx[r]);
    }
  }

  // As ThreadRows.
  static __forceinline__ int first() { return 0; }
  __forceinline__ int query(const Work&, int, int r) const { return q_idx[r]; }
  __forceinline__ int tile_row(const Work& work, int, int r) const { return q_idx[r] - work.q_first; }
  __forceinline__ const TileContext& context(const Work&, int r) const { return contexts[r]; }
  __forceinline__ const Uniform& uniform(const Work&, int r) const { return uniforms[r]; }
  static __forceinline__ float first_delta(const Work&, int, int) { return 0.0f; }
  __forceinline__ float delta(float, int key, int r) const { return static_cast<float>(key - q_idx[r]); }
};

// Starts copying the tile's rows of Q to shared memory, as load_rows does; up to the last set of 16 rows in use. By all
// warps but the first.
template <class Plan, class Mods, class S>
__forceinline__ void load_group_queries(uint32 tile_address, const ForwardArguments& args,
                                        const GroupWork<Mods>& work) {
  using Rows = typename S::QkRows;
  constexpr int row_data_bytes = Plan::head_dim_qk * S::element_bytes;
  const int rows = work.last_row - work.first_row + 1;
  const int chunks = work.row_warps() * 16 * Rows::chunks;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x) - 32; i < chunks; i += S::threads - 32) {
    const int row = i / Rows::chunks, chunk = i % Rows::chunks;
    const int packed = min(work.first_row + row, work.last_row), q_idx = packed / work.group;
    const uint8* source =
        matrix_of(args.q, work.context.b, work.context.h + packed - q_idx * work.group, S::element_bytes) +
        q_idx * args.q.row_stride_elems * S::element_bytes + chunk * 16;
    const int bytes = min(max(row_data_bytes - chunk * 16, 0), 16);
    copy_chunk<Plan::vector_bytes>(tile_address + Rows::offset(row, chunk), source, row < rows ? bytes : 0);
  }
}

}  // namespace sm80
}  // namespace attnc
