// SPDX-License-Identifier: Apache-2.0
#include "canvas.h"

#include <png.h>

#include <algorithm>

#include "dsl/error.h"
#include "font.h"

namespace attnc::cli {

Canvas::Canvas(int width, int height, Rgb background)
    : width_(width),
      height_(height),
      pixels_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), background) {}

void Canvas::fill(int x, int y, int width, int height, Rgb color) {
  for (int row = std::max(y, 0); row < std::min(y + height, height_); ++row)
    for (int column = std::max(x, 0); column < std::min(x + width, width_); ++column) set(column, row, color);
}

void Canvas::frame(int x, int y, int width, int height, Rgb color) {
  fill(x, y, width, 1, color);
  fill(x, y + height - 1, width, 1, color);
  fill(x, y, 1, height, color);
  fill(x + width - 1, y, 1, height, color);
}

int Canvas::text_width(std::string_view text, int scale) {
  return text.empty() ? 0 : (static_cast<int>(text.size()) * font::advance - 1) * scale;
}

int Canvas::text_height(int scale) { return font::ascent * scale; }

void Canvas::text(int x, int y, std::string_view text, int scale, Rgb color) {
  for (const char c : text) {
    for (int row = 0; row < font::rows; ++row)
      for (int column = 0; column < font::columns; ++column)
        if (font::dot(c, row, column)) fill(x + column * scale, y + row * scale, scale, scale, color);
    x += font::advance * scale;
  }
}

void Canvas::text_upwards(int x, int y, std::string_view text, int scale, Rgb color) {
  int bottom = y + text_width(text, scale);
  for (const char c : text) {
    for (int row = 0; row < font::rows; ++row)
      for (int column = 0; column < font::columns; ++column)
        if (font::dot(c, row, column)) fill(x + row * scale, bottom - (column + 1) * scale, scale, scale, color);
    bottom -= font::advance * scale;
  }
}

void Canvas::write_png(const OutputFile& file) const {
  static_assert(sizeof(Rgb) == 3);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width_);
  image.height = static_cast<png_uint_32>(height_);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t bytes = 0;
  std::vector<std::byte> encoded;
  bool done = png_image_write_to_memory(&image, nullptr, &bytes, 0, pixels_.data(), 0, nullptr) != 0;
  if (done) {
    encoded.resize(bytes);
    done = png_image_write_to_memory(&image, encoded.data(), &bytes, 0, pixels_.data(), 0, nullptr) != 0;
  }
  if (!done) throw Error(ErrorCode::internal, std::string("the picture could not be encoded: ") + image.message);
  encoded.resize(bytes);
  file.write([&](const OutputFile::Sink& sink) { sink(encoded); });
}

}  // namespace attnc::cli
