// SPDX-License-Identifier: Apache-2.0
// One index a dimension.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "buffer 'bias' has rank 2 but is indexed with 1 index") {
  buffer("bias", DType::f32, 2)[input(Input::h)];
}
