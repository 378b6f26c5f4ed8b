// SPDX-License-Identifier: Apache-2.0
// Tokens of the text form. Internal: not installed.
#pragma once

#include <cstdint>

#include "text_source.h"

namespace attnc::text {

struct Token {
  enum class Kind : std::uint8_t {
    end,
    name,     ///< [A-Za-z_][A-Za-z0-9_]*
    integer,  ///< decimal or 0x; `magnitude` holds it
    real,     ///< `real` holds it, finite
    symbol,   ///< an operator of ops.def, or one of ? : ( ) [ ] ,
  };
  Kind kind = Kind::end;
  Span span;
  std::uint64_t magnitude = 0;
  double real = 0;
};

/// Reads one token at a time. Throws Error(invalid_expression) with a caret for what is no token.
class Lexer {
 public:
  explicit Lexer(const Source& source) : source_(source) {}
  Token next();

 private:
  Token number();
  Token symbol();
  [[noreturn]] void fail_character() const;

  const Source& source_;
  std::size_t at_ = 0;
};

bool is_name(std::string_view text);

}  // namespace attnc::text
