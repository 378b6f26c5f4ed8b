// SPDX-License-Identifier: Apache-2.0
// expect: no matching (function|constructor)
// An Expr is never empty: it is made from a number, a coordinate or other expressions.
#include "dsl/expr.h"

attnc::Expr nothing() {
  attnc::Expr result;
  return result;
}
