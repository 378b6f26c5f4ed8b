// SPDX-License-Identifier: Apache-2.0
// Kernel arguments from a validated call. Nothing here allocates.
#pragma once

#include <array>
#include <cstddef>

#include "compiler/cuda/params.h"
#include "runtime/backend.h"
#include "runtime/cuda/launch_arguments.h"

namespace attnc::cuda {

/// Room for Mods::Params: 64 buffers and 64 parameters at most (ModLimits), each view at most 112 bytes, and as many
/// tables of extrema again as a buffer has: two in each of five dimensions.
inline constexpr std::size_t max_params_bytes = 64 * 112 * 11 + 64 * 8 + 8;

struct alignas(8) ParamBytes {
  std::array<std::byte, max_params_bytes> bytes;
};

/// Everything but the block tables and what splitting needs.
ForwardArguments pack_arguments(const ForwardCall& call);
/// Fills the first layout.size_bytes bytes.
void pack_params(const ir::Bindings& bindings, const ParamLayout& layout, ParamBytes& out);

/// The largest of 16, 8, 4, 2 that divides the address of every row of q, k, v and out.
int row_alignment_bytes(const ForwardCall& call);

}  // namespace attnc::cuda
