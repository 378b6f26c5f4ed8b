// SPDX-License-Identifier: Apache-2.0
// The Params struct of generated mods: its text for the device, its layout for the host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/ir/program.h"

namespace attnc::cuda {

/// The tables of minima and maxima of one captured buffer along one dimension, for a classifier
/// (ClassifierProgram::Extrema). The slots say which of ParamLayout::buffers a table is bound as; -1 where only the
/// other of the two is read.
struct ExtremaTables {
  int source_slot = 0;
  int dimension = 0;
  int minimum_slot = -1;
  int maximum_slot = -1;
};

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
  std::vector<Scalar> params;          ///< in the program's order
  std::vector<View> buffers;           ///< likewise, then the tables of extrema
  std::vector<ExtremaTables> extrema;  ///< to be filled and bound before each launch
  int extrema_granule = 64;            ///< elements per run
  std::int32_t size_bytes = 8;         ///< a multiple of 8, never 0
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
