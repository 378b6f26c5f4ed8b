// SPDX-License-Identifier: Apache-2.0
// expect: no matching function for call to .*tanh
// std::tanh works on numbers; attnc::tanh (found by argument-dependent lookup) works on symbols.
#include <cmath>

#include "dsl/mods.h"

attnc::ScoreMod traced() {
  return attnc::score_mod(
      [](attnc::Score s, attnc::Index, attnc::Index, attnc::Index, attnc::Index) { return std::tanh(s); });
}
