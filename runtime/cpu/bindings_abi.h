// SPDX-License-Identifier: Apache-2.0
// Bindings as generated code reads them.
#pragma once

#include <vector>

#include "compiler/cpu/kernel_abi.h"
#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"

namespace attnc::cpu {

/// Built once per call; points into the bound buffers. Read-only afterwards, so shared by all threads of the call.
class BindingsAbi {
 public:
  BindingsAbi(const ir::Program& program, const ir::Bindings& bindings);
  const ParamAbi* params() const { return params_.data(); }
  const BufferAbi* buffers() const { return buffers_.data(); }

 private:
  std::vector<ParamAbi> params_;
  std::vector<BufferAbi> buffers_;
};

}  // namespace attnc::cpu
