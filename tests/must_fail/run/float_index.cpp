// SPDX-License-Identifier: Apache-2.0
// An index is an integer.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "index 0 of buffer 'doc' is f32; an index is an integer: use i32(...)") {
  buffer("doc", DType::i32)[input(Input::score)];
}
