// SPDX-License-Identifier: Apache-2.0
// Random mods for differential tests: any operation of the table, well conditioned, so that a difference between two
// backends is a mistake and not rounding on the wrong side of a jump.
#pragma once

#include <cstdint>

#include "tests/support/mod_cases.h"

namespace attnc::testing {

/// The same seed gives the same mods and captures. The score stays within about +-8 natural units; comparisons, floors
/// and casts act on integers only.
ModCase random_mod(std::uint64_t seed);

}  // namespace attnc::testing
