// SPDX-License-Identifier: Apache-2.0
// The named score mods and masks that every backend must get right, with captured buffers to go with them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dsl/mods.h"
#include "tests/support/problem.h"

namespace attnc::testing {

struct ModCase {
  std::string name;
  ScoreMod score;
  MaskMod mask;
  /// Adds the buffers and parameters the mods capture, sized for the problem. May be empty.
  std::function<void(Problem&)> bind;
};

/// One case per row of the two tables, masks also in combination. Deterministic.
std::vector<ModCase> score_cases();
std::vector<ModCase> mask_cases();
/// Both, and some of each together.
std::vector<ModCase> all_cases();

}  // namespace attnc::testing
