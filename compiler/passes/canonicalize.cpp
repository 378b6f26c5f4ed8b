// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir/verify.h"
#include "compiler/passes/passes.h"

namespace attnc::passes {

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
    if (current.insts.size() >= before && current.insts == previous.insts) return current;
  }
}

}  // namespace attnc::passes
