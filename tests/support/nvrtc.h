// SPDX-License-Identifier: Apache-2.0
// Whether this machine can compile CUDA. Tests that need it skip, visibly, where it cannot.
#pragma once

#include <string>

#include "dsl/error.h"
#include "runtime/cuda/nvrtc_api.h"

namespace attnc::testing {

/// False without NVRTC; `why` then says what was looked for.
inline bool has_nvrtc(std::string* why = nullptr) {
  try {
    cuda::nvrtc();
    return true;
  } catch (const Error& error) {
    if (why != nullptr) *why = error.what();
    return false;
  }
}

}  // namespace attnc::testing
