// SPDX-License-Identifier: Apache-2.0
// The CUDA stages of `explain`: plan, signature, cuda, ptx, sass. None needs a GPU.
#pragma once

#include <string>
#include <string_view>

#include "runtime/backend.h"

namespace attnc::cuda {

/// Text of one stage for `target` ("sm_90a"). Throws Error(invalid_argument) for another stage or a target that is
/// none, Error(no_device) where a stage needs NVRTC and there is none, Error(unsupported) for "sass" without a
/// disassembler.
std::string explain(const VariantSpec& spec, std::string_view stage, std::string_view target);

}  // namespace attnc::cuda
