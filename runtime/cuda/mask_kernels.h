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
  CUfunction function(std::string_view name) const;

 private:
  CUlibrary library_ = nullptr;
};

// Both kinds below are immutable and belong to a device, not to a context. get() finds what this process has loaded
// before (the 64 used last of each kind are kept), so that a mask made anew for each batch neither looks at the disk
// nor loads anything. Thread-safe.

/// What does not depend on the mask.
class TableKernels {
 private:
  TableKernels(const DeviceInfo& device, const std::string& cache_dir, const LogCallback& log);
  LoadedLibrary library_;

 public:
  static std::shared_ptr<const TableKernels> get(const DeviceInfo& device, const std::string& cache_dir,
                                                 const LogCallback& log);
  /// Null if this process has not loaded them.
  static std::shared_ptr<const TableKernels> find(const DeviceInfo& device, const std::string& cache_dir);
  const CUfunction extrema, count, scan, fill;
};

/// What is printed for a mask.
class MaskKernels {
 public:
  static std::shared_ptr<const MaskKernels> get(const ir::Program& program, int granule, const DeviceInfo& device,
                                                const std::string& cache_dir, const LogCallback& log);
  const BlockMaskSource source;

 private:
  MaskKernels(const ir::Program& program, int granule, const DeviceInfo& device, const std::string& cache_dir,
              const LogCallback& log);
  LoadedLibrary library_;

 public:
  const CUfunction classify, decide;
};

}  // namespace attnc::cuda
