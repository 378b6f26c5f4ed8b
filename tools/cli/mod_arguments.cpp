// SPDX-License-Identifier: Apache-2.0
#include "mod_arguments.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_set>

#include "dsl/format.h"
#include "dsl/text_lexer.h"
#include "dsl/text_source.h"

namespace attnc::cli {
namespace {

using text::in_quotes;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

template <class T>
std::optional<T> parse_number(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Type> parse_type(std::string_view text) {
  for (const Type type : {Type::boolean, Type::i32, Type::i64, Type::f32})
    if (name(type) == text) return type;
  return std::nullopt;
}

std::optional<DType> parse_dtype(std::string_view text) {
  for (const DType dtype :
       {DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i8, DType::u8, DType::boolean})
    if (name(dtype) == text) return dtype;
  return std::nullopt;
}

struct Param {
  ParamDecl decl;
  ParamValue value;
};

/// The type is the value's own, as in an expression, unless given.
Param parse_param(const std::string& argument) {
  const auto bad = [&](const std::string& rule) { refuse(attnc::format("--param {}: {}", in_quotes(argument), rule)); };
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos) bad("there is no '='; write NAME=VALUE, as in cap=30.0 or window=1024");
  std::string name = argument.substr(0, equals);
  const std::string text = argument.substr(equals + 1);
  std::optional<Type> type;
  if (const std::size_t colon = name.find(':'); colon != std::string::npos) {
    type = parse_type(std::string_view(name).substr(colon + 1));
    if (!type)
      bad(attnc::format("there is no type {}; types are f32, i32, i64 and bool", in_quotes(name.substr(colon + 1))));
    name.resize(colon);
  }
  if (!text::is_name(name))
    bad(attnc::format("{} is no name; names are ASCII letters, digits and '_'", in_quotes(name)));

  const bool is_bool = text == "true" || text == "false";
  const std::optional<long long> integer =
      is_bool ? std::optional<long long>(text == "true") : parse_number<long long>(text);
  const std::optional<double> real = parse_number<double>(text);
  const bool fits_i32 = integer && *integer == static_cast<std::int32_t>(*integer);
  if (!type) {
    if (!integer && !real)
      bad(attnc::format("{} is no value; values are 1024, 30.0, 1e-3, true or false", in_quotes(text)));
    type = is_bool ? Type::boolean : !integer ? Type::f32 : fits_i32 ? Type::i32 : Type::i64;
  }
  ParamDecl decl{name, *type};
  if (*type == Type::f32) {
    if (!real && !integer) bad(attnc::format("{} is no f32", in_quotes(text)));
    decl.default_value = real ? *real : static_cast<double>(*integer);
    if (std::isfinite(decl.default_value) && !std::isfinite(static_cast<float>(decl.default_value)))
      bad(attnc::format("{} is outside f32", in_quotes(text)));
    return {decl, ParamValue(name, decl.default_value)};
  }
  if (!integer) bad(attnc::format("{} is no {}", in_quotes(text), attnc::name(*type)));
  if (*type == Type::i32 && !fits_i32) bad(attnc::format("{} is outside i32", in_quotes(text)));
  if (*type == Type::boolean && *integer != 0 && *integer != 1)
    bad(attnc::format("{} is no bool; write true or false", in_quotes(text)));
  decl.default_int = *integer;
  decl.default_value = static_cast<double>(*integer);
  return {decl, ParamValue(name, *integer)};
}

/// Names of the captures that an expression reads.
std::set<std::string> captures_of(const NodePtr& root) {
  std::set<std::string> names;
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> pending{root.get()};
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    if (!seen.insert(node).second) continue;
    if (node->op == Op::param) names.insert(node->param->name);
    if (node->op == Op::load) names.insert(node->buffer->name);
    for (const NodePtr& operand : node->operands) pending.push_back(operand.get());
  }
  return names;
}

/// Adds how this program declares names to the complaint that one is unknown.
template <class Parse>
auto with_hint(Parse&& parse) {
  try {
    return parse();
  } catch (const Error& error) {
    const std::string message = error.what();
    const bool unknown =
        message.find(": unknown name ") != std::string::npos || message.find(": unknown buffer ") != std::string::npos;
    if (!unknown) throw;
    throw Error(error.code(), message + "\n  names come from --param NAME=VALUE and --buffer NAME[=TENSOR]");
  }
}

}  // namespace

void declare_mods(CLI::App& app, ModArguments& arguments, bool with_score) {
  if (with_score)
    app.add_option("--score-mod", arguments.score_mod, "What becomes of a score, as in '30 * tanh(score / 30)'")
        ->type_name("E");
  app.add_option("--mask-mod", arguments.mask_mod, "Which keys a query keeps, as in 'q_idx >= kv_idx'")->type_name("E");
  app.add_option("--param", arguments.params,
                 "A parameter's value: cap=30.0 (f32), window=1024 (i32), cap:f32=30; may be repeated")
      ->type_name("NAME[:TYPE]=VALUE")
      ->expected(1)
      ->take_all();
  app.add_option("--buffer", arguments.buffers,
                 "A buffer the mods read, from the tensor of that name in --in; may be repeated")
      ->type_name("NAME[=TENSOR]")
      ->expected(1)
      ->take_all();
}

