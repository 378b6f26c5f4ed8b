// SPDX-License-Identifier: Apache-2.0
#include "ops.h"

#include <array>

namespace attnc {

const OpInfo& info(Op op) {
  static constexpr std::array<OpInfo, op_count> table = {{
#define ATTNC_OP(name, arity, typing, text) OpInfo{#name, arity, Typing::typing, text},
#include "ops.def"
#undef ATTNC_OP
  }};
  return table[static_cast<std::size_t>(op)];
}

std::string_view name(Input input) {
  switch (input) {
    case Input::score:
      return "score";
    case Input::b:
      return "b";
    case Input::h:
      return "h";
    case Input::q_idx:
      return "q_idx";
    case Input::kv_idx:
      return "kv_idx";
    case Input::q_len:
      return "q_len";
    case Input::kv_len:
      return "kv_len";
    case Input::dot:
      return "dot";
    case Input::scale:
      return "scale";
  }
  return "?";
}

}  // namespace attnc
