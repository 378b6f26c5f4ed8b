// SPDX-License-Identifier: Apache-2.0
#include "text_source.h"

#include <algorithm>

#include "dsl/format.h"
#include "error.h"

namespace attnc::text {
namespace {

/// Columns of the excerpt before it is cut; with the gutter it still fits a 100-column terminal.
constexpr std::size_t max_excerpt_columns = 88;
constexpr std::size_t max_quoted_bytes = 40;

bool is_printable_ascii(char c) { return c >= 0x20 && c < 0x7f; }

/// First and one-past-last byte of the line that holds `byte`.
Span line_around(std::string_view text, std::size_t byte) {
  byte = std::min(byte, text.size());
  std::size_t begin = byte;
  while (begin > 0 && text[begin - 1] != '\n') --begin;
  std::size_t end = byte;
  while (end < text.size() && text[end] != '\n') ++end;
  return {begin, end};
}

}  // namespace

Character character_at(std::string_view text, std::size_t byte) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[byte + i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {1, lead};
  const std::size_t length = lead >= 0xf0 && lead < 0xf8 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (length == 0 || lead >= 0xf8 || byte + length > text.size()) return {1, -1};
  long code_point = lead & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return {1, -1};
    code_point = code_point << 6 | (at(i) & 0x3f);
  }
  return {length, code_point};
}

std::string in_quotes(std::string_view bytes) {
  std::string out = "'";
  for (char c : bytes.substr(0, max_quoted_bytes)) {
    if (is_printable_ascii(c)) {
      out += c;
    } else {
      out += attnc::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (bytes.size() > max_quoted_bytes) out += "...";
  return out + "'";
}

std::string Source::place(std::size_t byte) const {
  byte = std::min(byte, text_.size());
  const auto line = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(byte), '\n') + 1;
  std::size_t column = 1;
  for (std::size_t i = line_around(text_, byte).begin; i < byte; i += character_at(text_, i).length) ++column;
  return attnc::format("{}:{}", line, column);
}

void Source::fail(Span where, const std::string& reason) const {
  where.begin = std::min(where.begin, text_.size());
  const Span line = line_around(text_, where.begin);
  where.end = std::clamp(where.end, where.begin, line.end);

  // One column per character, so that the caret stands under what it means.
  std::string shown;
  std::size_t caret = 0;
  std::size_t underline_end = 0;
  for (std::size_t i = line.begin; i < line.end; i += character_at(text_, i).length) {
    if (i <= where.begin) caret = shown.size();
    const char c = text_[i];
    if (c == '\r' && i + 1 == line.end) break;
    shown += c == '\t' ? ' ' : is_printable_ascii(c) ? c : '?';
    if (i < where.end) underline_end = shown.size();
  }
  if (where.begin >= line.end) caret = shown.size();
  underline_end = std::max(underline_end, caret + 1);

  std::size_t first = 0;
  std::string before, after;
  if (shown.size() > max_excerpt_columns) {
    const std::size_t lead = max_excerpt_columns / 2;
    first = std::min(caret > lead ? caret - lead : 0, shown.size() - max_excerpt_columns);
    if (first > 0) before = "...";
    if (first + max_excerpt_columns < shown.size()) after = "...";
    shown = shown.substr(first, max_excerpt_columns);
  }
  underline_end = std::min(underline_end, std::max(first + shown.size(), caret + 1));
  while (!shown.empty() && shown.back() == ' ' && after.empty()) shown.pop_back();

  const std::string at = place(where.begin);
  const std::string number = at.substr(0, at.find(':'));
  throw Error(ErrorCode::invalid_expression,
              attnc::format("{}:{}: {}\n  {} | {}{}{}\n  {} | {}^{}", what_, at, reason, number, before, shown, after,
                            std::string(number.size(), ' '), std::string(before.size() + caret - first, ' '),
                            std::string(underline_end - caret - 1, '~')));
}

}  // namespace attnc::text
