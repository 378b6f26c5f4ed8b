// SPDX-License-Identifier: Apache-2.0
// Bits are for integers.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "'&' works on integers, but an operand is f32: use i32(...)") { input(Input::score) & 1; }
