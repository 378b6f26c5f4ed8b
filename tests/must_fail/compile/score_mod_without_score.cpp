// SPDX-License-Identifier: Apache-2.0
// expect: no matching function for call to .*score_mod
// A score_mod takes (score, b, h, q_idx, kv_idx).
#include "dsl/mods.h"

attnc::ScoreMod traced() {
  return attnc::score_mod([](attnc::Index, attnc::Index, attnc::Index q, attnc::Index kv) { return q - kv; });
}
