// SPDX-License-Identifier: Apache-2.0
// How a kernel is laid out for one kind of problem: a plain value, printable, and part of the kernel's signature.
//
// A plan never depends on lengths, batch, head counts, strides or the values of scalars.
#pragma once

#include <string>

#include "compiler/cuda/mods.h"
#include "compiler/plan/target.h"
#include "dsl/types.h"

namespace attnc::plan {

/// What is known before a plan is made.
struct Problem {
  DType dtype = DType::bf16;  ///< f32, f16 or bf16
  int head_dim_qk = 64;       ///< 1 to 256
  int head_dim_v = 64;
  bool block_table = false;  ///< visit the blocks of a BlockMask
  bool bit_mask = false;     ///< the table's partial blocks of 128 x 128 come with their masks as bits
  int kv_block = 128;        ///< with a table: keys per block, a multiple of 16
  int vector_bytes = 16;     ///< every row of q, k, v and out starts at a multiple of it: 16, 8, 4 or 2
  bool tensor_maps = true;   ///< q, k and v (and the table's blocks of q) suit the bulk tensor copy engine (sm90)
  bool small_tiles = false;  ///< of the Hopper kernel: the compiler loses the stack of the plan it gets otherwise
  /// Few queries of grouped heads: a tile's rows are (query, query head) pairs of one kv head. The portable kernel's;
  /// 16-bit types, no table, and cuda::why_no_groups() must be empty.
  bool packs_groups = false;
  cuda::ModsTraits mods;
};

enum class KernelFamily {
  sm80,  ///< templates/sm80: mma.sync and cp.async; runs on SM80 and everything newer
  sm90,  ///< templates/sm90: WGMMA and TMA; runs on sm_90a only
};

struct TilePlan {
  KernelFamily family = KernelFamily::sm80;
  DType dtype = DType::bf16;
  int head_dim_qk = 64;
  int head_dim_v = 64;
  bool block_table = false;
  int tile_q = 128;
  int tile_kv = 64;
  int stages = 2;
  int threads = 128;
  int smem_bytes = 0;  ///< dynamic shared memory of a launch

  // sm80
  int warps = 4;
  int rows_per_warp = 16;
  int step_kv = 32;
  int min_blocks = 1;
  int vector_bytes = 16;
  bool packs_groups = false;  ///< tile_q counts (query, query head) pairs

  // sm90
  int consumer_warpgroups = 0;
  int q_stages = 1;
  bool ping_pong = false;
  bool speculative = false;
  int exp2_polynomial_eighths = 0;
  int consumer_registers = 0;
  int producer_registers = 0;
  bool classify_tiles = false;  ///< Mods::classify (or the band) decides tiles inside the kernel
  bool longest_first = false;   ///< work grows with q
  bool bit_mask = false;        ///< masks come as bits (ForwardArguments::mask_bits)
  bool bias_product = false;    ///< the matrix product adds a term linear in kv_idx (sm90/bias.cuh)

  bool operator==(const TilePlan&) const = default;
};

/// `TilePlan(family=sm80, tile_q=128, ...)`: what applies to the family, on one line.
std::string print(const TilePlan& plan);

/// Throws Error(unsupported) for a dtype or head dimension that no kernel takes; Error(internal) if nothing fits the
/// target's shared memory, which is a bug.
TilePlan make_plan(const Problem& problem, const Target& target);
/// The portable plan, whatever else the target could run.
TilePlan make_sm80_plan(const Problem& problem, const Target& target);
/// Whether the Hopper kernel takes the problem, and its plan if so.
bool can_run_sm90(const Problem& problem, const Target& target);
TilePlan make_sm90_plan(const Problem& problem, const Target& target);
/// Registers of the producer's and the consumers' threads, as setmaxnreg divides what __launch_bounds__ gives: 504 or
/// 512 over all warpgroups; with any other sum it waits for ever. Wants consumer_warpgroups and classify_tiles.
void split_registers(TilePlan& plan, const cuda::ModsTraits& mods);

/// Dynamic shared memory in bytes; the kernels assert the same numbers.
int sm80_smem_bytes(const TilePlan& plan, const cuda::ModsTraits& mods);
int sm90_smem_bytes(const TilePlan& plan, const cuda::ModsTraits& mods);

}  // namespace attnc::plan
