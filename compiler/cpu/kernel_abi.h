// SPDX-License-Identifier: Apache-2.0
// What the host hands to generated CPU code. Both sides read these structs: the host as C++, the emitter by offsetof.
#pragma once

#include <cstdint>

namespace attnc::cpu {

/// A captured buffer. `data` is never null: a buffer without elements points at eight bytes of zeros, so that generated
/// code may load element 0 unconditionally and discard it.
struct BufferAbi {
  const void* data;
  std::int64_t shape[5];
  std::int64_t stride_elems[5];
};

/// One parameter in eight bytes: the float's bits in the low half, or the integer.
union ParamAbi {
  float real;
  std::int64_t integer;
};

/// One q tile of one (b, h): the only argument of every generated function. Pointers into tensors are to the first row
/// of the tile. Scratch belongs to the calling thread; sizes are in CpuPlan.
struct TaskAbi {
  const char* q;  ///< row q0
  const char* k;  ///< row kv0 of the kv tile
  const char* v;  ///< row kv0 of the kv tile
  char* out;      ///< row q0
  float* lse;     ///< row q0; null: not wanted
  std::int64_t q_row_stride_bytes;
  std::int64_t k_row_stride_bytes;
  std::int64_t v_row_stride_bytes;
  std::int64_t out_row_stride_bytes;
  std::int64_t lse_stride_elems;
  const ParamAbi* params;
  const BufferAbi* buffers;
  std::int32_t b, h, q_len, kv_len;
  std::int32_t q0, rows;   ///< rows of this q tile, all < q_len
  std::int32_t kv0, keys;  ///< keys of this kv tile, all < kv_len
  float scale;
  std::int32_t packed;    ///< whether k_tile and v_tile hold this kv tile
  std::int32_t v_finite;  ///< whether every value of v_tile is finite

  float* q_panels;               ///< [panel][head_dim_qk][panel_rows]
  float* k_tile;                 ///< [max_keys + key_rows][head_dim_qk]
  float* v_tile;                 ///< [out_panel][max_keys][out_panel_width]
  float* scores;                 ///< [max_keys + key_rows][panel_rows], scores, then probabilities
  float* out_acc;                ///< [max_rows][head_dim_v_padded]
  float* row_max;                ///< [max_rows], in the units of the scores
  float* row_sum;                ///< [max_rows]
  float* correction;             ///< [panel_rows]
  float* row_staging;            ///< one row of q, k, v or out
  const std::int32_t* all_keys;  ///< 0, 1, 2, ...
  std::int32_t* live_keys;       ///< [max_keys + key_rows], keys that some row of the panel keeps
  std::uint16_t* keep_bits;      ///< [max_keys][q_vectors], one bit a lane, by position in live_keys
  char* uniform_slots;           ///< [slot] of 8 bytes
  char* row_slots;               ///< [slot][max_rows] of up to 8 bytes
  char* column_slots;            ///< [slot][max_keys + lanes] of up to 8 bytes
};

/// One block of a mask, for the exact evaluation. Returns mask_any | mask_all.
struct MaskTaskAbi {
  const ParamAbi* params;
  const BufferAbi* buffers;
  std::int32_t b, h, q_len, kv_len;
  std::int32_t q0, rows;  ///< 1 to max_mask_rows
  std::int32_t kv0, keys;
  char* uniform_slots;  ///< [slot] of 8 bytes
  char* row_slots;      ///< [slot][max_mask_rows] of up to 8 bytes
};
inline constexpr int max_mask_rows = 512;
inline constexpr int mask_any = 1;  ///< some element is kept
inline constexpr int mask_all = 2;  ///< every element is kept

using BeginFunction = void(TaskAbi*);                      ///< once per q tile, first
using TileFunction = void(TaskAbi*, std::int32_t masked);  ///< once per kv tile
using FinishFunction = void(TaskAbi*);                     ///< once per q tile, last
using MaskFunction = std::int32_t(MaskTaskAbi*);

inline constexpr char begin_symbol[] = "attnc_begin";
inline constexpr char tile_symbol[] = "attnc_tile";
inline constexpr char finish_symbol[] = "attnc_finish";
inline constexpr char mask_symbol[] = "attnc_mask";

}  // namespace attnc::cpu
