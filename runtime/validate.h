// SPDX-License-Identifier: Apache-2.0
// Everything that can be wrong with a call, refused before any work. Internal: not installed.
#pragma once

#include "runtime/attention.h"
#include "runtime/backend.h"

namespace attnc {

/// Throws Error(unsupported or invalid_argument) for a dtype or head dimension that no backend takes.
void validate_options(const AttentionOptions& options);

/// Checks a call against semantics.md's list and brings it into the form the backends take. `declared` is the program
/// as the user wrote it: a name that only simplification removed is still a known name. Throws Error(invalid_argument)
/// naming the argument, its value and the rule.
ForwardCall validate_forward(const VariantSpec& spec, const ir::Program& declared, const TensorView& q,
                             const TensorView& k, const TensorView& v, const TensorView& out,
                             const ForwardOptions& options);

/// Values for a program's captures, by name. `what` starts the messages ("forward", "BlockMask::create").
/// Throws Error(invalid_argument) for a missing, unknown or ill-typed value.
ir::Bindings bind_captures(const ir::Program& program, const ir::Program& declared, std::span<const ParamValue> params,
                           std::span<const BufferValue> buffers, std::string_view what);

}  // namespace attnc
