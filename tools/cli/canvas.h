// SPDX-License-Identifier: Apache-2.0
// A small picture to draw on: rectangles, text, PNG.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "output_file.h"

namespace attnc::cli {

struct Rgb {
  std::uint8_t r = 0, g = 0, b = 0;
};

class Canvas {
 public:
  Canvas(int width, int height, Rgb background);
  int width() const { return width_; }
  int height() const { return height_; }

  void set(int x, int y, Rgb color) {
    if (x >= 0 && x < width_ && y >= 0 && y < height_)
      pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)] = color;
  }
  Rgb get(int x, int y) const {
    return pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)];
  }
  /// The part inside the canvas.
  void fill(int x, int y, int width, int height, Rgb color);
  /// A frame of one pixel around the rectangle, inside it.
  void frame(int x, int y, int width, int height, Rgb color);

  /// Text with its top left corner at (x, y), each dot of the font `scale` pixels wide. Other than printable ASCII is
  /// '?'.
  void text(int x, int y, std::string_view text, int scale, Rgb color);
  /// Rotated by 90 degrees, read from bottom to top; (x, y) is the top left corner of the rotated text.
  void text_upwards(int x, int y, std::string_view text, int scale, Rgb color);
  static int text_width(std::string_view text, int scale);
  static int text_height(int scale);  ///< of capitals and digits, without descenders

  /// Throws Error(io).
  void write_png(const OutputFile& file) const;

 private:
  int width_, height_;
  std::vector<Rgb> pixels_;
};

}  // namespace attnc::cli
