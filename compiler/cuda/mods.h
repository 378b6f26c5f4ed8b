// SPDX-License-Identifier: Apache-2.0
// The `Mods` struct of templates/contract.cuh for one program.
#pragma once

#include <string>
#include <string_view>

#include "compiler/cuda/device_program.h"
#include "compiler/cuda/params.h"
#include "compiler/ir/program.h"

namespace attnc::cuda {

/// The same as attnc::MaskKind in templates/contract.cuh.
enum class MaskKind { none, band, general };
std::string_view name(MaskKind kind);

/// What a plan may want to know of the mods.
struct ModsTraits {
  bool has_score_mod = false;
  MaskKind mask_kind = MaskKind::none;
  bool has_classifier = true;
  bool reads_extrema = false;   ///< the classifier reads minima and maxima of captured buffers (extrema.h)
  bool rows_nonempty = true;    ///< for every call, whatever the lengths
  double score_bound_log2 = 0;  ///< 0: nothing proved
  int uniform_words = 0;        ///< size of Uniform in 32-bit words, 0 if it is empty; so of the next two
  int column_words = 0;
  int diagonal_words = 0;
  bool has_linear_bias = false;   ///< score_factor and score_slope (templates/contract.cuh)
  bool has_score_narrow = false;  ///< a cheaper form of the score for small values (score_forms.h)
  int score_cost = 0;             ///< of score(), per element, in multiply-adds (a transcendental counts 9)
  int keep_cost = 0;              ///< of keep(), per element
};

struct PrintedMods {
  std::string text;          ///< `struct Mods { ... };` for namespace attnc::mods, and its layout checks
  std::string program_text;  ///< the kernel-form program whose instructions `text` refers to by number
  ModsTraits traits;
  ParamLayout layout;  ///< of Mods::Params
};

/// `program` is canonical and in natural units; `declared` the program that calls bind captures for (it may capture
/// more: what was simplified away keeps its place in Params). Deterministic.
PrintedMods print_mods(const ir::Program& declared, const ir::Program& program, const PrintOptions& options);

}  // namespace attnc::cuda
