// SPDX-License-Identifier: Apache-2.0
// A bitmap font of 5 x 7 dots (9 with descenders) for the pictures' labels.
#pragma once

namespace attnc::cli::font {

inline constexpr int columns = 5;
inline constexpr int ascent = 7;   ///< rows of capitals and digits
inline constexpr int rows = 9;     ///< two more for descenders
inline constexpr int advance = 6;  ///< columns from one character to the next

/// Whether the character has a dot there. Characters outside printable ASCII look like '?'.
bool dot(char character, int row, int column);

}  // namespace attnc::cli::font
