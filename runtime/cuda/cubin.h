// SPDX-License-Identifier: Apache-2.0
// What a cubin's machine code says that neither the driver nor the compiler's report does.
#pragma once

#include <string_view>

namespace attnc::cuda {

/// How many instructions of `entry` have R1, which holds the stack pointer, for their result, in a cubin of sm_70 or
/// newer: two in a kernel with a stack (set, and moved by the frame's size). More mean that ptxas used it as any other
/// register, and that the kernel's local memory is not where it looks for it. Not counted are results of 64 bits and
/// more that begin in R0 (kernels that lost their stack had 24 to 131 writes without those); uniform registers of that
/// number may be. -1 if the code is not found.
int count_stack_pointer_writes(std::string_view cubin, std::string_view entry);

}  // namespace attnc::cuda
