// SPDX-License-Identifier: Apache-2.0
// expect: (use of deleted function|attempt to use a deleted function)
// A mod is traced once, with symbols: there is no truth value to branch on. where(q >= kv, s, 0.0f) is the way.
#include "dsl/mods.h"

attnc::ScoreMod traced() {
  return attnc::score_mod([](attnc::Score s, attnc::Index, attnc::Index, attnc::Index q, attnc::Index kv) {
    if (q >= kv) return s;
    return attnc::Expr(0.0f);
  });
}
