// SPDX-License-Identifier: Apache-2.0
// The loaded kernels that build block masks of one mask_mod on one device.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "compiler/cuda/block_mask_source.h"
#include "runtime/attention.h"
#include "runtime/cuda/device.h"

namespace attnc::cuda {

/// A cubin in the driver, from the kernel cache or compiled. `log` is told of compiles ("compile") and cache trouble
/// ("cache"). A context of the device must be current. Throws Error.
class LoadedLibrary {
 public:
  LoadedLibrary(const std::string& signature, const std::string& source, const DeviceInfo& device,
                const std::string& cache_dir, const LogCallback& log);
  ~LoadedLibrary();
  LoadedLibrary(const LoadedLibrary&) = delete;
  LoadedLibrary& operator=(const LoadedLibrary&) = delete;
  /// Null unless `is_there`.
  CUfunction function(std::string_view name, bool is_there) const;

 private:
  CUlibrary library_ = nullptr;
};

// Both kinds below are immutable and belong to a device, not to a context. get() finds what this process has loaded
// before (the 64 used last of each kind are kept), so that a mask made anew for each batch neither looks at the disk
// nor loads anything. Thread-safe.

/// What does not depend on the mask. Functions of the other purpose are null.
class TableKernels {
 private:
  TableKernels(TablePurpose purpose, const DeviceInfo& device, const std::string& cache_dir, const LogCallback& log);
  LoadedLibrary library_;

 public:
  static std::shared_ptr<const TableKernels> get(TablePurpose purpose, const DeviceInfo& device,
                                                 const std::string& cache_dir, const LogCallback& log);
  /// Null if this process has not loaded them.
  static std::shared_ptr<const TableKernels> find(TablePurpose purpose, const DeviceInfo& device,
                                                  const std::string& cache_dir);
  const CUfunction extrema, small_lists, count, scan, fill;
};

/// What is printed for a mask. Functions of the other purposes are null.
class MaskKernels {
 public:
  static std::shared_ptr<const MaskKernels> get(const ir::Program& program, int granule, MaskPurpose purpose,
                                                const DeviceInfo& device, const std::string& cache_dir,
                                                const LogCallback& log);
  /// Null if this process has not loaded them.
  static std::shared_ptr<const MaskKernels> find(const ir::Program& program, int granule, MaskPurpose purpose,
                                                 const DeviceInfo& device, const std::string& cache_dir);
  const bool is_dear;  ///< is_dear_to_evaluate()
  const BlockMaskSource source;

 private:
  MaskKernels(const ir::Program& program, int granule, MaskPurpose purpose, const DeviceInfo& device,
              const std::string& cache_dir, const LogCallback& log);
  LoadedLibrary library_;

 public:
  const CUfunction small, classify, decide, bits;
};

}  // namespace attnc::cuda
