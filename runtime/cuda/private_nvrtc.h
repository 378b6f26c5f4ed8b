// SPDX-License-Identifier: Apache-2.0
// An NVRTC that nobody else in the process compiles with.
#pragma once

#include "runtime/cuda/nvrtc_api.h"

namespace attnc::cuda {

/// What kernels are compiled with; of the version of nvrtc(), made at the first call. What others compile with an NVRTC
/// changes what it makes of our kernels afterwards: since cuDNN compiled its attention with the same 13.0 or 13.5,
/// those for head dimension 64 spilled and took up to twice the time. So, in this order:
///   1. the file named by ATTNC_NVRTC;
///   2. libnvrtc.alt.so.* beside nvrtc(), a second build that CUDA 12.8 to 13.0 ship and nobody asks for by default;
///   3. where others had loaded nvrtc() before us, a copy of its file (110 to 140 MB) without a name, in /var/tmp or
///      /tmp, gone with the process at the latest;
///   4. nvrtc() itself: also where no copy could be made.
/// Throws as nvrtc(). Thread-safe.
const NvrtcApi& private_nvrtc();

/// Step 3, which tests call directly: loads a copy of the NVRTC in `shared`; nothing where that is not possible.
std::optional<NvrtcApi> load_copy(const NvrtcApi& shared);

}  // namespace attnc::cuda
