// SPDX-License-Identifier: Apache-2.0
// The one argument of every forward kernel. runtime/cuda/launch_arguments.h writes the same layout from the host; a
// test compiles static_asserts of every offset through NVRTC, so the two cannot drift apart.
#pragma once

#include "prelude.cuh"

namespace attnc {

// A tensor of shape [batch, heads, rows, columns] in elements of the kernel's dtype; the innermost stride is 1.
// A broadcast dimension has stride 0.
struct TensorArgument {
  const void* data;
  int64 batch_stride_elems;
  int64 head_stride_elems;
  int64 row_stride_elems;
};

// FlexAttention's tables for the kv side. Block row i of (b, h) lists counts[...] block indices in `indices`.
//   counts  [batch or 1, heads or 1, q_blocks]             int32
//   indices [batch or 1, heads or 1, q_blocks, indices_row_stride] int32
// Both pairs null when there is no table.
struct BlockTableArgument {
  const int32* kv_num_blocks;
  const int32* kv_indices;
  const int32* full_kv_num_blocks;
  const int32* full_kv_indices;
  int64 counts_batch_stride;  // 0 when broadcast over batch
  int64 counts_head_stride;   // 0 when broadcast over heads
  int64 indices_batch_stride;
  int64 indices_head_stride;
  int64 indices_row_stride;  // elements between the lists of neighbouring q blocks, partial list
  int64 full_indices_batch_stride;
  int64 full_indices_head_stride;
  int64 full_indices_row_stride;
  int32 q_block;   // rows of q per block; a multiple of the kernel's tile_q, or a divisor of it
  int32 kv_block;  // keys per block; a multiple of the kernel's tile_kv
  // Where lists follow one another without gaps: the first entry of each, counted from *_indices and indexed as the
  // counts are; the index strides are then not used. -1 stands for the list of all blocks, 0, 1, 2, ... Null: strides.
  const int32* kv_offsets;
  const int32* full_kv_offsets;
  // [batch or 1, heads or 1, q_blocks], strides as the counts: the q blocks of a head, those with most to visit first.
  // For kernels whose q tiles are q blocks; null: none.
  const int32* work_order;
};

struct ForwardArguments {
  TensorArgument q;    // [batch, q_heads, q_len, head_dim_qk]
  TensorArgument k;    // [batch, kv_heads, kv_len, head_dim_qk]
  TensorArgument v;    // [batch, kv_heads, kv_len, head_dim_v]
  TensorArgument out;  // [batch, q_heads, q_len, head_dim_v]; written
  float* lse;          // [batch, q_heads, q_len] natural log; null: not wanted
  int64 lse_batch_stride_elems;
  int64 lse_head_stride_elems;
  int32 batch;
  int32 q_heads;
  int32 kv_heads;  // divides q_heads
  int32 q_len;
  int32 kv_len;
  float scale;  // softmax scale, natural units
  BlockTableArgument blocks;
  int32* tile_counter;  // 0 before a launch and after it; for kernels that schedule tiles dynamically, else null
  // Split-KV partials, fp32, used when kv_splits > 1: out_partial [kv_splits, batch, q_heads, q_len, head_dim_v] and
  // lse_partial [kv_splits, batch, q_heads, q_len] (log2 units).
  float* out_partial;
  float* lse_partial;
  int32 kv_splits;
  int32 reserved;  // 0
  // The mask of each partial block, one bit for each score, set where it is kept; null when the kernel is to ask
  // Mods::keep. The block whose entry in kv_indices is element k (counted from kv_indices) has words
  // k * q_block * kv_block / 32 onwards: rows of q in order, kv_block / 32 words each, the lowest bit the first key.
  // Bits of keys at or beyond kv_len are 0. 16-byte aligned; q_block and kv_block are 128.
  const uint32* mask_bits;
};

}  // namespace attnc
