// SPDX-License-Identifier: Apache-2.0
// The text of a mod and how its errors are shown: reason, line, caret. Internal: not installed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace attnc::text {

/// Bytes [begin, end) of the text.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The text being parsed and the name its errors carry ("score_mod").
class Source {
 public:
  Source(std::string_view text, std::string_view what) : text_(text), what_(what) {}

  std::string_view text() const { return text_; }
  std::string_view operator[](Span span) const { return text_.substr(span.begin, span.end - span.begin); }

  /// "line:column" of a byte, both from 1. A column is a character, not a byte.
  std::string place(std::size_t byte) const;

  /// Throws Error(invalid_expression):
  ///   score_mod:1:12: unknown name 'scor'; did you mean 'score'?
  ///     1 | cap * tanh(scor / cap)
  ///       |            ^~~~
  /// A long line is cut around the caret. Only printable ASCII of the text is shown; anything else becomes '?'.
  [[noreturn]] void fail(Span where, const std::string& reason) const;

 private:
  std::string_view text_;
  std::string_view what_;
};

/// `bytes` in quotes, safe to print on a terminal: control and non-ASCII bytes as \xNN, cut when long.
std::string in_quotes(std::string_view bytes);

/// Bytes of the UTF-8 character at `byte`, and its code point. A malformed one has length 1 and code point -1.
struct Character {
  std::size_t length = 1;
  long code_point = -1;
};
Character character_at(std::string_view text, std::size_t byte);

}  // namespace attnc::text
