// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/functions.h"

#include <iterator>

#include "compiler/cuda/operations.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

using ir::Level;
using Kind = DeviceValue::Kind;

bool is_staged(Level level) { return level == Level::column || level == Level::diagonal; }

std::string_view struct_name(Level level) {
  switch (level) {
    case Level::uniform:
      return "Uniform";
    case Level::row:
      return "Row";
    case Level::column:
      return "Column";
    case Level::diagonal:
      return "Diagonal";
    case Level::element:
      return "Element";
  }
  return "?";
}

/// How a field is read in a function of another level.
std::string field_text(const DeviceValue& value) {
  const std::string_view holder = value.level == Level::uniform  ? "u"
                                  : value.level == Level::row    ? "r"
                                  : value.level == Level::column ? "c"
                                                                 : "d";
  if (is_staged(value.level)) {
    if (value.type == Type::boolean) return attnc::format("({}.{} != 0)", holder, value.name);
    if (value.type == Type::i64) return attnc::format("join_words({0}.{1}_low, {0}.{1}_high)", holder, value.name);
  }
  return attnc::format("{}.{}", holder, value.name);
}

/// Where code is being written.
struct Scope {
  Level level;
  bool everything_local = false;  ///< classify: nothing is handed in
};

bool is_local(const DeviceValue& value, const Scope& scope) {
  if (value.kind != Kind::computed) return false;
  return scope.everything_local || value.level == scope.level || (scope.level == Level::element && value.recomputed);
}

std::string input_text(Input input, const Scope& scope) {
  const bool element = scope.level == Level::element;
  switch (input) {
    case Input::q_idx:
      return element ? "e.q_idx" : "q_idx";
    case Input::kv_idx:
      return element ? "e.kv_idx" : "kv_idx";
    case Input::dot:
    case Input::score:
      return "dot";
    default:
      return attnc::format("t.{}", name(input));
  }
}

std::string reference(const DeviceValue& value, const Scope& scope) {
  const bool element = scope.level == Level::element;
  switch (value.kind) {
    case Kind::literal:
    case Kind::param:
      return value.text;
    case Kind::input:
      return input_text(value.input, scope);
    case Kind::difference:
      return element ? "(e.q_idx - e.kv_idx)" : "difference";
    case Kind::delta:
      return element ? "e.delta" : "static_cast<float>(-difference)";
    case Kind::computed:
      break;
  }
  return is_local(value, scope) ? value.name : field_text(value);
}

/// `text` with $n replaced by references to the operands.
std::string expression(const DeviceProgram& program, const DeviceValue& value, const Scope& scope) {
  std::string result;
  for (std::size_t i = 0; i < value.text.size(); ++i) {
    if (value.text[i] != '$') {
      result += value.text[i];
      continue;
    }
    const std::size_t slot = static_cast<std::size_t>(value.text[++i] - '0');
    result += reference(program[value.operands[slot]], scope);
  }
  return result;
}

/// The statements that compute `roots` where `scope` stands, operands first.
std::string statements(const DeviceProgram& program, const std::vector<int>& roots, const Scope& scope,
                       const PrintOptions& options) {
  std::vector<bool> wanted(program.values.size(), false);
  for (const int root : roots) wanted[static_cast<std::size_t>(root)] = true;
  for (int id = static_cast<int>(program.values.size()) - 1; id >= 0; --id) {
    if (!wanted[static_cast<std::size_t>(id)] || !is_local(program[id], scope)) continue;
    for (const int operand : program[id].operands) wanted[static_cast<std::size_t>(operand)] = true;
  }
  std::string text;
  for (std::size_t id = 0; id < program.values.size(); ++id) {
    const DeviceValue& value = program.values[id];
    if (!wanted[id] || !is_local(value, scope)) continue;
    if (options.line_directives) attnc::append(text, "#line {} \"mod\"\n", value.line);
    attnc::append(text, "    const {} {} = {};", device_type(value.type), value.name,
                  expression(program, value, scope));
    if (!value.comment.empty()) attnc::append(text, "  // %{} {}", value.line - 1, value.comment);
    text += "\n";
  }
  return text;
}

std::string_view coordinate_parameter(Level level) {
  switch (level) {
    case Level::row:
      return ", int q_idx";
    case Level::column:
      return ", int kv_idx";
    case Level::diagonal:
      return ", int difference";
    default:
      return "";
  }
}

}  // namespace

