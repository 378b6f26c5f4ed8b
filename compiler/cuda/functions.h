// SPDX-License-Identifier: Apache-2.0
// Prints the functions of the contract: which values each computes, and how it spells those that it is handed.
#pragma once

#include <string>
#include <vector>

#include "compiler/cuda/device_program.h"

namespace attnc::cuda {

/// One level struct of the contract (Uniform, Row, Column, Diagonal): the values that finer levels ask it for.
struct LevelFields {
  std::vector<int> values;
  int words = 0;  ///< 4-byte words in use
};

/// The fields of `level`: values computed there and used elsewhere, or asked for as results.
LevelFields level_fields(const DeviceProgram& program, ir::Level level);

/// `struct Row { ... };`, indented by two.
std::string print_level_struct(const DeviceProgram& program, ir::Level level, const LevelFields& fields);
/// The function that computes the struct: `static Row row(...) { ... }`.
std::string print_level_function(const DeviceProgram& program, ir::Level level, const LevelFields& fields,
                                 const PrintOptions& options);
/// A function at element level that returns value `result`, e.g. score or keep.
std::string print_element_function(const DeviceProgram& program, int result, std::string_view signature,
                                   const PrintOptions& options);
/// row_band: both results are fields of Row or Uniform, or literals.
std::string print_row_band(const DeviceProgram& program, int lo, int hi);
/// classify: the results of a classifier program, computed where they stand.
std::string print_classify(const DeviceProgram& program, int may_be_true, int may_be_false,
                           const PrintOptions& options);
/// A function of q_idx and kv_idx that returns value `result` and computes all it needs: for code that asks for single
/// elements and keeps no levels. The signature names them so, p the Params and t the TileContext.
std::string print_whole_function(const DeviceProgram& program, int result, std::string_view signature,
                                 const PrintOptions& options);

}  // namespace attnc::cuda
