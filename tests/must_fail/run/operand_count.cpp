// SPDX-License-Identifier: Apache-2.0
// Operations take as many operands as ops.def says.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "tanh takes 1 operand, got 2") { apply(Op::tanh, {Expr(1.0f), Expr(2.0f)}); }
