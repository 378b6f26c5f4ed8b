// SPDX-License-Identifier: Apache-2.0
// A kernel-form program as the printers see it: leaves resolved, loads split into addresses per level, and every value
// assigned to the function of the contract that computes it.
#pragma once

#include <string>
#include <vector>

#include "compiler/ir/program.h"

namespace attnc::cuda {

/// How device code is to be written.
struct PrintOptions {
  bool precise = false;         ///< no approximate transcendentals
  bool natural_units = false;   ///< score() in natural units (sm80/softmax.cuh, score_is_natural) instead of log2 units
  bool use_score_bound = true;  ///< tell the kernel of a proved bound on the score
  bool use_extrema = false;     ///< classify() may read minima and maxima of captured buffers (extrema.h)
  bool canonical_names = false;  ///< p0, b0 for captures instead of the user's names (for signatures)
  bool packs_groups = false;     ///< rows of a tile may belong to different query heads (plan::Problem)
  bool line_directives = false;  ///< #line before each statement: messages then name the line of the printed program
};

struct DeviceValue {
  enum class Kind {
    literal,     ///< `text` is all
    input,       ///< a coordinate, length, dot or scale; spelled by the function it stands in
    param,       ///< `text` is all
    difference,  ///< q_idx - kv_idx
    delta,       ///< float(kv_idx - q_idx): Element::delta where there is one
    computed,
  };
  Kind kind = Kind::computed;
  Op op = Op::literal;  ///< computed: the operation it stands for; Op::literal for addresses and the like
  Type type = Type::f32;
  ir::Level level = ir::Level::uniform;
  bool recomputed = false;  ///< column, diagonal: element functions compute it anew instead of fetching it
  Input input = Input::score;
  std::string name;           ///< computed: an identifier, unique in the program
  std::string text;           ///< computed: an expression in which $0, $1, ... stand for the operands
  std::vector<int> operands;  ///< earlier values
  int cost = 0;               ///< of this value alone, in units of a multiply-add
  int line = 0;               ///< 1 + number of the instruction in the printed program
  std::string comment;        ///< the instruction, for readers
};

struct DeviceProgram {
  std::vector<DeviceValue> values;
  std::vector<int> results;  ///< in the order asked for; -1 for ir::no_value

  const DeviceValue& operator[](int id) const { return values[static_cast<std::size_t>(id)]; }
  DeviceValue& operator[](int id) { return values[static_cast<std::size_t>(id)]; }
};

/// The values that `results` (ids of `program`, ir::no_value allowed) need. `param_texts` and `buffer_texts` spell the
/// captures, by slot. f32(kv_idx - q_idx + c) becomes delta + c.
DeviceProgram make_device_program(const ir::Program& program, const std::vector<ir::ValueId>& results,
                                  const std::vector<std::string>& param_texts,
                                  const std::vector<std::string>& buffer_texts, const PrintOptions& options);

/// Whether element functions compute the value themselves.
inline bool computed_per_element(const DeviceValue& value) {
  return value.level == ir::Level::element || value.recomputed;
}

/// Marks column and diagonal values as recomputed where that is cheaper, per score, than fetching them from shared
/// memory.
void recompute_cheap_values(DeviceProgram& program);

/// Marks column and diagonal values that depend on the query head as recomputed: where rows of several heads share a
/// tile, no value that is staged for all of them can know it. (Uniform and row values belong to a row, and so to its
/// head.)
void recompute_head_values(DeviceProgram& program);

}  // namespace attnc::cuda
