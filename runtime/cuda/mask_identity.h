// SPDX-License-Identifier: Apache-2.0
// Whether two programs ask the same question of each element: the elements of a block mask, kept as bits, stand for a
// variant's mask_mod only if they do.
#pragma once

#include <string>
#include <vector>

#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"

namespace attnc::cuda {

/// The mask of a canonical program by itself, numbered by what it reads: equal for equal masks, whatever score_mod
/// stands beside them. Where canonical forms differ, two equal masks may be told apart, never the other way round.
class MaskIdentity {
 public:
  /// Of nothing: the same as no mask.
  MaskIdentity() = default;
  explicit MaskIdentity(const ir::Program& program);

  /// Whether the masks are the same and their captures are bound to the same values and memory, each to the bindings of
  /// its own program.
  bool same(const ir::Bindings& bindings, const MaskIdentity& other, const ir::Bindings& other_bindings) const;

 private:
  std::vector<ir::Inst> insts_;  // slots count names below
  std::vector<ParamDecl> params_;
  std::vector<BufferDecl> buffers_;
  std::vector<std::size_t> param_slots_, buffer_slots_;  // of the program
};

}  // namespace attnc::cuda
