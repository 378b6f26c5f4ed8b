// SPDX-License-Identifier: Apache-2.0
// A cubin in the driver, ready to launch.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "compiler/cuda/params.h"
#include "compiler/plan/tile_plan.h"
#include "runtime/cuda/device.h"

namespace attnc::cuda {

/// Immutable. Belongs to a device, not to a context: the driver loads it into each context that launches it (the one
/// that is current when it is made, at once).
class LoadedKernel {
 public:
  /// Null if the driver does not accept the binary (damaged, or built for something else); throws Error for other
  /// failures. A context of the device must be current.
  static std::unique_ptr<LoadedKernel> load(std::string_view cubin, const plan::TilePlan& plan,
                                            const ParamLayout& layout, const DeviceInfo& device,
                                            std::string* why_refused);
  ~LoadedKernel();
  LoadedKernel(const LoadedKernel&) = delete;
  LoadedKernel& operator=(const LoadedKernel&) = delete;

  const plan::TilePlan& plan() const { return plan_; }
  const ParamLayout& layout() const { return layout_; }
  CUfunction forward() const { return forward_; }
  /// Stack of a thread of forward(): arrays and spilled registers.
  int local_bytes() const { return local_bytes_; }
  /// Whether forward() has a stack and overwrites the pointer to it (cubin.h): it must not run.
  bool loses_stack() const { return loses_stack_; }
  CUfunction combine() const { return combine_; }  ///< null where the family has none

 private:
  LoadedKernel() = default;
  plan::TilePlan plan_;
  ParamLayout layout_;
  CUlibrary library_ = nullptr;
  CUfunction forward_ = nullptr;
  int local_bytes_ = 0;
  bool loses_stack_ = false;
  CUfunction combine_ = nullptr;
};

}  // namespace attnc::cuda
