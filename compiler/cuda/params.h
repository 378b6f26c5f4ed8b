// SPDX-License-Identifier: Apache-2.0
// The Params struct of generated mods: its text for the device, its layout for the host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/ir/program.h"

namespace attnc::cuda {

/// Where the host writes each parameter and buffer. Offsets in bytes from the start of Params, which is 8-byte aligned.
/// A view is: pointer, strides in elements (i64 x rank), extents (i64 x rank), extents capped at 2^31 (u32 x rank).
struct ParamLayout {
  struct Scalar {
    Type type;  ///< boolean is written as one i32 word, 0 or 1
    std::int32_t offset_bytes;
  };
  struct View {
    DType dtype;
    int rank;
    std::int32_t offset_bytes;
  };
  std::vector<Scalar> params;   ///< in the program's order
  std::vector<View> buffers;    ///< likewise
  std::int32_t size_bytes = 8;  ///< a multiple of 8, never 0
};

ParamLayout param_layout(const ir::Program& program);

/// Identifiers of the fields, in the program's order: the user's names made safe and unique, or p0, b0 if canonical.
std::vector<std::string> param_names(const ir::Program& program, bool canonical);
std::vector<std::string> buffer_names(const ir::Program& program, bool canonical);

/// The struct itself, indented by two, with static_asserts of its layout left to print_layout_checks.
std::string print_params(const ir::Program& program, bool canonical);
/// static_asserts that the device agrees with param_layout, for after the struct `mods` is complete.
std::string print_layout_checks(const ir::Program& program, std::string_view mods);

}  // namespace attnc::cuda
