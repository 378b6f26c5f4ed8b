// SPDX-License-Identifier: Apache-2.0
// The passes, each a free function from program to program, and the one list that orders them.
#pragma once

#include <vector>

#include "compiler/ir/program.h"

namespace attnc::passes {

/// Evaluates operations on literals and applies exact identities (x*1, x+0 on integers, select of a literal, !!x, ...).
/// Float identities are applied only where they hold for every input, NaN, infinities and -0 included.
ir::Program fold(const ir::Program& program);

/// Gives equal computations one value; operands of commutative operations are ordered first.
ir::Program cse(const ir::Program& program);

/// Drops values that neither result needs, and renumbers params and buffers still in use in order of first use.
ir::Program dce(const ir::Program& program);

/// What a kernel's scores are: natural, or times log2(e) so that the exponential is a bare exp2. The factor costs each
/// score one more rounding, which f32 on a CPU shows and 16-bit inputs do not.
enum class ScoreUnits { natural, log2 };

/// Rewrites the score into what the kernels compute: reads `dot` (unscaled) and `scale`, returns `units`, and gathers
/// factors that are uniform into one, so that 30 * tanh(s / 30) costs one multiplication before and one after tanh.
/// Float reassociation happens here and nowhere else, and only with values of uniform level and literals.
ir::Program kernel_form(const ir::Program& program, ScoreUnits units = ScoreUnits::log2);

/// The level of every value (compiler/ir/program.h, Level), by index.
std::vector<ir::Level> placement(const ir::Program& program);

/// fold, cse, dce to a fixed point: what every consumer starts from (interpreter, bounds, signature, backends).
ir::Program canonicalize(const ir::Program& program);

}  // namespace attnc::passes
