// SPDX-License-Identifier: Apache-2.0
// templates/arguments.cuh as the host writes it. tests/gpu/layout_test.cpp compiles the offsets of both and compares.
#pragma once

#include <cstdint>

namespace attnc::cuda {

struct TensorArgument {
  const void* data = nullptr;
  std::int64_t batch_stride_elems = 0;
  std::int64_t head_stride_elems = 0;
  std::int64_t row_stride_elems = 0;
};

struct BlockTableArgument {
  const std::int32_t* kv_num_blocks = nullptr;
  const std::int32_t* kv_indices = nullptr;
  const std::int32_t* full_kv_num_blocks = nullptr;
  const std::int32_t* full_kv_indices = nullptr;
  std::int64_t counts_batch_stride = 0;
  std::int64_t counts_head_stride = 0;
  std::int64_t indices_batch_stride = 0;
  std::int64_t indices_head_stride = 0;
  std::int64_t indices_row_stride = 0;
  std::int64_t full_indices_batch_stride = 0;
  std::int64_t full_indices_head_stride = 0;
  std::int64_t full_indices_row_stride = 0;
  std::int32_t q_block = 0;
  std::int32_t kv_block = 0;
  const std::int32_t* kv_offsets = nullptr;
  const std::int32_t* full_kv_offsets = nullptr;
  const std::int32_t* work_order = nullptr;
};

struct ForwardArguments {
  TensorArgument q;
  TensorArgument k;
  TensorArgument v;
  TensorArgument out;
  float* lse = nullptr;
  std::int64_t lse_batch_stride_elems = 0;
  std::int64_t lse_head_stride_elems = 0;
  std::int32_t batch = 0;
  std::int32_t q_heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t q_len = 0;
  std::int32_t kv_len = 0;
  float scale = 0;
  BlockTableArgument blocks;
  std::int32_t* tile_counter = nullptr;
  float* out_partial = nullptr;
  float* lse_partial = nullptr;
  std::int32_t kv_splits = 1;
  std::int32_t reserved = 0;
  const std::uint32_t* mask_bits = nullptr;
};

}  // namespace attnc::cuda
