// SPDX-License-Identifier: Apache-2.0
// Random expressions in both forms at once: the text a person would write and the nodes a lambda builds.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <utility>

#include "dsl/mods.h"

namespace attnc::testing {

/// An expression twice, and how tightly its text binds (C's precedence; 12 for what needs no brackets).
struct Twin {
  std::string text;
  Expr expr;
  int precedence = 12;
};

/// Draws from a seed; the same seed gives the same expression.
///
/// Floats are drawn so that folding is exact: literals are small multiples of 1/2, transcendental functions, products
/// and quotients always read the score, so nothing that rounds is ever computed at compile time.
class RandomMod {
 public:
  explicit RandomMod(std::uint64_t seed) : random_(seed) {}

  static Captures captures() {
    return {
        .params = {{"gain", Type::f32, 1.5}, {"window", Type::i32, 5, 5}, {"wide", Type::i64, 3e10, 30'000'000'000}},
        .buffers = {{"doc", DType::i32, 1}, {"table", DType::f32, 2}, {"flag", DType::boolean, 1}}};
  }

  Twin real(int depth) {
    if (depth <= 0)
      return pick(
          {[&] { return half(); }, [&] { return value("score", score_); }, [&] { return value("gain", gain_); }});
    switch (draw(9)) {
      case 0:
        return infix("+", real(depth - 1), real(depth - 1));
      case 1:
        return infix("-", real(depth - 1), real(depth - 1));
      case 2:
        return infix("*", infix("+", value("score", score_), half()), real(depth - 1));
      case 3:
        return infix("/", infix("-", real(depth - 1), value("score", score_)),
                     pick({[&] { return half(); }, [&] { return value("gain", gain_); }}));
      case 4:
        return function(transcendental(), infix("+", real(depth - 1), value("score", score_)));
      case 5:
        return function(exact(), real(depth - 1));
      case 6:
        return draw(2) ? call2("min", real(depth - 1), real(depth - 1))
                       : call2("max", real(depth - 1), real(depth - 1));
      case 7:
        return choose(boolean(depth - 1), real(depth - 1), real(depth - 1));
      default: {
        const Twin row = integer(depth - 1), column = integer(depth - 1);
        return {"table[" + row.text + ", " + column.text + "]", table_(row.expr, column.expr)};
      }
    }
  }

  Twin integer(int depth) {
    if (depth <= 0) {
      const std::array<std::pair<const char*, const Expr*>, 8> names = {{{"b", &b_},
                                                                         {"h", &h_},
                                                                         {"q_idx", &q_idx_},
                                                                         {"kv_idx", &kv_idx_},
                                                                         {"q_len", &q_len_},
                                                                         {"kv_len", &kv_len_},
                                                                         {"window", &window_},
                                                                         {"wide", &wide_}}};
      if (draw(3) == 0) return number();
      const auto& [name, expr] = names[draw(names.size())];
      return value(name, *expr);
    }
    switch (draw(6)) {
      case 0: {
        constexpr const char* symbols[] = {"+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^"};
        return infix(symbols[draw(10)], integer(depth - 1), integer(depth - 1));
      }
      case 1:
        return prefix(draw(2) ? "-" : "~", integer(depth - 1));
      case 2:
        return draw(2) ? call2("min", integer(depth - 1), integer(depth - 1))
                       : call2("max", integer(depth - 1), integer(depth - 1));
      case 3:
        return function(draw(2) ? "abs" : "sign", integer(depth - 1));
      case 4:
        return choose(boolean(depth - 1), integer(depth - 1), integer(depth - 1));
      default: {
        const Twin index = integer(depth - 1);
        return {"doc[" + index.text + "]", doc_[index.expr]};
      }
    }
  }

  Twin boolean(int depth) {
    if (depth <= 0) return draw(2) ? Twin{"true", Expr(true)} : Twin{"false", Expr(false)};
    switch (draw(5)) {
      case 0: {
        constexpr const char* symbols[] = {"==", "!=", "<", "<=", ">", ">="};
        return infix(symbols[draw(6)], integer(depth - 1), integer(depth - 1));
      }
      case 1: {
        constexpr const char* symbols[] = {"&&", "||", "&", "|", "^", "==", "!="};
        return infix(symbols[draw(7)], boolean(depth - 1), boolean(depth - 1));
      }
      case 2:
        return prefix(draw(2) ? "!" : "~", boolean(depth - 1));
      case 3:
        return choose(boolean(depth - 1), boolean(depth - 1), boolean(depth - 1));
      default: {
        const Twin index = integer(depth - 1);
        return {"flag[" + index.text + "]", flag_[index.expr]};
      }
    }
  }

  std::size_t draw(std::size_t count) { return std::uniform_int_distribution<std::size_t>(0, count - 1)(random_); }

 private:
  Twin pick(std::initializer_list<std::function<Twin()>> choices) { return choices.begin()[draw(choices.size())](); }

  static Twin value(const char* name, const Expr& expr) { return {name, expr}; }

  Twin half() {
    const int twice = static_cast<int>(draw(13)) - 6;
    const std::string text = (twice < 0 ? "-" : "") + std::to_string(std::abs(twice) / 2) + (twice % 2 ? ".5" : ".0");
    return {text, Expr(twice / 2.0), twice < 0 ? 11 : 12};
  }

  Twin number() {
    constexpr long long values[] = {0, 1, 2, 3, 7, 56, 64, 1024, 2147483647, 2147483648, 1'000'000'000'000};
    const long long value = values[draw(11)] * (draw(4) == 0 ? -1 : 1);
    return {std::to_string(value), Expr(value), value < 0 ? 11 : 12};
  }

  const char* transcendental() {
    constexpr const char* names[] = {"exp",  "exp2",    "log", "log2", "sqrt", "rsqrt",
                                     "tanh", "sigmoid", "sin", "cos",  "erf"};
    return names[draw(11)];
  }
  const char* exact() {
    constexpr const char* names[] = {"abs", "sign", "floor", "ceil", "round"};
    return names[draw(5)];
  }

  static std::string bracketed(const Twin& twin, int at_least) {
    return twin.precedence >= at_least ? twin.text : "(" + twin.text + ")";
  }

  /// Brackets only where C would need them, or where comparisons would chain.
  static Twin infix(const std::string& symbol, const Twin& a, const Twin& b) {
    int precedence = 0;
    const Expr expr = combine(symbol, a.expr, b.expr, precedence);
    const bool comparison = precedence == 6 || precedence == 7;
    return {bracketed(a, precedence + comparison) + " " + symbol + " " + bracketed(b, precedence + 1), expr,
            precedence};
  }

  static Expr combine(const std::string& symbol, const Expr& a, const Expr& b, int& precedence) {
    precedence = 10;
    if (symbol == "*") return a * b;
    if (symbol == "/") return a / b;
    if (symbol == "%") return a % b;
    precedence = 9;
    if (symbol == "+") return a + b;
    if (symbol == "-") return a - b;
    precedence = 8;
    if (symbol == "<<") return a << b;
    if (symbol == ">>") return a >> b;
    precedence = 7;
    if (symbol == "<") return a < b;
    if (symbol == "<=") return a <= b;
    if (symbol == ">") return a > b;
    if (symbol == ">=") return a >= b;
    precedence = 6;
    if (symbol == "==") return a == b;
    if (symbol == "!=") return a != b;
    precedence = 5;
    if (symbol == "&") return a & b;
    precedence = 4;
    if (symbol == "^") return a ^ b;
    precedence = 3;
    if (symbol == "|") return a | b;
    precedence = 2;
    if (symbol == "&&") return a && b;
    precedence = 1;
    return a || b;
  }

  static Twin prefix(const char* symbol, const Twin& a) {
    const Expr expr = *symbol == '-' ? -a.expr : *symbol == '~' ? ~a.expr : !a.expr;
    // A minus before digits would become part of the literal, which is another program.
    const bool digits = a.text[0] >= '0' && a.text[0] <= '9' && a.precedence == 12;
    return {symbol + (digits ? "(" + a.text + ")" : bracketed(a, 11)), expr, 11};
  }

  static Twin function(const std::string& name, const Twin& a) {
    const auto expr = [&]() -> Expr {
      for (int i = 0; i < op_count; ++i)
        if (info(static_cast<Op>(i)).mnemonic == name) return apply(static_cast<Op>(i), {a.expr});
      throw Error(ErrorCode::internal, name);
    };
    return {name + "(" + a.text + ")", expr()};
  }

  static Twin call2(const std::string& name, const Twin& a, const Twin& b) {
    return {name + "(" + a.text + ", " + b.text + ")", name == "min" ? min(a.expr, b.expr) : max(a.expr, b.expr)};
  }

  Twin choose(const Twin& c, const Twin& a, const Twin& b) {
    const Expr expr = where(c.expr, a.expr, b.expr);
    if (draw(2)) return {"where(" + c.text + ", " + a.text + ", " + b.text + ")", expr};
    return {bracketed(c, 1) + " ? " + a.text + " : " + b.text, expr, 0};
  }

  std::mt19937_64 random_;
  Expr score_ = input(Input::score), b_ = input(Input::b), h_ = input(Input::h), q_idx_ = input(Input::q_idx),
       kv_idx_ = input(Input::kv_idx), q_len_ = input(Input::q_len), kv_len_ = input(Input::kv_len),
       gain_ = param("gain", 1.5f), window_ = param("window", 5), wide_ = param("wide", 30'000'000'000LL);
  Buffer doc_ = buffer("doc", DType::i32), table_ = buffer("table", DType::f32, 2),
         flag_ = buffer("flag", DType::boolean);
};

}  // namespace attnc::testing
