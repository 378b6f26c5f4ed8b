// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "compiler/ir/program.h"

namespace attnc::ir {

/// Checks that operands precede their users, types fit the operations, slots exist and results have their types.
/// Throws Error(internal) with the printed program: a violation is a bug of attnc, never the user's.
void verify(const Program& program, std::string_view after_pass);

}  // namespace attnc::ir
