// SPDX-License-Identifier: Apache-2.0
// What the subcommands share: mods as text, their parameters and buffers, devices and block sizes.
#pragma once

#include <CLI/CLI.hpp>
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "host_tensor.h"
#include "runtime/bindings.h"
#include "runtime/block_mask.h"
#include "safetensors.h"

namespace attnc::cli {

/// As typed.
struct ModArguments {
  std::string score_mod, mask_mod;
  std::vector<std::string> params;   ///< NAME=VALUE or NAME:TYPE=VALUE
  std::vector<std::string> buffers;  ///< NAME, NAME=TENSOR; without values NAME:DTYPE or NAME:DTYPE/RANK
};
/// Declares --score-mod (if `with_score`), --mask-mod, --param and --buffer.
void declare_mods(CLI::App& app, ModArguments& arguments, bool with_score);

/// The mods, and values for what they read.
class BoundMods {
 public:
  /// `file`: where buffers come from, null if none was given. `allow_declared`: whether a buffer may be declared
  /// without values. Throws Error for an expression, parameter or buffer that is wrong, missing or unused.
  BoundMods(const ModArguments& arguments, const SafetensorsFile* file, bool allow_declared = false);

  ScoreMod score_mod;
  MaskMod mask_mod;

  struct Values {
    std::vector<ParamValue> params;
    std::vector<BufferValue> buffers;
  };
  Values all_values() const;   ///< of both mods
  Values mask_values() const;  ///< of what mask_mod reads
  /// Those of `values` that mask_mod reads, wherever their tensors are.
  Values for_mask(const Values& values) const;
  /// The buffers' tensors, for copying to a device.
  const std::deque<std::pair<std::string, HostTensor>>& tensors() const { return tensors_; }
  /// Whether mask_mod can differ between batches or heads.
  bool mask_reads(Input input) const;

  /// Buffers without values so far: NAME:DTYPE/RANK.
  const std::vector<BufferDecl>& declared() const { return declared_; }
  /// The values of a declared buffer; replaces those given before. Views taken before are then dead.
  void provide(const std::string& name, HostTensor tensor);

 private:
  Values values_of(const std::set<std::string>& names) const;

  std::vector<ParamValue> params_;
  std::vector<BufferDecl> declared_;
  std::deque<std::pair<std::string, HostTensor>> tensors_;
  std::set<std::string> score_names_, mask_names_;
};

/// "cpu", "cuda" or "cuda:1".
Device parse_device(const std::string& text);
/// "128x64" or "128" for both; the ranges are BlockMask's to check.
BlockSize parse_block_size(const std::string& text);
/// "auto", "always" or "never"; "" as "auto".
ElementBits parse_element_bits(const std::string& text);

}  // namespace attnc::cli
