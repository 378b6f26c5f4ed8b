// SPDX-License-Identifier: Apache-2.0
// What code is compiled for.
#pragma once

#include <string>
#include <string_view>

namespace attnc::plan {

/// A GPU architecture as NVRTC names it, and what plans need to know of it.
struct Target {
  int arch = 80;                     ///< 10 * major + minor of the compute capability
  bool arch_specific = false;        ///< the "a" of sm_90a: instructions that no other architecture has
  int smem_limit_bytes = 99 * 1024;  ///< dynamic shared memory a block may ask for

  std::string name() const;  ///< "sm_90a"
};

/// From a name such as "sm_86" or "sm_90a". Throws Error(invalid_argument) for what is no architecture, and
/// Error(unsupported) for one older than sm_80.
Target target_from_name(std::string_view name);
/// The best target for a device of this compute capability. Throws Error(unsupported) below 8.0.
Target target_for_device(int major, int minor);

}  // namespace attnc::plan
