// SPDX-License-Identifier: Apache-2.0
// What a name in the text form means, and what its writer may have meant instead. Internal: not installed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "mods.h"

namespace attnc::text {

/// A function of the text form: an operation of ops.def, a conversion, or clamp.
struct Function {
  enum class Kind { operation, conversion, clamp };
  Kind kind = Kind::operation;
  int arity = 1;
  Op op = Op::literal;    ///< operation
  Type type = Type::f32;  ///< conversion
};
std::optional<Function> find_function(std::string_view name);

/// The binary operator spelled so, and how tightly it binds (C's precedence: larger is tighter).
struct BinaryOperator {
  Op op;
  int precedence;
};
std::optional<BinaryOperator> find_binary(std::string_view spelling);
bool is_comparison(Op op);

/// Everything a name can stand for: coordinates, constants and the caller's captures.
class Names {
 public:
  /// Throws Error(invalid_expression) for a capture that cannot be named: not an identifier, or taken.
  Names(const Captures& captures, bool allow_score, std::string_view what);

  /// A value: coordinate, length, parameter, true, false or inf.
  const Expr* find_value(std::string_view name) const;
  const Buffer* find_buffer(std::string_view name) const;
  /// "unknown name 'scor'; did you mean 'score'?" `called`: a '(' follows. `indexed`: a '[' follows.
  std::string explain_unknown(std::string_view name, bool called, bool indexed) const;

 private:
  std::map<std::string, Expr, std::less<>> values_;
  std::map<std::string, Buffer, std::less<>> buffers_;
};

/// "'and' is spelled '&&'" for a word or function of another language; empty for anything else.
std::string foreign_spelling(std::string_view name);

}  // namespace attnc::text
