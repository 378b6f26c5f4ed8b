// SPDX-License-Identifier: Apache-2.0
// The text form's parser. It builds nodes with the same operators a lambda uses, so both forms of one mod are one Expr.
//
//   expression := binary ('?' expression ':' binary)*          right-associative
//   binary     := unary (operator unary)*                      C's precedence; comparisons do not chain
//   unary      := ('-' | '+' | '!' | '~')* primary
//   primary    := number | name | name '(' arguments ')' | name '[' arguments ']' | '(' expression ')'
//
// Chains of operators and of '?:' are loops; only brackets recurse, and ModLimits::max_nesting bounds those.

#include <limits>
#include <utility>
#include <vector>

#include "dsl/format.h"
#include "mods.h"
#include "text_lexer.h"
#include "text_names.h"
#include "text_source.h"

namespace attnc {
namespace text {
namespace {

class Parser {
 public:
  Parser(const Source& source, const Names& names) : source_(source), names_(names), lexer_(source) {
    token_ = lexer_.next();
  }

  Expr whole() {
    if (token_.kind == Token::Kind::end) source_.fail(token_.span, "the expression is empty");
    const Expr result = expression();
    if (token_.kind != Token::Kind::end) fail_after_operand();
    return result;
  }

 private:
  /// One level of brackets or prefix operators, refused past the limit.
  class Nesting {
   public:
    Nesting(Parser& parser, Span where) : parser_(parser) {
      if (parser_.depth_ >= ModLimits::max_nesting) {
        parser_.source_.fail(where, attnc::format("nested deeper than {} levels", ModLimits::max_nesting));
      }
      ++parser_.depth_;
    }
    ~Nesting() { --parser_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Parser& parser_;
  };

  std::string_view spelling() const { return source_[token_.span]; }
  bool at(std::string_view symbol) const { return token_.kind == Token::Kind::symbol && spelling() == symbol; }
  Token take() { return std::exchange(token_, lexer_.next()); }
  std::string found() const { return token_.kind == Token::Kind::end ? "the end" : in_quotes(spelling()); }

  /// Makes a node, counts it, and points errors of typing at `where`.
  template <class Make>
  Expr build(Span where, Make&& make) {
    if (++operations_ > ModLimits::max_nodes) {
      source_.fail(where, attnc::format("more than {} operations", ModLimits::max_nodes));
    }
    try {
      return make();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_expression) throw;
      source_.fail(where, error.what());
    }
  }

  Expr expression() {
    struct Choice {
      Expr condition, chosen;
      Span where;
    };
    std::vector<Choice> choices;
    Expr value = binary();
    while (at("?")) {
      const Token question = take();
      Nesting nesting(*this, question.span);
      Expr chosen = expression();
      if (!at(":")) {
        fail_expected(attnc::format("expected ':' for the '?' at {}", source_.place(question.span.begin)));
      }
      take();
      choices.push_back({value, chosen, question.span});
      value = binary();
    }
    for (; !choices.empty(); choices.pop_back()) {
      const Choice& choice = choices.back();
      value = build(choice.where, [&] { return where(choice.condition, choice.chosen, value); });
    }
    return value;
  }

  struct PendingOperator {
    BinaryOperator is;
    Span where;
  };

  Expr binary() {
    std::vector<Expr> values{unary()};
    std::vector<PendingOperator> pending;
    while (token_.kind == Token::Kind::symbol) {
      const auto next = find_binary(spelling());
      if (!next) break;
      for (; !pending.empty() && pending.back().is.precedence >= next->precedence; pending.pop_back()) {
        if (is_comparison(next->op) && pending.back().is.precedence == next->precedence) {
          source_.fail(token_.span,
                       attnc::format("comparisons do not chain; write 'a {0} b && b {1} c' (or brackets, to "
                                     "compare a truth value)",
                                     source_[pending.back().where], spelling()));
        }
        reduce(values, pending.back());
      }
      pending.push_back({*next, take().span});
      values.push_back(unary());
    }
    for (; !pending.empty(); pending.pop_back()) reduce(values, pending.back());
    return values.back();
  }

