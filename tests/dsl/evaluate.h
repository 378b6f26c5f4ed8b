// SPDX-License-Identifier: Apache-2.0
// One value of a mod at one place, by the interpreter.
#pragma once

#include <cstdint>

#include "compiler/ir/interpret.h"
#include "compiler/ir/lower.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"
#include "dsl/mods.h"

namespace attnc::testing {

/// Where a mod is asked.
struct Place {
  double score = 0;
  std::int32_t b = 0, h = 0, q_idx = 0, kv_idx = 0, q_len = 1, kv_len = 1;
};

struct Answer {
  double score = 0;
  bool mask = true;
};

inline Answer evaluate(const ir::Program& program, const ir::Bindings& bindings, const Place& place) {
  ir::LaneContext context;
  context.b = place.b;
  context.h = place.h;
  context.q_len = place.q_len;
  context.kv_len = place.kv_len;
  Answer answer;
  std::uint8_t mask = 1;
  ir::Interpreter(program, bindings)
      .run(context, 1, &place.q_idx, &place.kv_idx, &place.score,
           program.score != ir::no_value ? &answer.score : nullptr, program.mask != ir::no_value ? &mask : nullptr);
  answer.mask = mask != 0;
  return answer;
}

inline double evaluate(const ScoreMod& mod, const Place& place, std::vector<ir::BoundBuffer> buffers = {}) {
  const ir::Program program = ir::lower(mod, {});
  ir::Bindings bindings = ir::Bindings::defaults(program);
  bindings.buffers = std::move(buffers);
  return evaluate(program, bindings, place).score;
}

inline bool evaluate(const MaskMod& mod, const Place& place, std::vector<ir::BoundBuffer> buffers = {}) {
  const ir::Program program = ir::lower({}, mod);
  ir::Bindings bindings = ir::Bindings::defaults(program);
  bindings.buffers = std::move(buffers);
  return evaluate(program, bindings, place).mask;
}

/// The text a signature is made of.
inline std::string canonical(const ScoreMod& score_mod, const MaskMod& mask_mod = {}) {
  return ir::print(passes::canonicalize(ir::lower(score_mod, mask_mod)), true);
}
inline std::string canonical(const MaskMod& mask_mod) { return canonical({}, mask_mod); }

}  // namespace attnc::testing
