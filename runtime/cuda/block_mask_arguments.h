// SPDX-License-Identifier: Apache-2.0
// templates/block_mask/arguments.cuh and extrema.cuh as the host writes them. tests/cuda_compile compares the offsets.
#pragma once

#include <cstdint>

namespace attnc::cuda {

struct MaskListArguments {
  std::int32_t* counts = nullptr;
  std::int32_t* offsets = nullptr;
  std::int32_t* indices = nullptr;
  std::int32_t* section_counts = nullptr;
  std::int64_t capacity = 0;
};

struct MaskTally {
  std::int32_t evaluated = 0;
  std::int32_t evaluated_full = 0;
  std::int32_t evaluated_partial = 0;
  std::int32_t full = 0;
  std::int32_t overflowing_rows = 0;
};

struct MaskArguments {
  std::uint32_t* partial = nullptr;
  std::uint32_t* full = nullptr;
  std::uint32_t* open = nullptr;
  MaskListArguments kv;
  MaskListArguments q;
  std::int32_t* work_order = nullptr;
  MaskTally* tally = nullptr;
  std::int32_t batch = 1;
  std::int32_t heads = 1;
  std::int32_t q_len = 0;
  std::int32_t kv_len = 0;
  std::int32_t q_block = 0;
  std::int32_t kv_block = 0;
  std::int32_t q_blocks = 0;
  std::int32_t kv_blocks = 0;
  std::int32_t words = 0;
  std::int32_t sections = 0;
  std::int32_t section_rows = 512;
  std::int32_t rows_per_warp = 32;
  std::int32_t words_per_step = 1;
  std::int32_t separate_full_blocks = 1;
};

/// Of templates/block_mask/small.cuh, small_lists.cuh and bits.cuh.
inline constexpr int mask_small_threads = 512;
inline constexpr int mask_small_words = 1024;
inline constexpr int mask_small_rows = 1024;
inline constexpr int mask_bits_threads = 512;

struct ExtremaArguments {
  const void* source = nullptr;
  void* minima = nullptr;
  void* maxima = nullptr;
  std::int64_t stride_elems = 0;
  std::int64_t extent = 0;
  std::int64_t outer_stride_elems[4] = {0, 0, 0, 0};
  std::int64_t outer_extent[4] = {1, 1, 1, 1};
  std::int64_t inner = 1;
  std::int64_t outer = 1;
  std::int32_t element = 0;
  std::int32_t runs = 0;
  std::int32_t granule = 64;
  std::int32_t levels = 0;
  std::int32_t* counter = nullptr;
};

/// runs_per_block and threads of templates/block_mask/extrema.cuh.
inline constexpr int extrema_runs_per_block = 64;
inline constexpr int extrema_threads = 1024;

}  // namespace attnc::cuda
