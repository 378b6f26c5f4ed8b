// SPDX-License-Identifier: Apache-2.0
// What a plan fixes at compile time, and the shared memory that follows from it. A plan never depends on lengths,
// batch, head counts, strides or the values of scalars.
//
// A plan is a struct of static constexpr members:
//   bool is_bf16               bf16, else fp16
//   int  head_dim_qk           multiple of 8, 8 to 256
//   int  head_dim_v            multiple of 8, 8 to 256
//   int  consumer_warpgroups   2 or 3; each owns 64 rows of the q tile
//   int  tile_kv               multiple of 16, 16 to 256
//   int  stages                slots of the K ring and of the V ring, at least 2
//   int  q_stages              slots of the Q ring: 2 hides the load of the next work tile, 1 saves shared memory
//   int  exp2_polynomial_eighths   share of the exponentials computed on the FMA pipe, 0 to 8 eighths
//   bool speculative           exponentiate before the maximum is known (softmax.cuh); costs registers and code
//   bool ping_pong             warpgroups take turns issuing their matrix products
//   int  consumer_registers, producer_registers   per thread; multiples of 8
//   bool bit_mask              partial blocks of a table come with their masks as bits; Mods::keep is not asked
//   bool bias_product          bf16 only: a term of the score that is linear in kv_idx is added by the matrix product
//   TileSource source          where the list of kv tiles comes from
//   WorkOrder  order           in which q tiles are taken
#pragma once

#include "contract.cuh"
#include "sm90/tma.cuh"

namespace attnc::sm90 {

enum class TileSource : int {
  dense,       // every kv tile; with a mask, each one is undecided
  classifier,  // Mods::classify decides inside the kernel
  table,       // ForwardArguments::blocks
};

enum class WorkOrder : int {
  first_q_first,  // equal work: neighbours share K and V
  last_q_first,   // work grows with q (causal): longest first, within groups of heads whose K and V fit L2
};

inline constexpr int rows_per_warpgroup = 64;

template <class Plan>
constexpr int cta_threads() {
  return (Plan::consumer_warpgroups + 1) * 128;
}

template <class Plan>
constexpr int tile_q_rows() {
  return Plan::consumer_warpgroups * rows_per_warpgroup;
}

// What the producer tells the consumers of a work tile; q_tile < 0 ends the kernel.
struct WorkNotice {
  int batch;
  int head;
  int q_tile;
  int has_tiles;  // 0: the rows of this tile keep no key at all
};

// What the producer tells the consumers of one kv tile.
struct alignas(8) StageNotice {
  int first_kv;
  int flags;  // stage_last, and two bits for each warpgroup: shift them down by stage_flags_of(warpgroup)
};
inline constexpr int stage_last = 1;     // last of its work tile
inline constexpr int stage_partial = 1;  // needs mask code: undecided, or reaching beyond kv_len
inline constexpr int stage_dropped = 2;  // with stage_partial: all of these rows drop all of these keys

__device__ constexpr int stage_flags_of(int warpgroup) { return 1 + 2 * warpgroup; }
// The same flags for all warpgroups of a q tile.
__device__ constexpr int for_all_warpgroups(int flags) { return flags * 0x15; }

// Whether the producer posts a notice with each kv tile. Where every tile is visited the consumers count for
// themselves; but without speculation, at 256 columns, the compiler then writes half of the loop twice, which is 0.8 %
// slower.
template <class Plan>
constexpr bool posts_tiles() {
  return Plan::source != TileSource::dense || !Plan::speculative;
}

// Masks as bits: one row of a block is 128 keys.
inline constexpr int mask_block = 128;
inline constexpr int mask_row_bytes = mask_block / 8;

// Shared memory, in bytes from a 1024-byte aligned base (the swizzle's period).
template <class Plan, class Mods>
struct SharedLayout {
  static constexpr int tile_q = tile_q_rows<Plan>();
  static constexpr int q_bytes = tile_bytes(tile_q, Plan::head_dim_qk);
  static constexpr int k_bytes = tile_bytes(Plan::tile_kv, Plan::head_dim_qk);
  static constexpr int v_bytes = tile_bytes(Plan::tile_kv, Plan::head_dim_v);
  static constexpr bool has_side_values = Mods::column_words + Mods::diagonal_words > 0 &&
                                          (Mods::has_score_mod || !Plan::bit_mask);
  // Whether the staging warps have anything to do.
  static constexpr bool has_staging = has_side_values || Plan::bit_mask;
  // Differences q_idx - kv_idx that occur in a tile, rounded up to keep what follows aligned.
  static constexpr int differences = tile_q + Plan::tile_kv;
  static constexpr int column_bytes = has_side_values ? Mods::column_words * Plan::tile_kv * 4 : 0;
  static constexpr int diagonal_bytes = has_side_values ? Mods::diagonal_words * differences * 4 : 0;

  static constexpr int q = 0;
  static constexpr int k = q + Plan::q_stages * q_bytes;
  static constexpr int v = k + Plan::stages * k_bytes;
  // bias.cuh
  static constexpr int bias_keys_bytes = Plan::bias_product ? tile_bytes(Plan::tile_kv, 16) : 0;
  static constexpr int bias_rows_bytes = Plan::bias_product ? Plan::q_stages * 8 * chunk_row_bytes : 0;
  static constexpr int mask_bytes = Plan::bit_mask ? tile_q * mask_row_bytes : 0;

  static constexpr int bias_keys = v + Plan::stages * v_bytes;
  static constexpr int bias_rows = bias_keys + bias_keys_bytes;
  static constexpr int masks = bias_rows + bias_rows_bytes;
  static constexpr int columns = masks + Plan::stages * mask_bytes;
  static constexpr int diagonals = columns + Plan::stages * column_bytes;
  static constexpr int notices = diagonals + Plan::stages * diagonal_bytes;
  static constexpr int drawn = notices + Plan::q_stages * static_cast<int>(sizeof(WorkNotice)) +
                               Plan::stages * static_cast<int>(sizeof(StageNotice));
  static constexpr int barriers = drawn + 16;
  // Full and empty, of each slot of Q, and of K, V and side values.
  static constexpr int barrier_count = 2 * Plan::q_stages + 6 * Plan::stages;
  static constexpr int total = barriers + 8 * barrier_count;
  // What a launch asks for; 1024 more than the total because the base of dynamic shared memory is aligned by hand.
  static constexpr int launch_bytes = total + 1024;
  static_assert(Plan::head_dim_qk % 8 == 0 && Plan::head_dim_qk <= 256, "head dimensions are multiples of 8 up to 256");
  static_assert(Plan::head_dim_v % 8 == 0 && Plan::head_dim_v <= 256, "head dimensions are multiples of 8 up to 256");
  static_assert(Plan::tile_kv % 16 == 0 && Plan::tile_kv <= 256, "a value product takes 16 keys a step");
  static_assert(Plan::consumer_warpgroups == 2 || Plan::consumer_warpgroups == 3, "two or three consumer warpgroups");
  static_assert(launch_bytes <= 232448, "the plan does not fit the shared memory of one SM");
  static_assert(!Plan::bit_mask || (Plan::source == TileSource::table && mask_block % Plan::tile_kv == 0),
                "bits come with the blocks of a table");
  static_assert(!Plan::bias_product || Plan::is_bf16, "fp16 has not the range for a slope");
  static_assert(q_bytes % 1024 == 0 && k_bytes % 1024 == 0 && v_bytes % 1024 == 0, "tiles keep the swizzle's period");
};

}  // namespace attnc::sm90
