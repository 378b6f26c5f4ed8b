// SPDX-License-Identifier: Apache-2.0
#include "compiler/plan/target.h"

#include <charconv>

#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::plan {
namespace {

/// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": maximum shared memory per block.
int smem_limit_of(int arch) {
  switch (arch) {
    case 80:
      return 163 * 1024;
    case 87:
      return 163 * 1024;
    case 90:
      return 227 * 1024;
    case 100:
    case 101:
    case 103:
    case 110:
      return 227 * 1024;
    default:
      return 99 * 1024;  // 8.6, 8.9, 12.x, and the safe guess for what is not known yet
  }
}

Target make_target(int arch, bool arch_specific) {
  if (arch < 80) {
    throw Error(ErrorCode::unsupported,
                attnc::format("attnc: sm_{} is too old: GPUs of compute capability 8.0 and newer are supported", arch));
  }
  return {arch, arch_specific, smem_limit_of(arch)};
}

}  // namespace

std::string Target::name() const { return attnc::format("sm_{}{}", arch, arch_specific ? "a" : ""); }

Target target_from_name(std::string_view name) {
  std::string_view digits = name;
  if (digits.starts_with("sm_")) digits.remove_prefix(3);
  const bool arch_specific = digits.ends_with('a');
  if (arch_specific) digits.remove_suffix(1);
  int arch = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), arch);
  if (!name.starts_with("sm_") || error != std::errc() || end != digits.data() + digits.size() || arch < 20 ||
      arch > 999) {
    throw Error(
        ErrorCode::invalid_argument,
        attnc::format("attnc: target = \"{}\" is not a GPU architecture; examples: sm_80, sm_90a, sm_120a", name));
  }
  return make_target(arch, arch_specific);
}

Target target_for_device(int major, int minor) {
  const int arch = 10 * major + minor;
  // Only Hopper's kernel uses instructions of its own architecture; everything else runs portable code.
  return make_target(arch, arch == 90);
}

}  // namespace attnc::plan
