// SPDX-License-Identifier: Apache-2.0
// What follows from a Plan: tile sizes, padded head dimensions and the layout of shared memory.
//
// A Plan is a struct of constants, printed by the compiler. It never depends on lengths, batch, heads or strides:
//   DType dtype;            of q, k, v and out
//   int head_dim_qk;        the true ones; padding to a multiple of 16 happens in shared memory and registers only
//   int head_dim_v;
//   int warps;
//   int rows_per_warp;      a multiple of 16; tile_q = warps * rows_per_warp
//   int tile_kv;            keys per stage of shared memory; a multiple of step_kv
//   int step_kv;            keys whose scores a warp holds in registers at a time; a multiple of 16. Tiles that need
//   the
//                           mask are worked off in steps of at most 32 keys, so that a warp can leave out more of them
//   int stages;             K and V tiles in flight, 1 or 2
//   int min_blocks;         CTAs per SM that the registers are limited for
//   int vector_bytes;       16, 8, 4 or 2 (not under the element's size): every row of q, k, v and out starts at a
//                           multiple of it
//   bool block_table;       visit the blocks of ForwardArguments::blocks rather than classifying tiles
//   bool packs_groups;      a tile's rows are (query, query head) pairs of one kv head: group_forward.cuh instead of
//                           forward.cuh. Then rows_per_warp is 16, step_kv at most 32, head dimensions are multiples
//                           of 8, and there is no block table
#pragma once

#include "prelude.cuh"

namespace attnc {

#ifndef ATTNC_DTYPE_DEFINED
#define ATTNC_DTYPE_DEFINED
enum class DType : int { f16 = 0, bf16 = 1, f32 = 2 };
#endif

namespace sm80 {

constexpr int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// A tile of rows in shared memory, moved in chunks of 16 bytes. Eight neighbouring rows must have any one chunk in
// different banks, as ldmatrix reads them: rows of whole 128-byte lines are XOR-swizzled, other rows are padded to an
// odd number of chunks.
template <int columns, int element_bytes>
struct SharedRows {
  static constexpr int chunks = columns * element_bytes / 16;
  static constexpr bool swizzled = chunks % 8 == 0;
  static constexpr int row_bytes = (swizzled ? chunks : chunks | 1) * 16;

  static constexpr int offset(int row, int chunk) {
    return row * row_bytes + (swizzled ? chunk ^ (row & 7) : chunk) * 16;
  }
};

// `step`: keys per step.
template <class Plan, class Mods, int step = Plan::step_kv>
struct Shape {
  static constexpr bool is_f32 = Plan::dtype == DType::f32;
  static constexpr int element_bytes = is_f32 ? 4 : 2;
  static constexpr int dim_qk = round_up(Plan::head_dim_qk, 16);
  static constexpr int dim_v = round_up(Plan::head_dim_v, 16);
  static constexpr int threads = Plan::warps * 32;
  static constexpr int tile_q = Plan::warps * Plan::rows_per_warp;

  // Fragments of one warp: m16 row tiles, n8 key tiles of a step, n8 column tiles of the output. A thread owns two rows
  // of each m16 tile, eight apart.
  static constexpr int row_tiles = Plan::rows_per_warp / 16;
  static constexpr int rows = 2 * row_tiles;
  static constexpr int step_keys = step;
  static constexpr int key_tiles = step / 8;
  static constexpr int out_tiles = dim_v / 8;
  // One mma's depth along the head dimension in elements, always two chunks.
  static constexpr int depth = 32 / element_bytes;
  static constexpr int depths = dim_qk / depth;

  using QkRows = SharedRows<dim_qk, element_bytes>;
  using VRows = SharedRows<dim_v, element_bytes>;

  // Shared memory, in this order. The output is staged over Q.
  static constexpr bool stages_output = !is_f32 && Plan::vector_bytes == 16 && !Plan::packs_groups;
  static constexpr int q_bytes = tile_q * QkRows::row_bytes;
  static constexpr int out_bytes = stages_output ? tile_q * VRows::row_bytes : 0;
  static constexpr int k_stage_bytes = Plan::tile_kv * QkRows::row_bytes;
  static constexpr int v_stage_bytes = Plan::tile_kv * VRows::row_bytes;
  static constexpr int column_stage_words = Plan::tile_kv * Mods::column_words;
  static constexpr int diagonal_stage_words = (tile_q + Plan::tile_kv) * Mods::diagonal_words;

  // Packed groups keep the fragments of Q in registers where there is room (four for each 16 columns); Q then passes
  // through the second stage of K, which is free until the first tile is worked off.
  static constexpr bool keeps_queries = Plan::packs_groups && depths <= 8;
  static constexpr bool q_in_stage = keeps_queries && Plan::stages == 2 && Plan::tile_kv >= tile_q;

  static constexpr int k_offset = q_in_stage ? 0 : q_bytes > out_bytes ? q_bytes : out_bytes;
  static constexpr int q_offset = q_in_stage ? k_offset + k_stage_bytes : 0;
  static constexpr int v_offset = k_offset + Plan::stages * k_stage_bytes;
  static constexpr int column_offset = v_offset + Plan::stages * v_stage_bytes;
  static constexpr int diagonal_offset = column_offset + 2 * column_stage_words * 4;
  static constexpr int levels_end = diagonal_offset + 2 * diagonal_stage_words * 4;
  // Packed groups: at the end each warp leaves its rows' results, fp32, padded against bank conflicts, over all of
  // this.
  static constexpr int merged_row_floats = dim_v + 8;
  static constexpr int merge_bytes = Plan::packs_groups ? tile_q * (merged_row_floats + 2) * 4 : 0;
  static constexpr int cursor_offset = levels_end > merge_bytes ? levels_end : merge_bytes;
  static constexpr int cursor_bytes = 640;
  static constexpr int smem_bytes = cursor_offset + cursor_bytes;

  static_assert(Plan::rows_per_warp % 16 == 0, "rows_per_warp");
  static_assert(Plan::step_kv % 16 == 0 && Plan::tile_kv % Plan::step_kv == 0, "step_kv");
  static_assert(Plan::stages == 1 || Plan::stages == 2, "stages");
  static_assert(Plan::vector_bytes >= element_bytes && Plan::vector_bytes <= 16, "vector_bytes");
  static_assert(!Plan::packs_groups ||
                    (Plan::rows_per_warp == 16 && Plan::step_kv <= 32 && Plan::head_dim_qk % 8 == 0 &&
                     Plan::head_dim_v % 8 == 0 && !Plan::block_table && !is_f32),
                "packs_groups");
};

// The steps of tiles that need the mask.
template <class Plan, class Mods>
using MaskedShape = Shape<Plan, Mods, Plan::step_kv <= 32 ? Plan::step_kv : (Plan::tile_kv % 32 == 0 ? 32 : 16)>;

}  // namespace sm80
}  // namespace attnc
