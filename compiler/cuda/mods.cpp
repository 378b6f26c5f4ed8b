// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/mods.h"

#include <iterator>

#include "compiler/bounds/bounds.h"
#include "compiler/cuda/extrema.h"
#include "compiler/cuda/functions.h"
#include "compiler/cuda/operations.h"
#include "compiler/cuda/params.h"
#include "compiler/cuda/score_forms.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

using ir::Level;
using ir::no_value;
using Kind = DeviceValue::Kind;

constexpr double log2_e = 1.4426950408889634;
constexpr Level staged_levels[] = {Level::uniform, Level::row, Level::column, Level::diagonal};

/// Larger classifiers cost more than the masking they save.
constexpr std::size_t max_classifier_insts = 512;

/// Spells the captures of `program` as fields of the Params that `natural` lays out. Passes may renumber captures, so
/// they are matched by the user's names, which are unique.
template <class Decl>
std::vector<std::string> capture_texts(const std::vector<Decl>& decls, const std::vector<Decl>& natural,
                                       const std::vector<std::string>& fields) {
  std::vector<std::string> texts;
  for (const Decl& decl : decls) {
    std::string text;
    for (std::size_t i = 0; i < natural.size(); ++i)
      if (natural[i].name == decl.name) text = "p." + fields[i];
    texts.push_back(std::move(text));
  }
  return texts;
}

std::string exact(float value) {
  ir::Inst literal;
  literal.real = value;
  return literal_text(literal);
}

/// A proof that holds whatever the lengths: the witness is a key that every call has.
bool rows_always_nonempty(const ir::Program& program) {
  if (program.mask == no_value) return true;
  for (const auto& candidate : bounds::row_safety(program).candidates) {
    const bool any_length = candidate.witness == bounds::RowSafety::Witness::first_key ||
                            candidate.witness == bounds::RowSafety::Witness::last_key;
    if (candidate.always && any_length) return true;
  }
  return false;
}

/// row_band() is handed Row and Uniform only: a bound that is q_idx itself has to become a field.
void make_field(DeviceProgram& program, int& result, std::string_view name) {
  if (program[result].kind != Kind::input || program[result].input != Input::q_idx) return;
  DeviceValue copy;
  copy.type = Type::i32;
  copy.level = Level::row;
  copy.name = name;
  copy.text = "$0";
  copy.operands = {result};
  program.values.push_back(copy);
  result = static_cast<int>(program.values.size()) - 1;
}

int element_cost(const DeviceProgram& program, int result) {
  if (result < 0) return 0;
  std::vector<bool> wanted(program.values.size(), false);
  wanted[static_cast<std::size_t>(result)] = true;
  int cost = 0;
  for (int id = static_cast<int>(program.values.size()) - 1; id >= 0; --id) {
    const DeviceValue& value = program[id];
    if (!wanted[static_cast<std::size_t>(id)] || !computed_per_element(value)) continue;
    cost += value.cost;
    for (const int operand : value.operands) wanted[static_cast<std::size_t>(operand)] = true;
  }
  return cost;
}

/// The program as written, reading dot * scale for the score: what kernel_form gives, without log2 units.
ir::Program natural_form(const ir::Program& program) {
  ir::Program result;
  result.params = program.params;
  result.buffers = program.buffers;
  std::vector<ir::ValueId> renamed;
  const auto renamed_or_none = [&](ir::ValueId id) {
    return id == no_value ? no_value : renamed[static_cast<std::size_t>(id)];
  };
  for (ir::Inst inst : program.insts) {
    if (inst.op == Op::input && inst.input == Input::score) {
      ir::Inst dot = inst, scale = inst, product = inst;
      dot.input = Input::dot;
      scale.input = Input::scale;
      product.op = Op::mul;
      product.operand_count = 2;
      product.operands[0] = result.append(dot);
      product.operands[1] = result.append(scale);
      renamed.push_back(result.append(product));
      continue;
    }
    for (std::size_t i = 0; i < inst.operand_count; ++i) inst.operands[i] = renamed_or_none(inst.operands[i]);
    renamed.push_back(result.append(inst));
  }
  result.score = renamed_or_none(program.score);
  result.mask = renamed_or_none(program.mask);
  return passes::canonicalize(result);
}

