// SPDX-License-Identifier: Apache-2.0
// Element types in memory <-> values in registers.
#pragma once

#include "compiler/cpu/code_builder.h"
#include "compiler/cpu/plan.h"

namespace attnc::cpu {

/// The type an element has in memory.
llvm::Type* storage_type(CodeBuilder& c, DType dtype);
/// Stored bits (scalar or vector of storage_type) to the loaded type: f16, bf16 -> f32, i8, u8 -> i32, bool -> i1.
Value* from_storage(CodeBuilder& c, const CpuTarget& target, DType dtype, Value* stored);
/// f32 to f32, f16 or bf16, rounding half to even.
Value* to_storage(CodeBuilder& c, const CpuTarget& target, DType dtype, Value* value);

}  // namespace attnc::cpu
