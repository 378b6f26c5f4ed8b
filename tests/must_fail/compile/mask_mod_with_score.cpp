// SPDX-License-Identifier: Apache-2.0
// expect: no matching function for call to .*mask_mod
// A mask_mod takes (b, h, q_idx, kv_idx): whether a key is kept never depends on the score.
#include "dsl/mods.h"

attnc::MaskMod traced() {
  return attnc::mask_mod([](attnc::Score s, attnc::Index, attnc::Index, attnc::Index, attnc::Index) { return s > 0; });
}
