// SPDX-License-Identifier: Apache-2.0
// The device code of templates/, as text.
#pragma once

#include <span>
#include <string_view>

namespace attnc::cuda {

struct EmbeddedTemplate {
  std::string_view name;  ///< relative to templates/, as its includes spell it: "sm80/mma.cuh"
  std::string_view text;  ///< ends in a NUL that is not counted
};

/// All of them, sorted by name. Defined by a file that the build generates.
std::span<const EmbeddedTemplate> embedded_templates();

}  // namespace attnc::cuda
