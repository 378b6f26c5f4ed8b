// SPDX-License-Identifier: Apache-2.0
// One name, one dtype and rank; score_mod and mask_mod share their captures.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_expression, "buffer 'doc' is declared twice, as f32 of rank 1 and as i32 of rank 1") {
  const Buffer doc = buffer("doc", DType::f32);
  ir::lower(score_mod([=](Score s, Index, Index, Index q, Index) { return s + doc[q]; }), stock::document());
}
