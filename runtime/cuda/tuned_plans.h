// SPDX-License-Identifier: Apache-2.0
// Plans that measuring found better than the planner's own, remembered in the kernel cache.
//
// A record is an entry of the cache like any other: checked, bounded, owner-only, set aside when damaged. Its signature
// is the device and the signature of the kernel that the planner would have made, so that another toolchain, other
// templates, another planner or other mods never find it. Its payload is the printed plan, which counts only if it is
// among plan::candidates of this very build: nothing read from the disk becomes a plan.
#pragma once

#include <optional>
#include <string_view>

#include "compiler/cuda/kernel_source.h"
#include "runtime/cache/kernel_cache.h"

namespace attnc::cuda {

/// What a record is for.
struct TunedVariant {
  const ir::Program& program;  ///< as VariantSpec holds it
  const KernelRequest& request;
  std::string_view device_name;  ///< "NVIDIA H200"
  int multiprocessors = 0;
};

/// What `attnc tune` chooses from for this variant, the planner's own plan first.
std::vector<plan::TilePlan> candidates(const TunedVariant& variant);

/// The remembered plan; none without a record, or with one that is damaged or no candidate (any more).
/// `planned_signature`: make_signature of the request without a plan.
std::optional<plan::TilePlan> find_tuned_plan(const KernelCache& cache, const TunedVariant& variant,
                                              std::string_view planned_signature);

/// Remembers `plan` in the cache of `options`, in place of what was remembered before. Throws Error(io) if it cannot be
/// read back.
void remember_tuned_plan(const KernelCacheOptions& options, const TunedVariant& variant,
                         std::string_view planned_signature, const plan::TilePlan& plan);

}  // namespace attnc::cuda
