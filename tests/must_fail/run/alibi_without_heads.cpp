// SPDX-License-Identifier: Apache-2.0
// A count of heads is positive.
#include "compiler/ir/lower.h"
#include "dsl/stock.h"
#include "tests/must_fail/must_fail.h"

using namespace attnc;

MUST_FAIL(invalid_argument, "alibi_computed: heads is 0, below 1") { stock::alibi_computed(0); }
