// SPDX-License-Identifier: Apache-2.0
// expect: (use of deleted function|attempt to use a deleted function)
// A loop runs while tracing, so a symbol cannot bound it.
#include "dsl/mods.h"

attnc::MaskMod traced() {
  return attnc::mask_mod([](attnc::Index, attnc::Index, attnc::Index q, attnc::Index kv) {
    attnc::Expr sum = kv;
    while (sum < q) sum = sum + 1;
    return sum == q;
  });
}
