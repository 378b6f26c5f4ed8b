// SPDX-License-Identifier: Apache-2.0
// One name, one type.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "parameter 'a' is declared twice, as f32 and as i32") {
  ir::lower(score_mod([](Score s, Index, Index, Index, Index) { return s * param("a", 1.0f) + param("a", 1); }), {});
}
