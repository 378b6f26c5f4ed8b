// SPDX-License-Identifier: Apache-2.0
// std::source_location for compilers that lack it (Clang 14 with libstdc++).
#pragma once

namespace attnc {

/// Where a call stands. As a default argument, `SourceLocation::current()` is the caller's place.
struct SourceLocation {
  const char* file = "";
  unsigned line = 0;

  static constexpr SourceLocation current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

}  // namespace attnc
