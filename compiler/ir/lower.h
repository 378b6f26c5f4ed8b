// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "compiler/ir/program.h"
#include "dsl/mods.h"

namespace attnc::ir {

/// Linearises both mods into one program. Parameters and buffers are numbered in order of first use, and shared by
/// name: two declarations of one name must agree in type, dtype and rank. Iterative; a mod over ModLimits::max_nodes or
/// max_captures is refused. Throws Error(invalid_expression).
Program lower(const ScoreMod& score_mod, const MaskMod& mask_mod);

}  // namespace attnc::ir
