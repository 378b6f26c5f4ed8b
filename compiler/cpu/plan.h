// SPDX-License-Identifier: Apache-2.0
// What the CPU kernels are compiled for, and the tile sizes chosen for it. Plain values, printable, part of signatures.
#pragma once

#include <string>

#include "dsl/types.h"

namespace attnc::cpu {

/// A CPU as LLVM names it.
struct CpuTarget {
  std::string triple;
  std::string cpu;
  std::string features;   ///< "+avx2,-avx512f,...", sorted
  int vector_bits = 128;  ///< 128, 256 or 512
  int vector_registers = 16;
  bool has_f16_conversion = false;  ///< f16 <-> f32 in hardware
  bool has_fma = false;

  /// This machine. The environment may ask for less, for tests: ATTNC_CPU_TARGET names a CPU of LLVM's (x86-64,
  /// x86-64-v3, ...) without host features, ATTNC_CPU_VECTOR_BITS the width (never more than the CPU has).
  /// Throws Error(unsupported) if LLVM does not know the CPU.
  static CpuTarget host();
};

/// Tiles of one attention kernel. Vectors run across q rows: a *panel* is `panel_rows` rows of q, held transposed, so
/// that a key is one broadcast operand and no reduction ever crosses lanes.
struct CpuPlan {
  DType dtype = DType::f32;
  int head_dim_qk = 64;
  int head_dim_v = 64;
  int lanes = 4;        ///< f32 per vector
  int q_vectors = 2;    ///< vectors per panel
  int key_rows = 6;     ///< keys per register block of Q K^T
  int out_rows = 4;     ///< rows per register block of P V; divides panel_rows
  int out_vectors = 2;  ///< vectors of head_dim_v per register block of P V
  int max_rows = 128;   ///< rows of q per task, a multiple of panel_rows
  int max_keys = 128;   ///< keys per kv tile

  int panel_rows() const { return lanes * q_vectors; }
  int out_panel_width() const { return lanes * out_vectors; }
  int out_panels() const { return (head_dim_v + out_panel_width() - 1) / out_panel_width(); }
  int head_dim_v_padded() const { return out_panels() * out_panel_width(); }

  static CpuPlan choose(const CpuTarget& target, DType dtype, int head_dim_qk, int head_dim_v);
  std::string to_string() const;
};

}  // namespace attnc::cpu
