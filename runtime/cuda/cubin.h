// SPDX-License-Identifier: Apache-2.0
// What a cubin's machine code says that neither the driver nor the compiler's report does.
#pragma once

#include <string_view>

namespace attnc::cuda {

/// How many instructions of `entry` write R1, which holds the stack pointer, in a cubin of sm_70 or newer: two in a
/// kernel with a stack (set, and moved by the frame's size). More mean that ptxas used it as any other register, and
/// that the kernel's local memory is not where it looks for it. -1 if the code is not found.
int count_stack_pointer_writes(std::string_view cubin, std::string_view entry);

}  // namespace attnc::cuda
