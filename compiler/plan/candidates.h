// SPDX-License-Identifier: Apache-2.0
// The plans worth measuring for one problem: what `attnc tune` chooses from.
#pragma once

#include <vector>

#include "compiler/plan/tile_plan.h"

namespace attnc::plan {

/// The planner's own choice first, then others of the same kernel family, each valid for the problem and the target:
/// its shared memory fits, its tiles divide a table's blocks, its registers are of a split that the kernel can run.
/// All different. Whether one spills registers only its compilation tells. Throws as make_plan does.
std::vector<TilePlan> candidates(const Problem& problem, const Target& target);

}  // namespace attnc::plan
