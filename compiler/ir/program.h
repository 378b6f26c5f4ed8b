// SPDX-License-Identifier: Apache-2.0
// The intermediate representation: one flat list of typed SSA values shared by score_mod and mask_mod.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dsl/expr.h"
#include "dsl/ops.h"

namespace attnc::ir {

using ValueId = std::int32_t;
inline constexpr ValueId no_value = -1;
inline constexpr int max_operands = 5;

/// One value. Operands are ids of earlier instructions; every operand already has the type the operation wants (the DSL
/// inserts casts), so backends convert nothing on their own.
struct Inst {
  Op op = Op::literal;
  Type type = Type::f32;
  std::uint8_t operand_count = 0;
  Input input = Input::score;  ///< op == input
  std::int16_t slot = 0;       ///< op == param: index into Program::params; op == load: into Program::buffers
  bool guarded = true;         ///< op == load: the index may lie outside the buffer and has to be checked
  std::array<ValueId, max_operands> operands{no_value, no_value, no_value, no_value, no_value};
  double real = 0;           ///< op == literal of type f32 (exactly representable as float)
  std::int64_t integer = 0;  ///< op == literal of another type

  bool operator==(const Inst&) const = default;
};

/// A mod pair, lowered. A plain value: copy it freely.
///
/// `score` (f32) is absent for the identity; `mask` (bool) is absent when every key is kept. After the kernel-form pass
/// `score` is in log2 units and reads `dot` and `scale` in place of `score`.
struct Program {
  std::vector<ParamDecl> params;
  std::vector<BufferDecl> buffers;
  std::vector<Inst> insts;
  ValueId score = no_value;
  ValueId mask = no_value;

  const Inst& operator[](ValueId id) const { return insts[static_cast<std::size_t>(id)]; }
  Inst& operator[](ValueId id) { return insts[static_cast<std::size_t>(id)]; }
  ValueId append(const Inst& inst) {
    insts.push_back(inst);
    return static_cast<ValueId>(insts.size()) - 1;
  }
};

/// Where a value is computed: the outermost level that knows all it depends on.
enum class Level : std::uint8_t {
  uniform,   ///< b, h, lengths, scale, parameters: once per (b, h)
  row,       ///< q_idx
  column,    ///< kv_idx
  diagonal,  ///< q_idx - kv_idx only
  element,   ///< the score, or q_idx together with kv_idx
};
std::string_view name(Level level);

}  // namespace attnc::ir
