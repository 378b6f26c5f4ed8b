// SPDX-License-Identifier: Apache-2.0
// A mask is true or false. The error of a lambda names the file and line of its mask_mod().
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression,
          "a mask_mod gives true or false, but this one is f32: compare it with something\n(mask_mod traced at ...") {
  mask_mod([](Index, Index, Index q, Index kv) { return f32(q - kv); });
}
