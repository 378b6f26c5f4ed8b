// SPDX-License-Identifier: Apache-2.0
// The operations of a mod, from the one table in ops.def.
#pragma once

#include <cstdint>
#include <string_view>

#include "export.h"
#include "types.h"

namespace attnc {

enum class Op : std::uint8_t {
#define ATTNC_OP(name, arity, typing, text) name,
#include "ops.def"
#undef ATTNC_OP
};

inline constexpr int op_count = 0
#define ATTNC_OP(name, arity, typing, text) +1
#include "ops.def"
#undef ATTNC_OP
    ;

/// How the operands of an operation are converted, and what results.
enum class Typing : std::uint8_t {
  leaf,     ///< no operands; the node says its type
  load,     ///< integer operands (i32 or i64), one per dimension; results in the buffer's loaded_type
  numeric,  ///< bool -> i32; then both to the wider of i32 < i64 < f32, which results
  integer,  ///< as numeric, but f32 is refused
  real,     ///< all to f32, which results
  compare,  ///< as numeric, but bool results; two booleans may be compared for (in)equality as they are
  logical,  ///< all to bool (x != 0), which results
  select,   ///< bool, then two as numeric (or both bool); the latter results
  cast,     ///< the node says its type
};

struct OpInfo {
  std::string_view mnemonic;
  int arity;  ///< -1: as many as the node has
  Typing typing;
  std::string_view text;
};

ATTNC_API const OpInfo& info(Op op);

/// Coordinates and lengths a mod may read. `score` is the scaled score in natural units (f32), the rest are i32.
/// `dot` and `scale` exist only after the kernel-form pass: score == dot * scale.
enum class Input : std::uint8_t { score, b, h, q_idx, kv_idx, q_len, kv_len, dot, scale };
inline constexpr int input_count = 9;

ATTNC_API std::string_view name(Input input);
constexpr Type type_of(Input input) {
  return input == Input::score || input == Input::dot || input == Input::scale ? Type::f32 : Type::i32;
}

}  // namespace attnc
