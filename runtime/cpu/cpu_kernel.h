// SPDX-License-Identifier: Apache-2.0
// One attention variant as machine code for this CPU: compiled, or taken from the cache.
#pragma once

#include <memory>
#include <string>

#include "compiler/cpu/emit.h"
#include "compiler/cpu/kernel_abi.h"
#include "compiler/cpu/plan.h"
#include "runtime/backend.h"
#include "runtime/cache/kernel_cache.h"
#include "runtime/cpu/loaded_object.h"

namespace attnc::cpu {

/// What will be compiled, as values; nothing is compiled yet.
struct CpuRecipe {
  ir::Program kernel_program;  ///< in kernel form, where the plan wants log2 scores
  CpuTarget target;
  CpuPlan plan;
  SlotCounts slots;

  static CpuRecipe make(const VariantSpec& spec, const CpuTarget& target);
  /// Canonical text of everything that changes the machine code.
  std::string signature() const;
  /// Runs the compiler: object code, and the LLVM IR it came from.
  BuiltKernel build() const;
  std::string llvm_text() const;
  std::string assembly_text() const;
};

/// Ready to run. Immutable and thread-safe.
struct CpuKernel {
  std::shared_ptr<const LoadedObject> object;
  BeginFunction* begin = nullptr;
  TileFunction* tile = nullptr;
  FinishFunction* finish = nullptr;

  /// Through the cache. Cached bytes that do not link are compiled anew. `log` (may be empty) hears of a compilation.
  static CpuKernel get(const CpuRecipe& recipe, KernelCache& cache, const LogCallback& log);
};

}  // namespace attnc::cpu
