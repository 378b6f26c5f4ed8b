// SPDX-License-Identifier: Apache-2.0
// The kernels of one variant on one device: found without a lock once loaded, else from the cache, else compiled.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "compiler/cuda/kernel_source.h"
#include "dsl/once.h"
#include "runtime/backend.h"
#include "runtime/cache/kernel_cache.h"
#include "runtime/cuda/loaded_kernel.h"
#include "runtime/cuda/mask_kernels.h"
#include "runtime/cuda/stream_scratch.h"
#include "runtime/cuda/tile_counters.h"

namespace attnc::cuda {

/// What of a call decides which kernel runs it. Few values each, so that few kernels are ever compiled.
struct KernelChoice {
  bool block_table = false;
  int kv_block = 128;       ///< 16, 32, 64 or 128: the power of two in the table's block; 128 without a table
  bool aligned = true;      ///< rows start at multiples of 16 bytes
  bool tensor_maps = true;  ///< the Hopper kernel may be used; elsewhere it makes no difference and stays true
  bool bit_mask = false;    ///< the table comes with the elements of partial blocks as bits
  bool packs_groups =
      false;  ///< few queries: those of a kv head's query heads share tiles; no table, tensor_maps is true

  std::size_t index() const;
  static constexpr std::size_t count = 128;
};

class KernelStore {
 public:
  KernelStore(const VariantSpec& spec, const DeviceInfo& device);

  /// The kernel if it is loaded. Takes no lock, allocates nothing.
  const LoadedKernel* find(const KernelChoice& choice) const {
    return slots_[choice.index()].loaded.load(std::memory_order_acquire);
  }
  /// The kernel, compiled or read from the cache if need be. A context of the device must be current. Throws Error.
  const LoadedKernel& get(const KernelChoice& choice);
  /// Counters for kernels that schedule dynamically; null until one has been made.
  TileCounters* counters() const { return counters_ready_.load(std::memory_order_acquire); }
  /// The kernel that fills the extrema of a layout that has some, there once a kernel of such a layout has been made.
  CUfunction extrema_kernel() const { return tables_->extrema; }
  StreamScratch& scratch() { return scratch_; }

 private:
  std::unique_ptr<LoadedKernel> make(const KernelChoice& choice);
  std::unique_ptr<LoadedKernel> build_and_load(KernelRequest request, bool may_be_tuned);
  BuiltKernel build(const KernelSource& source, const plan::Target& target) const;
  KernelCache& cache();

  /// One kernel. `loaded` is set once, under `making`, and never changes after.
  struct Slot {
    std::atomic<const LoadedKernel*> loaded{nullptr};
    std::mutex making;  // never taken by find(); different kernels are made side by side
    std::unique_ptr<LoadedKernel> owned;
  };

  const VariantSpec& spec_;
  const DeviceInfo& device_;
  std::array<Slot, KernelChoice::count> slots_;
  Once counters_once_;
  std::optional<TileCounters> counters_;
  std::atomic<TileCounters*> counters_ready_{nullptr};
  Once tables_once_;
  std::shared_ptr<const TableKernels> tables_;  // set before any kernel that needs it can be found
  StreamScratch scratch_;
  Once cache_once_;
  std::optional<KernelCache> cache_;
};

/// Passes a message to the variant's log, and to stderr if ATTNC_LOG names the category.
void log(const VariantSpec& spec, std::string_view category, const std::string& message);

/// The request a choice stands for, on any target. Used by explain too.
KernelRequest make_request(const VariantSpec& spec, const KernelChoice& choice, const plan::Target& target);

}  // namespace attnc::cuda
