// SPDX-License-Identifier: Apache-2.0
// expect: (use of deleted function|attempt to use a deleted function)
// ?: needs a truth value, as if does; where() is its symbolic form.
#include "dsl/mods.h"

attnc::ScoreMod traced() {
  return attnc::score_mod([](attnc::Score s, attnc::Index, attnc::Index, attnc::Index q, attnc::Index kv) {
    return q >= kv ? s : attnc::Expr(0.0f);
  });
}
