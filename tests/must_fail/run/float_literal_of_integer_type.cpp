// SPDX-License-Identifier: Apache-2.0
// A literal has a value of its type.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "a literal of type i32 needs an integer value, got 1.5") { literal(1.5, Type::i32); }