  void reduce(std::vector<Expr>& values, const PendingOperator& pending) {
    const Expr right = std::move(values.back());
    values.pop_back();
    const Expr left = std::move(values.back());
    values.back() = build(pending.where, [&] {
      switch (pending.is.op) {  // these mean logic on booleans, which apply() knows nothing of
        case Op::bit_and:
          return left & right;
        case Op::bit_or:
          return left | right;
        case Op::bit_xor:
          return left ^ right;
        default:
          return apply(pending.is.op, {left, right});
      }
    });
  }

  Expr unary() {
    std::vector<Token> prefixes;
    while (at("-") || at("+") || at("!") || at("~")) {
      if (depth_ + static_cast<int>(prefixes.size()) >= ModLimits::max_nesting) {
        source_.fail(token_.span, attnc::format("nested deeper than {} levels", ModLimits::max_nesting));
      }
      prefixes.push_back(take());
    }
    // A minus belongs to its literal: -2147483648 is an i32, as in C++ code that traces it.
    const bool is_number = token_.kind == Token::Kind::integer || token_.kind == Token::Kind::real;
    const bool negative = is_number && !prefixes.empty() && source_[prefixes.back().span] == "-";
    if (negative) prefixes.pop_back();
    depth_ += static_cast<int>(prefixes.size());
    Expr value = is_number ? number(negative) : primary();
    depth_ -= static_cast<int>(prefixes.size());
    for (; !prefixes.empty(); prefixes.pop_back()) {
      const Span where = prefixes.back().span;
      const char prefix = source_[where][0];
      if (prefix == '+') continue;
      value = build(where, [&] { return prefix == '-' ? -value : prefix == '!' ? !value : ~value; });
    }
    return value;
  }

  Expr number(bool negative) {
    const Token token = take();
    if (token.kind == Token::Kind::real) return literal(negative ? -token.real : token.real, Type::f32);
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (token.magnitude > largest + (negative ? 1 : 0)) {
      source_.fail(token.span, attnc::format("{} does not fit i64", in_quotes(source_[token.span])));
    }
    const auto value = static_cast<std::int64_t>(negative ? ~token.magnitude + 1 : token.magnitude);
    const bool fits_i32 =
        value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max();
    return literal(value, fits_i32 ? Type::i32 : Type::i64);
  }

  Expr primary() {
    if (token_.kind == Token::Kind::name) return named();
    if (!at("(")) fail_expected("expected a value");
    const Token open = take();
    Nesting nesting(*this, open.span);
    const Expr value = expression();
    close(")", open);
    return value;
  }

  Expr named() {
    const Token token = take();
    const std::string_view name = source_[token.span];
    if (at("(")) return call(token.span, name);
    if (at("[")) return load(token.span, name);
    if (const Expr* value = names_.find_value(name)) return *value;
    if (const Buffer* buffer = names_.find_buffer(name)) {
      if (buffer->decl().rank == 0) return build(token.span, [&] { return buffer->at({}); });
      source_.fail(token.span, attnc::format("'{0}' is a buffer of rank {1}; index it, as in {0}[{2}]", name,
                                             buffer->decl().rank, example_indices(buffer->decl().rank)));
    }
    if (find_function(name)) source_.fail(token.span, attnc::format("'{}' is a function; call it with '('", name));
    if (name == "score") source_.fail(token.span, "a mask does not see 'score'; it sees b, h, q_idx and kv_idx");
    source_.fail(token.span, names_.explain_unknown(name, false, false));
  }

  static std::string example_indices(int rank) {
    constexpr std::string_view absolute[] = {"b", "h", "q_idx", "kv_idx"};
    if (rank == 1) return "kv_idx";
    if (rank == 2) return "h, kv_idx";
    std::string text;
    for (int i = 0; i < rank; ++i) text += attnc::format("{}{}", i ? ", " : "", i < 4 ? absolute[i] : "0");
    return text;
  }

  std::vector<Expr> arguments(std::string_view closing) {
    const Token open = take();
    Nesting nesting(*this, open.span);
    std::vector<Expr> values;
    if (!at(closing)) {
      values.push_back(expression());
      while (at(",")) {
        take();
        values.push_back(expression());
      }
    }
    close(closing, open);
    return values;
  }