BoundMods::BoundMods(const ModArguments& arguments, const SafetensorsFile* file, bool allow_declared) {
  Captures captures;
  for (const std::string& argument : arguments.params) {
    Param param = parse_param(argument);
    captures.params.push_back(param.decl);
    params_.push_back(std::move(param.value));
  }
  for (const std::string& argument : arguments.buffers) {
    const std::string option = "--buffer " + in_quotes(argument);
    const std::size_t equals = argument.find('='), colon = argument.find(':');
    const std::string name = argument.substr(0, std::min(equals, colon));
    if (!text::is_name(name))
      refuse(attnc::format("{}: {} is no name; names are ASCII letters, digits and '_'", option, in_quotes(name)));
    if (allow_declared && colon != std::string::npos && equals == std::string::npos) {
      const std::string declared = argument.substr(colon + 1);
      const std::size_t slash = declared.find('/');
      const std::optional<DType> dtype = parse_dtype(declared.substr(0, slash));
      const std::optional<int> rank =
          slash == std::string::npos ? std::optional<int>(1) : parse_number<int>(declared.substr(slash + 1));
      if (!dtype || !rank || *rank < 0 || *rank > TensorView::max_rank)
        refuse(attnc::format("{}: declare a buffer as NAME:DTYPE/RANK, as in bias:f16/4", option));
      captures.buffers.push_back({name, *dtype, *rank});
      declared_.push_back(captures.buffers.back());
      continue;
    }
    const std::string tensor = equals == std::string::npos ? name : argument.substr(equals + 1);
    if (file == nullptr) refuse(attnc::format("{}: there is no --in file to read the tensor from", option));
    const auto rank = static_cast<int>(file->find(tensor, option).shape.size());
    if (rank > TensorView::max_rank)
      refuse(attnc::format("{}: tensor {} has rank {}; a buffer has at most {}", option, in_quotes(tensor), rank,
                           TensorView::max_rank));
    captures.buffers.push_back({name, file->dtype(tensor, option), rank});
    tensors_.emplace_back(name, file->read(tensor, option));
  }

  if (!arguments.score_mod.empty())
    score_mod = with_hint([&] { return attnc::score_mod(arguments.score_mod, captures); });
  if (!arguments.mask_mod.empty()) mask_mod = with_hint([&] { return attnc::mask_mod(arguments.mask_mod, captures); });
  if (!score_mod.is_identity()) score_names_ = captures_of(score_mod.result().ptr());
  if (!mask_mod.is_everything()) mask_names_ = captures_of(mask_mod.result().ptr());
  const auto check_used = [&](const char* option, const std::string& name) {
    if (score_names_.count(name) == 0 && mask_names_.count(name) == 0)
      refuse(attnc::format("{} {}: no expression reads it; is one missing, or its name misspelt?", option, name));
  };
  for (const ParamDecl& decl : captures.params) check_used("--param", decl.name);
  for (const BufferDecl& decl : captures.buffers) check_used("--buffer", decl.name);
}

BoundMods::Values BoundMods::values_of(const std::set<std::string>& names) const {
  Values values;
  for (const ParamValue& value : params_)
    if (names.count(value.name) > 0) values.params.push_back(value);
  for (const auto& [name, tensor] : tensors_)
    if (names.count(name) > 0) values.buffers.push_back({name, tensor.view()});
  return values;
}

void BoundMods::provide(const std::string& name, HostTensor tensor) {
  std::erase_if(tensors_, [&](const auto& known) { return known.first == name; });
  tensors_.emplace_back(name, std::move(tensor));
}

BoundMods::Values BoundMods::mask_values() const { return values_of(mask_names_); }

BoundMods::Values BoundMods::for_mask(const Values& values) const {
  Values kept;
  for (const ParamValue& value : values.params)
    if (mask_names_.count(value.name) > 0) kept.params.push_back(value);
  for (const BufferValue& value : values.buffers)
    if (mask_names_.count(value.name) > 0) kept.buffers.push_back(value);
  return kept;
}

BoundMods::Values BoundMods::all_values() const {
  std::set<std::string> names = mask_names_;
  names.insert(score_names_.begin(), score_names_.end());
  return values_of(names);
}

bool BoundMods::mask_reads(Input input) const {
  if (mask_mod.is_everything()) return false;
  std::unordered_set<const Node*> seen;
  const Expr result = mask_mod.result();
  std::vector<const Node*> pending{&result.node()};
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    if (!seen.insert(node).second) continue;
    if (node->op == Op::input && node->input == input) return true;
    for (const NodePtr& operand : node->operands) pending.push_back(operand.get());
  }
  return false;
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return Device::cpu();
  if (text == "cuda") return Device::cuda();
  if (text.rfind("cuda:", 0) == 0) {
    const std::optional<int> index = parse_number<int>(std::string_view(text).substr(5));
    if (index && *index >= 0) return Device::cuda(*index);
  }
  refuse(attnc::format("--device {}: devices are cpu, cuda and cuda:N", in_quotes(text)));
}

BlockSize parse_block_size(const std::string& text) {
  const std::size_t x = text.find('x');
  const std::optional<int> q = parse_number<int>(std::string_view(text).substr(0, x));
  const std::optional<int> kv = x == std::string::npos ? q : parse_number<int>(std::string_view(text).substr(x + 1));
  if (!q || !kv) refuse(attnc::format("--block-size {}: write QxKV, as in 128x128", in_quotes(text)));
  return {*q, *kv};
}

ElementBits parse_element_bits(const std::string& text) {
  if (text.empty() || text == "auto") return ElementBits::automatic;
  if (text == "always") return ElementBits::always;
  if (text == "never") return ElementBits::never;
  refuse(attnc::format("--element-bits {}: it is auto, always or never", in_quotes(text)));
}

}  // namespace attnc::cli
