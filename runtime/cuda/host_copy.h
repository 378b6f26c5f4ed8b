// SPDX-License-Identifier: Apache-2.0
// Captured buffers for work that the host does about a device's mask.
#pragma once

#include <cstddef>
#include <vector>

#include "compiler/ir/interpret.h"
#include "runtime/tensor.h"

namespace attnc::cuda {

/// Points every buffer of `bindings` that lies in the memory of `device` at a copy on the host, and returns the copies,
/// which have to outlive the bindings' use. Buffers already in host memory stay. Enqueued on `stream`, and waited for.
/// Throws Error(no_device, out_of_memory, internal).
std::vector<std::vector<std::byte>> copy_buffers_to_host(ir::Bindings& bindings, Device device, void* stream);

}  // namespace attnc::cuda
