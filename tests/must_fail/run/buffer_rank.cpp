// SPDX-License-Identifier: Apache-2.0
// Buffers have rank 0 to 5.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "buffer 'deep' has rank 6; a captured buffer has rank 0 to 5") {
  buffer("deep", DType::f32, 6);
}
