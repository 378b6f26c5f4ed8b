// SPDX-License-Identifier: Apache-2.0
// Values are bound by name.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "a buffer needs a name") { buffer("", DType::f32); }
