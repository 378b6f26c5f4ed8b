// SPDX-License-Identifier: Apache-2.0
// Bindings as generated code reads them.
#pragma once

#include <cstddef>
#include <vector>

#include "compiler/cpu/kernel_abi.h"
#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"

namespace attnc::cpu {

/// Where each parameter and buffer of one program stands in another that it was made from; they are matched by name.
struct BindingOrder {
  std::vector<std::size_t> params, buffers;
  /// Throws Error(internal) if `source` lacks a name.
  BindingOrder(const ir::Program& program, const ir::Program& source);
};

/// Built once per call; points into the bound buffers. Read-only afterwards, so shared by all threads of the call.
class BindingsAbi {
 public:
  /// `bindings` in the order of the program that `order` was made with as source.
  BindingsAbi(const ir::Program& program, const BindingOrder& order, const ir::Bindings& bindings);
  const ParamAbi* params() const { return params_.data(); }
  const BufferAbi* buffers() const { return buffers_.data(); }

 private:
  std::vector<ParamAbi> params_;
  std::vector<BufferAbi> buffers_;
};

}  // namespace attnc::cpu
