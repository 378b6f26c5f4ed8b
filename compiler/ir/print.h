// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "compiler/ir/program.h"

namespace attnc::ir {

/// One line an instruction: `%3 = mul f32 %1, %2`. With `canonical`, users' names are left out (params and buffers are
/// p0, b0, ...), literals are exact, and equal programs print equal text: the form signatures are made of.
std::string print(const Program& program, bool canonical = false);

}  // namespace attnc::ir
