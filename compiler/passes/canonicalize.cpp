// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "compiler/ir/verify.h"
#include "compiler/passes/passes.h"

namespace attnc::passes {
namespace {

/// Equality that a NaN literal does not break: with it the loop below would never end.
bool unchanged(const std::vector<ir::Inst>& a, const std::vector<ir::Inst>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](ir::Inst x, ir::Inst y) {
    if (std::isnan(x.real) && std::isnan(y.real)) x.real = y.real = 0;
    return x == y;
  });
}

}  // namespace

ir::Program canonicalize(const ir::Program& program) {
  struct Step {
    std::string_view name;
    ir::Program (*run)(const ir::Program&);
  };
  static constexpr Step steps[] = {
      {"fold", fold},  // first: makes equal what differs only by constants
      {"cse", cse},    // then: equal computations become one value, which may let fold see x == x
      {"dce", dce},    // last: drops what the others left unused, and numbers captures by first use
  };
  ir::verify(program, "lowering");
  ir::Program current = program;
  // Each round either shrinks the program or ends the loop, so it ends.
  for (;;) {
    const std::size_t before = current.insts.size();
    ir::Program previous = current;
    for (const Step& step : steps) {
      current = step.run(current);
      ir::verify(current, step.name);
    }
    if (current.insts.size() >= before && unchanged(current.insts, previous.insts)) return current;
  }
}

}  // namespace attnc::passes
