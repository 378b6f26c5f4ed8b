// SPDX-License-Identifier: Apache-2.0
// Text from format strings in fmt's syntax, checked when compiled. fmt's own code is compiled once, in format.cpp, not
// in every file that makes a message (which took half of the build), and nothing that embeds attnc has to link fmt.
#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace attnc {

/// The text of `arguments` laid out by `text`; what the templates below end in.
std::string vformat(fmt::string_view text, fmt::format_args arguments);

template <class... Args>
std::string format(fmt::format_string<Args...> text, Args&&... arguments) {
  return attnc::vformat(text, fmt::make_format_args(arguments...));
}

template <class... Args>
void append(std::string& out, fmt::format_string<Args...> text, Args&&... arguments) {
  out += attnc::vformat(text, fmt::make_format_args(arguments...));
}

/// For tools, tests and benchmarks: the library itself prints nothing.
template <class... Args>
void print(std::FILE* file, fmt::format_string<Args...> text, Args&&... arguments) {
  std::fputs(attnc::vformat(text, fmt::make_format_args(arguments...)).c_str(), file);
}

/// The items of [first, last), strings or numbers, with `separator` between them.
template <class Iterator>
std::string join(Iterator first, Iterator last, std::string_view separator) {
  std::string text;
  for (Iterator item = first; item != last; ++item) {
    if (item != first) text += separator;
    attnc::append(text, "{}", *item);
  }
  return text;
}

template <class Range>
std::string join(const Range& items, std::string_view separator) {
  return attnc::join(items.begin(), items.end(), separator);
}

}  // namespace attnc