/// The members of the contract that are constants.
std::string print_constants(const ModsTraits& traits, const PrintOptions& options) {
  std::string natural = options.natural_units ? "  static constexpr bool score_is_natural = true;\n" : "";
  return natural + attnc::format(
                       "  static constexpr int column_words = {};\n"
                       "  static constexpr int diagonal_words = {};\n"
                       "  static constexpr bool has_score_mod = {};\n"
                       "  static constexpr MaskKind mask_kind = MaskKind::{};\n"
                       "  static constexpr float score_bound_log2 = {};\n"
                       "  static constexpr bool rows_nonempty = {};\n"
                       "  static constexpr bool has_classifier = {};\n\n",
                       traits.column_words, traits.diagonal_words, traits.has_score_mod, name(traits.mask_kind),
                       exact(static_cast<float>(traits.score_bound_log2)), traits.rows_nonempty, traits.has_classifier);
}

struct Classifier {
  std::string text;
  bool useful = false;
  bounds::ClassifierProgram program;  ///< its extrema are those that `text` reads
};

Classifier print_classifier(const ir::Program& declared, const ir::Program& program, const PrintOptions& options) {
  static constexpr std::string_view trivial =
      "  static __forceinline__ BlockVerdict classify(const Params&, const TileContext&, const Uniform&,\n"
      "                                               const BlockRange&) {{\n    return BlockVerdict::{};\n  }}\n";
  if (program.mask == no_value) return {attnc::format(trivial, "full"), true, {}};
  bounds::ClassifierOptions classifier_options;
  classifier_options.use_extrema = options.use_extrema;
  bounds::ClassifierProgram classifier = bounds::make_classifier(program, classifier_options);
  if (!classifier.useful || classifier.program.insts.size() > max_classifier_insts) {
    return {attnc::format(trivial, "partial"), false, {}};
  }
  auto params =
      capture_texts(classifier.program.params, declared.params, param_names(declared, options.canonical_names));
  const char* const ranges[] = {"range.q_first", "range.q_last", "range.kv_first", "range.kv_last"};
  for (int i = 0; i < bounds::ClassifierProgram::range_param_count; ++i)
    params[static_cast<std::size_t>(classifier.first_range_param + i)] = ranges[i];
  const ir::Program captures = with_extrema(declared, classifier);
  const auto buffers =
      capture_texts(classifier.program.buffers, captures.buffers, buffer_names(captures, options.canonical_names));
  for (const auto& extent : classifier.extents)
    params[static_cast<std::size_t>(extent.param)] =
        extent_text(buffers[static_cast<std::size_t>(extent.source_slot)], extent.dimension);
  const DeviceProgram device = make_device_program(
      classifier.program, {classifier.may_be_true, classifier.may_be_false}, params, buffers, options);
  std::string text = print_classify(device, device.results[0], device.results[1], options);
  return {std::move(text), true, std::move(classifier)};
}

}  // namespace

std::string_view name(MaskKind kind) {
  switch (kind) {
    case MaskKind::none:
      return "none";
    case MaskKind::band:
      return "band";
    case MaskKind::general:
      return "general";
  }
  return "?";
}

