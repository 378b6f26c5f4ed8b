// SPDX-License-Identifier: Apache-2.0
// How one operation of ops.def is spelled in CUDA C++. The helpers it names are in templates/mods_prelude.cuh.
#pragma once

#include <string>
#include <vector>

#include "compiler/ir/program.h"

namespace attnc::cuda {

/// The C++ type of a value: bool, int32, int64 or float (templates/prelude.cuh).
std::string_view device_type(Type type);

/// An exact literal: floats in hexadecimal, infinities and NaNs by their bits.
std::string literal_text(const ir::Inst& literal);

struct OperationStyle {
  bool precise = false;               ///< no approximate transcendentals
  bool nonnegative_dividend = false;  ///< div, mod: the dividend is >= 0 and the divisor a positive literal
  int divisor_log2 = -1;              ///< div, mod: the divisor is 2 to this, if >= 0
};

/// The expression for `inst` over operands already spelled (each a name or a parenthesised expression) of types
/// `operand_types`. Not for leaves and loads.
std::string operation_text(const ir::Inst& inst, const std::vector<std::string>& operands,
                           const std::vector<Type>& operand_types, const OperationStyle& style);

/// Rough issue slots of one operation, in units of an FP32 multiply-add: what placement decisions weigh.
int operation_cost(const ir::Inst& inst, Type operand_type, const OperationStyle& style);

}  // namespace attnc::cuda
