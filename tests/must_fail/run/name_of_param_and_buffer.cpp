// SPDX-License-Identifier: Apache-2.0
// Parameters and buffers share one space of names.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "'a' names both a parameter and a buffer") {
  const Buffer a = buffer("a", DType::f32);
  ir::lower(score_mod([=](Score s, Index, Index, Index q, Index) { return s * param("a", 1.0f) + a[q]; }), {});
}
