// SPDX-License-Identifier: Apache-2.0
// expect: no matching (function|conversion)
// A mod gives a value, not text.
#include <string>

#include "dsl/mods.h"

attnc::MaskMod traced() {
  return attnc::mask_mod([](attnc::Index, attnc::Index, attnc::Index, attnc::Index) { return std::string("true"); });
}
