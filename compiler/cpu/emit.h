// SPDX-License-Identifier: Apache-2.0
// Programs to LLVM modules. The functions they define, and what those expect, are in kernel_abi.h.
#pragma once

#include <llvm/IR/Module.h>

#include <memory>

#include "compiler/cpu/plan.h"
#include "compiler/ir/program.h"

namespace attnc::cpu {

/// How much room the mods' values take in a thread's scratch; part of what a caller of the kernel must know.
struct SlotCounts {
  int uniform = 0;
  int row = 0;
  int column = 0;
};
SlotCounts slot_counts(const ir::Program& program);

/// One fused attention: attnc_begin, attnc_tile, attnc_finish. `program`: in kernel form, its
/// score in natural units.
/// Algorithm: online softmax (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022) over kv tiles.
std::unique_ptr<llvm::Module> emit_attention(llvm::LLVMContext& context, const ir::Program& program,
                                             const CpuTarget& target, const CpuPlan& plan);

/// The exact evaluation of a mask over a block: attnc_mask. `program` has a mask; its score is ignored.
std::unique_ptr<llvm::Module> emit_mask(llvm::LLVMContext& context, const ir::Program& program,
                                        const CpuTarget& target);

}  // namespace attnc::cpu
