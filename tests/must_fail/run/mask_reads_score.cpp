// SPDX-License-Identifier: Apache-2.0
// Whether a key is kept never depends on the score.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression,
          "a mask_mod must not read the score: whether a key is kept depends on b, h, q_idx, kv_idx") {
  MaskMod(input(Input::score) > 0);
}
