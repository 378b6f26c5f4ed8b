// SPDX-License-Identifier: Apache-2.0
// expect: it compiles
// A mod as it should be: shows that the others fail for their own reason.
#include "dsl/mods.h"

attnc::MaskMod causal() {
  return attnc::mask_mod([](attnc::Index, attnc::Index, attnc::Index q, attnc::Index kv) { return q >= kv; });
}
