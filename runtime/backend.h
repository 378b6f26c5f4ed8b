// SPDX-License-Identifier: Apache-2.0
// What a backend gets and gives. Internal: not installed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"
#include "runtime/attention.h"
#include "runtime/block_mask.h"
#include "runtime/tensor.h"

namespace attnc {

namespace cuda {
class DeviceMask;
}

/// A variant as the backends see it: nothing here is a shape.
struct VariantSpec {
  ir::Program program;  ///< canonicalized; score in natural units (not yet kernel form)
  DType dtype = DType::f32;
  int head_dim_qk = 64;
  int head_dim_v = 64;
  bool precise = false;
  Device device{};
  std::string cache_dir;  ///< as AttentionOptions
  LogCallback log;
};

/// One validated call. Every tensor has rank 4 and agrees with the others; lse has rank 3 or no data; q_len, kv_len,
/// batch and q_heads are all at least 1 (calls with nothing to do never reach a backend; kv_len 0 only
/// forward_without_keys).
struct ForwardCall {
  TensorView q, k, v, out, lse;
  int batch = 0, q_heads = 0, kv_heads = 0, q_len = 0, kv_len = 0;
  float scale = 1;
  ir::Bindings bindings;  ///< in the program's order
  const BlockMask* block_mask = nullptr;
  void* stream = nullptr;
};

/// Thread-safe: prepare and forward may be called from many threads at once.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual void prepare() = 0;
  virtual void forward(const ForwardCall& call) = 0;
  /// kv_len is 0: out = 0, lse = -inf. The default writes host memory.
  virtual void forward_without_keys(const ForwardCall& call);
  /// Stages this backend knows beyond the common ones; Error(invalid_argument) for others.
  virtual std::string explain(std::string_view stage, std::string_view target) = 0;
};

std::unique_ptr<Backend> make_cpu_backend(const VariantSpec& spec);  ///< runtime/cpu; only with ATTNC_CPU
std::unique_ptr<Backend> make_cuda_backend(
    const VariantSpec& spec);  ///< runtime/cuda; Error(no_device) if there is none

/// The backends' way to the tables of a BlockMask: host memory, contiguous, rows of indices `*_row_stride` apart. Valid
/// as long as the mask.
struct BlockTables {
  const std::int32_t* kv_num_blocks = nullptr;
  const std::int32_t* kv_indices = nullptr;
  const std::int32_t* full_kv_num_blocks = nullptr;
  const std::int32_t* full_kv_indices = nullptr;
  std::int64_t indices_row_stride = 0;  ///< elements between the lists of neighbouring q blocks
  std::int64_t full_indices_row_stride = 0;
  int batch = 1, heads = 1, q_blocks = 0, kv_blocks = 0;
  BlockSize block_size;
  Device device;
};
/// A run of like blocks in one row of blocks: kv blocks [first, last), full or partial.
struct BlockRun {
  std::int32_t first = 0;
  std::int32_t last = 0;
  bool full = false;
  bool operator==(const BlockRun&) const = default;
};
struct BlockMaskAccess {
  static BlockTables tables(const BlockMask& mask);
  /// The runs of one row, ascending; neighbouring runs differ in kind. Costs nothing, unlike tables().
  static std::span<const BlockRun> row_runs(const BlockMask& mask, int b, int h, int q_block);
  /// A device's copy of the tables, made by `make` the first time and kept with the mask; safe from many threads.
  static std::shared_ptr<void> device_copy(const BlockMask& mask, const std::function<std::shared_ptr<void>()>& make);
  /// The tables that a device built; null for a mask made on the host.
  static const cuda::DeviceMask* built_on_device(const BlockMask& mask);
};

}  // namespace attnc