  Expr call(Span where, std::string_view name) {
    const auto function = find_function(name);
    if (!function) {
      if (names_.find_buffer(name)) source_.fail(where, attnc::format("'{}' is a buffer; index it with '['", name));
      if (names_.find_value(name)) source_.fail(where, attnc::format("'{}' is a value, not a function", name));
      source_.fail(where, names_.explain_unknown(name, true, false));
    }
    const std::vector<Expr> values = arguments(")");
    if (static_cast<int>(values.size()) != function->arity) {
      source_.fail(where, attnc::format("'{}' takes {} argument{}, got {}", name, function->arity,
                                        function->arity == 1 ? "" : "s", values.size()));
    }
    return build(where, [&] {
      switch (function->kind) {
        case Function::Kind::clamp:
          return clamp(values[0], values[1], values[2]);
        case Function::Kind::conversion:
          return cast(values[0], function->type);
        case Function::Kind::operation:
          break;
      }
      return apply(function->op, values);
    });
  }

  Expr load(Span where, std::string_view name) {
    const Buffer* buffer = names_.find_buffer(name);
    if (!buffer) {
      if (names_.find_value(name))
        source_.fail(where, attnc::format("'{}' is a value; only buffers are indexed", name));
      if (find_function(name)) source_.fail(where, attnc::format("'{}' is a function; call it with '('", name));
      source_.fail(where, names_.explain_unknown(name, false, true));
    }
    const std::vector<Expr> indices = arguments("]");
    if (at("[")) source_.fail(token_.span, attnc::format("indices share one pair of brackets, as in {}[i, j]", name));
    if (static_cast<int>(indices.size()) != buffer->decl().rank) {
      source_.fail(where, attnc::format("buffer '{}' has rank {}, got {} {}", name, buffer->decl().rank, indices.size(),
                                        indices.size() == 1 ? "index" : "indices"));
    }
    return build(where, [&] { return buffer->at(indices); });
  }

  void close(std::string_view closing, const Token& open) {
    if (!at(closing)) {
      fail_expected(attnc::format("expected '{}' for the '{}' at {}", closing, source_[open.span],
                                  source_.place(open.span.begin)));
    }
    take();
  }

  [[noreturn]] void fail_expected(const std::string& expected) {
    if (token_.kind == Token::Kind::name) {
      if (const std::string foreign = foreign_spelling(spelling()); !foreign.empty()) {
        source_.fail(token_.span, foreign);
      }
    }
    source_.fail(token_.span, attnc::format("{}, found {}", expected, found()));
  }

  /// The whole expression was read and something is left.
  [[noreturn]] void fail_after_operand() {
    if (at(")") || at("]")) source_.fail(token_.span, attnc::format("this '{}' closes nothing", spelling()));
    if (at(":")) source_.fail(token_.span, "this ':' belongs to no '?'");
    if (at(",")) source_.fail(token_.span, "',' stands only between arguments and indices");
    if (at("[")) source_.fail(token_.span, "only buffers are indexed");
    fail_expected("expected an operator");
  }

  const Source& source_;
  const Names& names_;
  Lexer lexer_;
  Token token_;
  int depth_ = 0;
  int operations_ = 0;
};

}  // namespace
}  // namespace text

Expr parse_expression(std::string_view text, const Captures& captures, bool allow_score, std::string_view what) {
  if (text.size() > static_cast<std::size_t>(ModLimits::max_text_bytes)) {
    throw Error(ErrorCode::invalid_expression, attnc::format("{}: the expression has {} bytes, over the limit of {}",
                                                             what, text.size(), ModLimits::max_text_bytes));
  }
  const text::Source source(text, what);
  const text::Names names(captures, allow_score, what);
  return text::Parser(source, names).whole();
}

ScoreMod score_mod(std::string_view text, const Captures& captures) {
  return ScoreMod(parse_expression(text, captures, true, "score_mod"));
}

MaskMod mask_mod(std::string_view text, const Captures& captures) {
  const Expr result = parse_expression(text, captures, false, "mask_mod");
  if (result.type() == Type::f32) {
    std::size_t begin = 0;
    while (text[begin] == ' ' || text[begin] == '\t' || text[begin] == '\n' || text[begin] == '\r') ++begin;
    text::Source(text, "mask_mod")
        .fail({begin, text.size()}, "a mask is true or false, and this is an f32; compare it");
  }
  return MaskMod(result);
}

}  // namespace attnc
