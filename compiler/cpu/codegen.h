// SPDX-License-Identifier: Apache-2.0
// Modules to object code and text, through LLVM's code generator for one target.
#pragma once

#include <llvm/IR/Module.h>

#include <string>

#include "compiler/cpu/plan.h"

namespace attnc::cpu {

/// Registers LLVM's code generator for this machine. Idempotent and thread-safe; called by the functions below.
void initialize_llvm();

/// Relocatable object code. Throws Error(internal) with LLVM's message. The module is consumed: its code is rewritten.
std::string compile_object(llvm::Module& module, const CpuTarget& target);
/// Assembly text.
std::string compile_assembly(llvm::Module& module, const CpuTarget& target);
/// The module as LLVM IR text.
std::string print_module(const llvm::Module& module);
/// "LLVM 19.1.7", part of signatures.
std::string llvm_version();

}  // namespace attnc::cpu
