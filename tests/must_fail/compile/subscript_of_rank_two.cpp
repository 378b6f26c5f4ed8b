// SPDX-License-Identifier: Apache-2.0
// expect: (no match for .*operator|type .* does not provide a subscript)
// Several indices are written bias(h, q): C++20 has one index between brackets.
#include "dsl/mods.h"

attnc::Expr load(const attnc::Buffer& bias, attnc::Index h, attnc::Index q) { return bias[h][q]; }
