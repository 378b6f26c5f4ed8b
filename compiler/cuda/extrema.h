// SPDX-License-Identifier: Apache-2.0
// Minima and maxima of captured buffers that a printed classifier reads (ClassifierProgram::Extrema).
#pragma once

#include <string>
#include <vector>

#include "compiler/bounds/bounds.h"
#include "compiler/cuda/params.h"
#include "compiler/ir/program.h"

namespace attnc::cuda {

/// What a classifier reads beside the program's own captures. `classified` is the program it was made from, `declared`
/// the one whose captures a call binds; they may number captures differently and name them alike.
std::vector<ExtremaTables> extrema_tables(const bounds::ClassifierProgram& classifier, const ir::Program& classified,
                                          const ir::Program& declared);

/// `declared` with the tables as further buffers, after its own, as `extrema_tables` numbers them.
ir::Program with_extrema(ir::Program declared, const bounds::ClassifierProgram& classifier);

/// The layout of Params with the tables in it.
ParamLayout layout_with_extrema(const ir::Program& declared, const bounds::ClassifierProgram& classifier,
                                const ir::Program& classified);

/// How device code spells the extent of a buffer as an i32: extents beyond i32 are of no use to an i32 index.
std::string extent_text(const std::string& buffer_text, int dimension);

}  // namespace attnc::cuda
