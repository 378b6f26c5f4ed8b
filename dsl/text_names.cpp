// SPDX-License-Identifier: Apache-2.0
#include "text_names.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

#include "dsl/format.h"
#include "text_lexer.h"

namespace attnc::text {
namespace {

constexpr std::array<std::pair<std::string_view, Type>, 3> conversions = {
    {{"f32", Type::f32}, {"i32", Type::i32}, {"i64", Type::i64}}};

struct Spelling {
  std::string_view theirs, ours;
};
constexpr Spelling foreign_words[] = {
    {"and", "&&"},       {"or", "||"},        {"not", "!"},        {"True", "true"},    {"False", "false"},
    {"fabs", "abs"},     {"fabsf", "abs"},    {"fmin", "min"},     {"fminf", "min"},    {"minimum", "min"},
    {"fmax", "max"},     {"fmaxf", "max"},    {"maximum", "max"},  {"select", "where"}, {"expf", "exp"},
    {"exp2f", "exp2"},   {"logf", "log"},     {"log2f", "log2"},   {"ln", "log"},       {"sqrtf", "sqrt"},
    {"rsqrtf", "rsqrt"}, {"tanhf", "tanh"},   {"sinf", "sin"},     {"cosf", "cos"},     {"erff", "erf"},
    {"powf", "pow"},     {"power", "pow"},    {"floorf", "floor"}, {"ceilf", "ceil"},   {"int", "i32"},
    {"float", "f32"},    {"double", "f32"},   {"long", "i64"},     {"INFINITY", "inf"}, {"infinity", "inf"},
    {"q", "q_idx"},      {"k", "kv_idx"},     {"kv", "kv_idx"},    {"s", "score"},      {"batch", "b"},
    {"head", "h"},       {"k_idx", "kv_idx"}, {"k_len", "kv_len"}, {"sgn", "sign"},     {"logistic", "sigmoid"},
};

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`.
int edit_distance(std::string_view a, std::string_view b) {
  const std::size_t columns = b.size() + 1;
  std::vector<int> cost((a.size() + 1) * columns);
  const auto at = [&](std::size_t i, std::size_t j) -> int& { return cost[i * columns + j]; };
  for (std::size_t i = 0; i <= a.size(); ++i) at(i, 0) = static_cast<int>(i);
  for (std::size_t j = 0; j <= b.size(); ++j) at(0, j) = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
      }
    }
  }
  return at(a.size(), b.size());
}

/// Keeps the candidate nearest to a misspelt name.
class Nearest {
 public:
  explicit Nearest(std::string_view name) : name_(name), distance_(static_cast<int>(name.size() + 2) / 3 + 1) {}
  void offer(std::string_view candidate) {
    constexpr std::size_t max_compared_bytes = 64;  // the table is quadratic, and names come from anywhere
    if (name_.size() > max_compared_bytes || candidate.size() > max_compared_bytes) return;
    const int distance = edit_distance(name_, candidate);
    if (distance < distance_ && distance < static_cast<int>(std::max(name_.size(), candidate.size()))) {
      distance_ = distance;
      found_ = candidate;
    }
  }
  const std::string& found() const { return found_; }

 private:
  std::string_view name_;
  int distance_;
  std::string found_;
};

bool is_function_spelling(std::string_view spelling) { return is_name(spelling); }

}  // namespace

std::optional<Function> find_function(std::string_view name) {
  for (int i = 0; i < op_count; ++i) {
    const OpInfo& op = info(static_cast<Op>(i));
    if (is_function_spelling(op.text) && op.text == name) {
      return Function{Function::Kind::operation, op.arity, static_cast<Op>(i), Type::f32};
    }
  }
  for (const auto& [spelling, type] : conversions) {
    if (spelling == name) return Function{Function::Kind::conversion, 1, Op::cast, type};
  }
  if (name == "clamp") return Function{Function::Kind::clamp, 3, Op::literal, Type::f32};
  return std::nullopt;
}

std::optional<BinaryOperator> find_binary(std::string_view spelling) {
  constexpr std::pair<Op, int> precedences[] = {
      {Op::mul, 10}, {Op::div, 10},    {Op::mod, 10},    {Op::add, 9},    {Op::sub, 9},         {Op::shl, 8},
      {Op::shr, 8},  {Op::lt, 7},      {Op::le, 7},      {Op::gt, 7},     {Op::ge, 7},          {Op::eq, 6},
      {Op::ne, 6},   {Op::bit_and, 5}, {Op::bit_xor, 4}, {Op::bit_or, 3}, {Op::logical_and, 2}, {Op::logical_or, 1},
  };
  for (const auto& [op, precedence] : precedences) {
    if (info(op).text == spelling) return BinaryOperator{op, precedence};
  }
  return std::nullopt;
}

bool is_comparison(Op op) { return info(op).typing == Typing::compare; }

std::string foreign_spelling(std::string_view name) {
  for (const Spelling& word : foreign_words) {
    if (word.theirs == name) return attnc::format("'{}' is spelled '{}' here", word.theirs, word.ours);
  }
  if (name == "if" || name == "else" || name == "elif") return attnc::format("there is no '{}'; write c ? a : b", name);
  if (name == "return" || name == "lambda" || name == "auto" || name == "const") {
    return attnc::format("there is no '{}'; a mod is one expression", name);
  }
  if (name == "bool") return "there is no 'bool'; compare with 0, as in x != 0";
  return "";
}

Names::Names(const Captures& captures, bool allow_score, std::string_view what) {
  values_.emplace("true", Expr(true));
  values_.emplace("false", Expr(false));
  values_.emplace("inf", literal(std::numeric_limits<double>::infinity(), Type::f32));
  for (Input which : {Input::score, Input::b, Input::h, Input::q_idx, Input::kv_idx, Input::q_len, Input::kv_len}) {
    if (which != Input::score || allow_score) values_.emplace(std::string(name(which)), input(which));
  }

  const auto fail = [&](const std::string& message) {
    throw Error(ErrorCode::invalid_expression, attnc::format("{}: {}", what, message));
  };
  const auto check = [&](const std::string& capture, std::string_view kind) {
    if (!is_name(capture)) {
      fail(attnc::format("{} {} cannot be named in an expression; names are ASCII letters, digits and '_'", kind,
                         in_quotes(capture)));
    }
    if (find_function(capture) || capture == "score" || (values_.count(capture) > 0) || buffers_.count(capture) > 0) {
      fail(attnc::format("{} '{}' needs another name: that one is taken", kind, capture));
    }
  };
  const auto check_count = [&](std::size_t count, std::string_view kind) {
    if (count > static_cast<std::size_t>(ModLimits::max_captures)) {
      fail(attnc::format("{} {}, over the limit of {}", count, kind, ModLimits::max_captures));
    }
  };
  check_count(captures.params.size(), "parameters");
  check_count(captures.buffers.size(), "buffers");
  for (const ParamDecl& decl : captures.params) {
    check(decl.name, "parameter");
    values_.emplace(decl.name, param(std::make_shared<const ParamDecl>(decl)));
  }
  for (const BufferDecl& decl : captures.buffers) {
    check(decl.name, "buffer");
    buffers_.emplace(decl.name, Buffer(decl));
  }
}

const Expr* Names::find_value(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

const Buffer* Names::find_buffer(std::string_view name) const {
  const auto found = buffers_.find(name);
  return found == buffers_.end() ? nullptr : &found->second;
}

std::string Names::explain_unknown(std::string_view name, bool called, bool indexed) const {
  if (const std::string foreign = foreign_spelling(name); !foreign.empty()) return foreign;
  Nearest nearest(name);
  const auto offer_functions = [&] {
    for (int i = 0; i < op_count; ++i) {
      const std::string_view spelling = info(static_cast<Op>(i)).text;
      if (is_function_spelling(spelling)) nearest.offer(spelling);
    }
    for (const auto& conversion : conversions) nearest.offer(conversion.first);
    nearest.offer("clamp");
  };
  if (called) {
    offer_functions();
  } else {
    for (const auto& buffer : buffers_) nearest.offer(buffer.first);
    if (!indexed) {
      for (const auto& value : values_) nearest.offer(value.first);
    }
  }
  const std::string_view kind = called ? "function" : indexed ? "buffer" : "name";
  std::string message = attnc::format("unknown {} {}", kind, in_quotes(name));
  if (!nearest.found().empty()) return message + attnc::format("; did you mean '{}'?", nearest.found());
  if (called) return message;
  return message + (indexed ? "; buffers are declared beside the expression"
                            : "; besides the coordinates, a name is a parameter or a buffer declared beside the "
                              "expression");
}

}  // namespace attnc::text
