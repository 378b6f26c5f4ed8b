// SPDX-License-Identifier: Apache-2.0
// The copies of a kv tile in pieces, to be started between the products of the tile before it. Sixteen copies in a row
// keep a warp from its products for 600 clocks: the cache takes in 64 bytes a clock.
#pragma once

#include "sm80/memory.cuh"
#include "sm80/modify.cuh"
#include "sm80/softmax.cuh"

namespace attnc {
namespace sm80 {

// Rows of a matrix, all of them there, copied as load_rows does. A piece is one chunk of every thread.
template <class Rows, int tile_rows, int head_dim, int element_bytes, int threads, int vector_bytes>
struct RowPieces {
  static constexpr int rows_per_piece = threads / Rows::chunks;
  static constexpr int count = tile_rows / rows_per_piece;
  // Every thread has work in every piece, and its chunk of the swizzle is the same in all.
  static constexpr bool possible = vector_bytes == 16 && Rows::swizzled && threads % Rows::chunks == 0 &&
                                   rows_per_piece % 8 == 0 && tile_rows % rows_per_piece == 0 &&
                                   head_dim * element_bytes == Rows::chunks * 16;
  uint32 target;
  const uint8* source;
  int64 step_bytes;

  __forceinline__ RowPieces(uint32 tile_address, const uint8* matrix, int64 row_stride_elems, int first_row) {
    const int thread = thread_index(), row = thread / Rows::chunks, chunk = thread % Rows::chunks;
    const int64 row_stride_bytes = row_stride_elems * element_bytes;
    target = tile_address + Rows::offset(row, chunk);
    source = matrix + (first_row + row) * row_stride_bytes + chunk * 16;
    step_bytes = rows_per_piece * row_stride_bytes;
  }
  // Pieces are started in order.
  __forceinline__ void start(int piece) {
    copy_chunk<16>(target + piece * rows_per_piece * Rows::row_bytes, source, 16);
    source += step_bytes;
  }
  __forceinline__ void start_if(bool wanted, int piece) {
    copy_chunk_if(wanted, target + piece * rows_per_piece * Rows::row_bytes, source);
    source += step_bytes;
  }
};

// Keys and values of a tile; `wanted` decides whether anything is copied at all.
template <class Plan, class S>
struct TileCopies {
  using Keys =
      RowPieces<typename S::QkRows, Plan::tile_kv, Plan::head_dim_qk, S::element_bytes, S::threads, Plan::vector_bytes>;
  using Values =
      RowPieces<typename S::VRows, Plan::tile_kv, Plan::head_dim_v, S::element_bytes, S::threads, Plan::vector_bytes>;
  static constexpr bool possible = !S::is_f32 && Keys::possible && Values::possible;
  static constexpr int count = Keys::count + Values::count;

  Keys keys;
  Values values;
  bool wanted;

  // All of them.
  __forceinline__ void start() {
#pragma unroll
    for (int piece = 0; piece < Keys::count; ++piece) keys.start(piece);
#pragma unroll
    for (int piece = 0; piece < Values::count; ++piece) values.start(piece);
  }
  // One of `shares` equal shares, if wanted.
  template <int shares>
  __forceinline__ void start_share() {
#pragma unroll
    for (int piece = 0; piece < Keys::count / shares; ++piece) keys.start_if(wanted, piece);
#pragma unroll
    for (int piece = 0; piece < Values::count / shares; ++piece) values.start_if(wanted, piece);
  }
  // All of them if wanted, a quarter in every quarter of `slots` calls. (One in every other call is slower: each LDGSTS
  // after an LDSM brings three empty instructions.)
  __forceinline__ void start_slot(int slot, int slots) {
    constexpr int bunches = 4, bunch = count / bunches;
    if (slot % (slots / bunches) != 0) return;
#pragma unroll
    for (int i = 0; i < bunch; ++i) {
      const int piece = slot / (slots / bunches) * bunch + i;
      if (piece < Keys::count) {
        keys.start_if(wanted, piece);
      } else {
        values.start_if(wanted, piece - Keys::count);
      }
    }
  }
};

struct NoCopies {
  __forceinline__ void start_slot(int, int) {}
};

// Which visits start the next tile's copies themselves.
template <class Plan, class Mods, class S>
struct CopyDivision {
  static constexpr bool speculative = Softmax<Plan, Mods, S>::speculative;
  // Where full tiles speculate, kernels with a dear score mod or without a mask keep load_rows, since pieces cost them
  // 3 %, and those with a block table, which would spill.
  static constexpr bool suits_speculation =
      Mods::mask_kind != MaskKind::none && !Plan::block_table && (!Mods::has_score_mod || is_linear<Mods>);
  // Plans with short steps are those of mods that leave no registers for pieces.
  static constexpr bool possible = Plan::stages == 2 && Plan::step_kv == Plan::tile_kv &&
                                   TileCopies<Plan, S>::possible && (!speculative || suits_speculation);
  // A mask's values of the head, beside a large output, leave none either.
  static constexpr bool has_registers = Mods::has_score_mod || sizeof(typename Mods::Uniform) == 1 || S::out_tiles <= 8;
  static constexpr bool two_steps = possible && has_registers && MaskedShape<Plan, Mods>::step_keys != S::step_keys;
  // Full tiles, before the second product or in the course of it: registers are free there.
  static constexpr bool full = two_steps && Mods::mask_kind != MaskKind::none && (!Mods::has_score_mod || speculative);
  // Masked tiles, a share before each step; those of a general mask would spill.
  static constexpr bool masked =
      two_steps && Mods::mask_kind == MaskKind::band && !(Mods::has_score_mod && StagedLevels<Plan, Mods>::any);
  // Where exponentials overlap with the second product, copies are spread over it.
  static constexpr bool spread = full && speculative && !Mods::has_score_mod;
};

}  // namespace sm80
}  // namespace attnc