LevelFields level_fields(const DeviceProgram& program, Level level) {
  std::vector<bool> used(program.values.size(), false);
  for (const DeviceValue& user : program.values) {
    if (user.kind != Kind::computed || (user.level == level && !user.recomputed)) continue;
    for (const int operand : user.operands) used[static_cast<std::size_t>(operand)] = true;
  }
  for (const int result : program.results)
    if (result >= 0) used[static_cast<std::size_t>(result)] = true;
  LevelFields fields;
  for (std::size_t id = 0; id < program.values.size(); ++id) {
    const DeviceValue& value = program.values[id];
    if (!used[id] || value.kind != Kind::computed || value.level != level || value.recomputed) continue;
    fields.values.push_back(static_cast<int>(id));
    fields.words += value.type == Type::i64 ? 2 : 1;
  }
  return fields;
}

std::string print_level_struct(const DeviceProgram& program, Level level, const LevelFields& fields) {
  if (fields.values.empty()) return attnc::format("  struct {} {{}};\n", struct_name(level));
  std::string text = attnc::format("  struct {} {{\n", struct_name(level));
  for (const int id : fields.values) {
    const DeviceValue& value = program[id];
    if (is_staged(level) && value.type == Type::i64) {
      attnc::append(text, "    int32 {0}_low, {0}_high;\n", value.name);
    } else {
      const bool as_word = is_staged(level) && value.type == Type::boolean;
      attnc::append(text, "    {} {};\n", as_word ? "int32" : device_type(value.type), value.name);
    }
  }
  return text + "  };\n";
}

std::string print_level_function(const DeviceProgram& program, Level level, const LevelFields& fields,
                                 const PrintOptions& options) {
  const std::string_view type = struct_name(level);
  std::string text =
      attnc::format("  static __forceinline__ {} {}(const Params& p, const TileContext& t{}{}) {{\n", type, name(level),
                    level == Level::uniform ? "" : ", const Uniform& u", coordinate_parameter(level));
  if (fields.values.empty()) return text + "    return {};\n  }\n";
  text += statements(program, fields.values, {level}, options);
  text += attnc::format("    {} result;\n", type);
  for (const int id : fields.values) {
    const DeviceValue& value = program[id];
    if (is_staged(level) && value.type == Type::i64) {
      attnc::append(text, "    result.{0}_low = low_word({0});\n    result.{0}_high = high_word({0});\n", value.name);
    } else {
      attnc::append(text, "    result.{0} = {0};\n", value.name);
    }
  }
  return text + "    return result;\n  }\n";
}

std::string print_element_function(const DeviceProgram& program, int result, std::string_view signature,
                                   const PrintOptions& options) {
  const Scope scope{Level::element};
  return attnc::format("  static __forceinline__ {} {{\n{}    return {};\n  }}\n", signature,
                       statements(program, {result}, scope, options), reference(program[result], scope));
}

std::string print_row_band(const DeviceProgram& program, int lo, int hi) {
  // Nothing is local to row_band: results are handed in by Row and Uniform.
  const Scope scope{Level::element};
  return attnc::format(
      "  static __forceinline__ Band row_band(const Params& p, const TileContext& t, const Uniform& u, const Row& r) "
      "{{\n"
      "    return {{{}, {}}};\n  }}\n",
      reference(program[lo], scope), reference(program[hi], scope));
}

std::string print_classify(const DeviceProgram& program, int may_be_true, int may_be_false,
                           const PrintOptions& options) {
  const Scope scope{Level::uniform, true};
  return attnc::format(
      "  static __forceinline__ BlockVerdict classify(const Params& p, const TileContext& t, const Uniform& u,\n"
      "                                               const BlockRange& range) {{\n"
      "{}    if (!{}) return BlockVerdict::full;\n    return {} ? BlockVerdict::partial : BlockVerdict::empty;\n  }}\n",
      statements(program, {may_be_true, may_be_false}, scope, options), reference(program[may_be_false], scope),
      reference(program[may_be_true], scope));
}

std::string print_whole_function(const DeviceProgram& program, int result, std::string_view signature,
                                 const PrintOptions& options) {
  const Scope scope{Level::row, true};
  return attnc::format(
      "  static __forceinline__ {} {{\n    [[maybe_unused]] const int32 difference = wrap_sub(q_idx, kv_idx);\n{}"
      "    return {};\n  }}\n",
      signature, statements(program, {result}, scope, options), reference(program[result], scope));
}

}  // namespace attnc::cuda
