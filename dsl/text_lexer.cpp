// SPDX-License-Identifier: Apache-2.0
#include "text_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "dsl/format.h"
#include "ops.h"

namespace attnc::text {
namespace {

// Not <cctype>: the locale has no say in what an expression means.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

/// Length of the longest operator or punctuator that `text` starts with; 0 if none.
std::size_t symbol_length(std::string_view text) {
  std::size_t longest = 0;
  for (int i = 0; i < op_count; ++i) {
    const std::string_view spelling = info(static_cast<Op>(i)).text;
    if (spelling.empty() || is_name_start(spelling[0]) || text.substr(0, spelling.size()) != spelling) continue;
    longest = std::max(longest, spelling.size());
  }
  if (longest == 0 && std::string_view("?:()[],").find(text[0]) != std::string_view::npos) longest = 1;
  return longest;
}

/// Spellings of other languages and of mathematics, and what to write here.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> foreign_symbols = {{
    {"**", "there is no '**'; write pow(x, y)"},
    {"//", "there is no '//'; '/' on two integers already rounds down"},
    {"->", "there is no '->'; a mod is one expression"},
    {"=", "'=' assigns, and nothing here can be assigned; did you mean '=='?"},
    {";", "a mod is one expression, without ';'"},
    {"{", "a mod is one expression, without '{'; group with '('"},
    {"}", "a mod is one expression, without '}'; group with ')'"},
    {".", "nothing here has members; functions stand alone, as in tanh(x)"},
    {"\"", "there are no strings in an expression"},
    {"'", "there are no characters in an expression"},
}};

constexpr std::array<std::pair<long, std::string_view>, 16> foreign_characters = {{
    {0x2264, "<="},
    {0x2265, ">="},
    {0x2260, "!="},
    {0x00d7, "*"},
    {0x00b7, "*"},
    {0x22c5, "*"},
    {0x2212, "-"},
    {0x2013, "-"},
    {0x2014, "-"},
    {0x00f7, "/"},
    {0x2227, "&&"},
    {0x2228, "||"},
    {0x00ac, "!"},
    {0x221e, "inf"},
    {0xff08, "("},
    {0xff09, ")"},
}};

}  // namespace

bool is_name(std::string_view text) {
  return !text.empty() && is_name_start(text[0]) && std::all_of(text.begin(), text.end(), is_name_part);
}

Token Lexer::next() {
  const std::string_view text = source_.text();
  while (at_ < text.size() && std::string_view(" \t\r\n").find(text[at_]) != std::string_view::npos) ++at_;
  if (at_ == text.size()) return {Token::Kind::end, {at_, at_}};
  const char c = text[at_];
  if (is_digit(c) || (c == '.' && at_ + 1 < text.size() && is_digit(text[at_ + 1]))) return number();
  if (!is_name_start(c)) return symbol();
  const std::size_t begin = at_;
  while (at_ < text.size() && is_name_part(text[at_])) ++at_;
  return {Token::Kind::name, {begin, at_}};
}

Token Lexer::symbol() {
  const std::string_view rest = source_.text().substr(at_);
  for (const auto& [spelling, advice] : foreign_symbols) {
    const bool is_comparison = spelling == "=" && rest.substr(0, 2) == "==";
    if (!is_comparison && rest.substr(0, spelling.size()) == spelling) {
      source_.fail({at_, at_ + spelling.size()}, std::string(advice));
    }
  }
  const std::size_t length = symbol_length(rest);
  if (length == 0) fail_character();
  const Token token{Token::Kind::symbol, {at_, at_ + length}};
  at_ += length;
  return token;
}

void Lexer::fail_character() const {
  const Character character = character_at(source_.text(), at_);
  const Span span{at_, at_ + character.length};
  for (const auto& [code_point, spelling] : foreign_characters) {
    if (character.code_point == code_point) {
      source_.fail(span, attnc::format("U+{:04X} is not part of an expression; write '{}'", code_point, spelling));
    }
  }
  if (character.code_point == 0) source_.fail(span, "a NUL byte is not part of an expression");
  if (character.code_point < 0) {
    source_.fail(span, attnc::format("byte 0x{:02x} is not part of an expression (and not valid UTF-8)",
                                     static_cast<unsigned char>(source_.text()[at_])));
  }
  if (character.code_point < 0x20 || character.code_point == 0x7f) {
    source_.fail(span, attnc::format("control character 0x{:02x} is not part of an expression", character.code_point));
  }
  if (character.code_point >= 0x80) {
    source_.fail(span, attnc::format("U+{:04X} is not part of an expression; names are ASCII letters, digits and '_'",
                                     character.code_point));
  }
  source_.fail(span, attnc::format("{} is not part of an expression", in_quotes(source_[span])));
}

Token Lexer::number() {
  const std::string_view text = source_.text();
  const std::size_t begin = at_;
  const bool hex = text[at_] == '0' && at_ + 1 < text.size() && (text[at_ + 1] == 'x' || text[at_ + 1] == 'X');
  // All that could belong to one number, so that `1.2.3` and `12abc` are one error and not two tokens.
  while (at_ < text.size()) {
    const bool exponent_sign =
        !hex && (text[at_] == '+' || text[at_] == '-') && (text[at_ - 1] == 'e' || text[at_ - 1] == 'E');
    if (!is_name_part(text[at_]) && text[at_] != '.' && !(exponent_sign && at_ > begin)) break;
    ++at_;
  }
  const Span span{begin, at_};
  const std::string_view whole = source_[span];
  const auto bad = [&](std::string_view rule) { source_.fail(span, attnc::format("{} {}", in_quotes(whole), rule)); };

  if (hex || whole.find_first_of(".eE") == std::string_view::npos) {
    Token token{Token::Kind::integer, span};
    const std::string_view digits = hex ? whole.substr(2) : whole;
    if (!hex && digits.size() > 1 && digits[0] == '0' && is_digit(digits[1])) {
      bad("starts with 0; octal is not read here, write it without the leading 0");
    }
    const auto [end, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), token.magnitude, hex ? 16 : 10);
    if (status == std::errc::result_out_of_range) bad("does not fit i64");
    if (status != std::errc() || end != digits.data() + digits.size()) {
      bad("is not a number; integers are 12 or 0x1f (i64 where i32 is too small), floats 1.5 or 1e-3");
    }
    return token;
  }

  Token token{Token::Kind::real, span};
  std::string_view digits = whole;
  if (digits.back() == 'f') digits.remove_suffix(1);  // as a C++ lambda would spell it
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), token.real);
  if (end != digits.data() + digits.size() || status == std::errc::invalid_argument) {
    bad("is not a number; floats are 1.5 or 1e-3");
  }
  // Half an ulp past the largest float rounds to infinity.
  constexpr double first_infinite = 3.4028235677973366e38;
  const bool has_digit =
      digits.substr(0, digits.find_first_of("eE")).find_first_of("123456789") != std::string_view::npos;
  if (status == std::errc::result_out_of_range || token.real >= first_infinite ||
      (has_digit && static_cast<float>(token.real) == 0.0f)) {
    bad("is outside f32, whose magnitudes reach from 1.4e-45 to 3.4028235e38; infinity is 'inf'");
  }
  return token;
}

}  // namespace attnc::text