PrintedMods print_mods(const ir::Program& declared, const ir::Program& natural, const PrintOptions& options) {
  ir::Program program = options.natural_units ? natural_form(natural) : passes::kernel_form(natural);
  ModsTraits traits;
  traits.has_score_mod = program.score != no_value;
  traits.rows_nonempty = rows_always_nonempty(natural);
  if (traits.has_score_mod) {
    const auto bound = bounds::score_bound(natural, {}, bounds::Box::anything());
    // A little room, since the kernel rounds in fp32 and may use approximations.
    if (bound && options.use_score_bound) traits.score_bound_log2 = *bound * log2_e * 1.001;
  }
  std::vector<ir::ValueId> results{program.score, program.mask, no_value, no_value};
  if (program.mask != no_value) {
    traits.mask_kind = MaskKind::general;
    if (auto band = bounds::row_band(program)) {
      traits.mask_kind = MaskKind::band;
      program = std::move(band->program);
      results = {program.score, no_value, band->lo, band->hi};
    }
  }

  const auto params = capture_texts(program.params, declared.params, param_names(declared, options.canonical_names));
  const auto buffers =
      capture_texts(program.buffers, declared.buffers, buffer_names(declared, options.canonical_names));
  DeviceProgram device = make_device_program(program, results, params, buffers, options);
  if (traits.mask_kind == MaskKind::band) {
    make_field(device, device.results[2], "band_lo");
    make_field(device, device.results[3], "band_hi");
  }
  recompute_cheap_values(device);
  if (options.packs_groups) recompute_head_values(device);
  const int score = device.results[0], mask = device.results[1];
  traits.score_cost = element_cost(device, score);
  traits.keep_cost = element_cost(device, mask);
  const int shifted = options.natural_units ? -1 : add_shifted_score(device, score);
  const NarrowScore narrow = options.precise || shifted < 0 ? NarrowScore{} : add_narrow_score(device, score);
  traits.has_score_narrow = narrow.score >= 0;
  const LinearScore linear = options.natural_units ? LinearScore{} : find_linear_score(device, score);
  traits.has_linear_bias = linear.slope >= 0;
  const int dropped = add_dropped_dot(device, narrow, linear);
  // Fields of Uniform although no value of the program reads them.
  for (const int wanted :
       {narrow.bound, narrow.query_factor, narrow.scaled_bound, linear.factor, linear.slope, dropped})
    device.results.push_back(wanted);

  std::string structs, functions;
  for (const Level level : staged_levels) {
    const LevelFields fields = level_fields(device, level);
    if (level == Level::uniform) traits.uniform_words = fields.words;
    if (level == Level::column) traits.column_words = fields.words;
    if (level == Level::diagonal) traits.diagonal_words = fields.words;
    structs += print_level_struct(device, level, fields);
    functions += print_level_function(device, level, fields, options);
  }
  constexpr std::string_view element_arguments =
      "(const Params& p, const TileContext& t, const Uniform& u, const Row& r,\n"
      "      const Column& c, const Diagonal& d, const Element& e";
  if (score >= 0) {
    functions +=
        print_element_function(device, score, attnc::format("float score{}, float dot)", element_arguments), options);
  } else {
    functions += attnc::format(
        "  static __forceinline__ float score{}, float dot) {{\n    return dot * (t.scale * log2_e);\n  }}\n",
        element_arguments);
  }
  if (shifted >= 0) {
    functions += print_element_function(
        device, shifted, attnc::format("float score_shifted{}, float dot, float shift)", element_arguments), options);
  }
  if (narrow.score >= 0) {
    functions += print_element_function(
        device, narrow.score, attnc::format("float score_narrow{}, float dot, float shift)", element_arguments),
        options);
    functions += print_element_function(
        device, narrow.bound, "float narrow_score_bound(const Params& p, const TileContext& t, const Uniform& u)",
        options);
    functions += print_element_function(
        device, narrow.scaled_score,
        attnc::format("float score_narrow_scaled{}, float dot, float shift)", element_arguments), options);
  }
  const auto print_uniform = [&](int value, std::string_view member) {
    if (value < 0) return;
    functions += print_element_function(
        device, value, attnc::format("float {}(const Params& p, const TileContext& t, const Uniform& u)", member),
        options);
  };
  if (linear.slope >= 0) {
    print_uniform(linear.factor, "score_factor");
    print_uniform(linear.slope, "score_slope");
  }
  print_uniform(narrow.query_factor, "narrow_query_factor");
  print_uniform(narrow.scaled_bound, "narrow_scaled_score_bound");
  print_uniform(dropped, "dropped_dot");
  if (mask >= 0) {
    functions += print_element_function(device, mask, attnc::format("bool keep{})", element_arguments), options);
  } else {
    functions += attnc::format("  static __forceinline__ bool keep{}) {{\n    return true;\n  }}\n", element_arguments);
  }
  if (traits.mask_kind == MaskKind::band) {
    functions += print_row_band(device, device.results[2], device.results[3]);
  } else {
    functions +=
        "  static __forceinline__ Band row_band(const Params&, const TileContext& t, const Uniform&, const Row&) {\n"
        "    return {0, t.kv_len};\n  }\n";
  }
  const Classifier classifier = print_classifier(declared, natural, options);
  traits.has_classifier = classifier.useful;
  traits.reads_extrema = !classifier.program.extrema.empty();
  functions += classifier.text;

  const ir::Program captures = with_extrema(declared, classifier.program);
  PrintedMods printed;
  printed.traits = traits;
  printed.layout = layout_with_extrema(declared, classifier.program, natural);
  printed.program_text = ir::print(program, options.canonical_names);
  printed.text =
      attnc::format("struct Mods {{\n{}{}{}{}}};\n{}", print_params(captures, options.canonical_names), structs,
                    print_constants(traits, options), functions, print_layout_checks(captures, "Mods"));
  return printed;
}

}  // namespace attnc::cuda
