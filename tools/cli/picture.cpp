// SPDX-License-Identifier: Apache-2.0
#include "picture.h"

#include <algorithm>
#include <cstdint>

#include "compiler/ir/interpret.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "runtime/validate.h"

namespace attnc::cli {
namespace {

// Blue and orange stay apart for every kind of colour vision, and in grey.
constexpr Rgb full_color{38, 84, 124}, kept_color{233, 141, 42}, dropped_color{253, 232, 203},
    empty_color{242, 242, 239};
constexpr Rgb paper{255, 255, 255}, ink{32, 33, 36}, faint_ink{105, 108, 113}, axis_color{130, 133, 138};

constexpr int longest_side = 832;  // pixels of the longer axis
constexpr int shortest_side = 48;  // a sequence of one token is still visible
constexpr int margin = 26;
constexpr int font_scale = 2;
constexpr int tick_length = 6;
constexpr int max_ticks = 8;
constexpr int max_samples = 3;  // elements a pixel, along each axis
constexpr int grid_from = 7;    // pixels a block needs before its edges are drawn

enum BlockKind : std::uint8_t { empty_block, partial_block, full_block };

/// Asks the mask about many elements of one row at a time.
class Sampler {
 public:
  Sampler(const MaskMod& mask, const BoundMods::Values& values, const BlockMask& tables, int b, int h)
      : declared_(ir::lower({}, mask)),
        program_(passes::canonicalize(declared_)),
        bindings_(bind_captures(program_, declared_, values.params, values.buffers, "the picture")),
        interpreter_(program_, bindings_) {
    context_.b = b;
    context_.h = h;
    context_.q_len = tables.q_len();
    context_.kv_len = tables.kv_len();
  }
  /// keeps[i] for (q, kv[i]).
  void row(std::int32_t q, const std::vector<std::int32_t>& kv, std::vector<std::uint8_t>& keeps) {
    keeps.assign(kv.size(), 1);
    if (program_.mask == ir::no_value || kv.empty()) return;
    queries_.assign(kv.size(), q);
    interpreter_.run(context_, static_cast<int>(kv.size()), queries_.data(), kv.data(), nullptr, nullptr, keeps.data());
  }

 private:
  ir::Program declared_, program_;
  ir::Bindings bindings_;
  ir::Interpreter interpreter_;
  ir::LaneContext context_;
  std::vector<std::int32_t> queries_;
};

/// An axis of `length` elements over `pixels` pixels.
struct Axis {
  int length = 1, pixels = 1, block = 1;
  int element(double pixel) const { return std::min(length - 1, static_cast<int>(pixel * length / pixels)); }
  int pixel(std::int64_t element) const { return static_cast<int>(element * pixels / length); }
  int samples() const { return std::clamp((length + pixels - 1) / pixels, 1, max_samples); }
};

/// Distance of the ticks: a power of two if that divides the length, else 1, 2 or 5 times a power of ten.
int tick_step(int length) {
  const int least = (length + max_ticks - 1) / max_ticks;
  int power_of_two = 1;
  while (power_of_two < least) power_of_two *= 2;
  if (length % power_of_two == 0) return power_of_two;
  for (std::int64_t ten = 1;; ten *= 10)
    for (const int digit : {1, 2, 5})
      if (digit * ten >= least) return static_cast<int>(digit * ten);
}

/// Ticks at multiples of the step, and at the end unless that would crowd the last of them.
std::vector<int> ticks_of(int length) {
  std::vector<int> ticks;
  const int step = tick_step(length);
  for (std::int64_t at = 0; at <= length; at += step) ticks.push_back(static_cast<int>(at));
  if (ticks.back() < length) {
    if (ticks.size() > 1 && length - ticks.back() < step / 2) ticks.pop_back();
    ticks.push_back(length);
  }
  return ticks;
}

struct ColorSum {
  int r = 0, g = 0, b = 0;
  void add(Rgb color) { r += color.r, g += color.g, b += color.b; }
  Rgb mean(int count) const {
    return {static_cast<std::uint8_t>(r / count), static_cast<std::uint8_t>(g / count),
            static_cast<std::uint8_t>(b / count)};
  }
};

void draw_blocks(Canvas& canvas, int left, int top, const Axis& q, const Axis& kv,
                 const std::vector<std::uint8_t>& kinds, Sampler& sampler) {
  const int kv_blocks = (kv.length + kv.block - 1) / kv.block;
  const int rows = q.samples(), columns = kv.samples();
  std::vector<ColorSum> sums(static_cast<std::size_t>(kv.pixels));
  std::vector<std::int32_t> asked;
  std::vector<std::size_t> asked_pixel;
  std::vector<std::uint8_t> keeps;
  for (int y = 0; y < q.pixels; ++y) {
    std::fill(sums.begin(), sums.end(), ColorSum{});
    for (int i = 0; i < rows; ++i) {
      const int query = q.element(y + (i + 0.5) / rows);
      const std::uint8_t* kind_row =
          kinds.data() + static_cast<std::size_t>(query / q.block) * static_cast<std::size_t>(kv_blocks);
      asked.clear();
      asked_pixel.clear();
      for (int x = 0; x < kv.pixels; ++x)
        for (int j = 0; j < columns; ++j) {
          const int key = kv.element(x + (j + 0.5) / columns);
          const std::uint8_t kind = kind_row[key / kv.block];
          if (kind == partial_block) {
            asked.push_back(key);
            asked_pixel.push_back(static_cast<std::size_t>(x));
          } else {
            sums[static_cast<std::size_t>(x)].add(kind == full_block ? full_color : empty_color);
          }
        }
      sampler.row(query, asked, keeps);
      for (std::size_t k = 0; k < asked.size(); ++k)
        sums[asked_pixel[k]].add(keeps[k] != 0 ? kept_color : dropped_color);
    }
    for (int x = 0; x < kv.pixels; ++x)
      canvas.set(left + x, top + y, sums[static_cast<std::size_t>(x)].mean(rows * columns));
  }
}

/// Block edges: a shade darker than what they cross.
void draw_grid(Canvas& canvas, int left, int top, const Axis& q, const Axis& kv) {
  const auto darken = [&](int x, int y) {
    const Rgb c = canvas.get(x, y);
    const auto shade = [](std::uint8_t v) { return static_cast<std::uint8_t>(v * 88 / 100); };
    canvas.set(x, y, {shade(c.r), shade(c.g), shade(c.b)});
  };
  if (static_cast<double>(kv.block) * kv.pixels / kv.length >= grid_from)
    for (std::int64_t edge = kv.block; edge < kv.length; edge += kv.block)
      for (int y = 0; y < q.pixels; ++y) darken(left + kv.pixel(edge), top + y);
  if (static_cast<double>(q.block) * q.pixels / q.length >= grid_from)
    for (std::int64_t edge = q.block; edge < q.length; edge += q.block)
      for (int x = 0; x < kv.pixels; ++x) darken(left + x, top + q.pixel(edge));
}

/// Lines of at most `pixels`, broken at spaces where there are any; what does not fit the last of them becomes "...".
std::vector<std::string> wrap(const std::string& text, int pixels, std::size_t max_lines) {
  const int advance = Canvas::text_width("ab", font_scale) - Canvas::text_width("a", font_scale);
  const auto fits = static_cast<std::size_t>(std::max(8, (pixels + font_scale) / advance));
  std::string rest;
  for (const char c : text) rest += c == '\n' || c == '\t' || c == '\r' ? ' ' : c;
  std::vector<std::string> lines;
  while (rest.size() > fits && lines.size() + 1 < max_lines) {
    std::size_t end = rest.rfind(' ', fits);
    if (end == std::string::npos || end < fits / 2) end = fits;
    lines.push_back(rest.substr(0, end));
    rest.erase(0, rest[end] == ' ' ? end + 1 : end);
  }
  lines.push_back(rest.size() <= fits ? rest : rest.substr(0, fits - 3) + "...");
  return lines;
}

struct LegendEntry {
  Rgb color, second;
  std::string label;
};

int legend_width(const std::vector<LegendEntry>& entries, int swatch) {
  int width = 0;
  for (const LegendEntry& entry : entries) width += swatch + 10 + Canvas::text_width(entry.label, font_scale) + 34;
  return width - 34;
}

}  // namespace

Canvas draw_mask(const BlockMask& tables, const MaskMod& mask, const BoundMods::Values& values, int b, int h,
                 const std::string& title, const std::string& remark) {
  const BlockMask one = tables.slice(tables.batch() == 1 ? 0 : b, tables.heads() == 1 ? 0 : h);
  const double longest = std::max(one.q_len(), one.kv_len());
  const auto side = [&](int length) {
    // A whole number of pixels an element where elements are that large.
    const int exact = std::max(1, static_cast<int>(length * (longest_side / longest)));
    const int whole = longest <= longest_side ? length * static_cast<int>(longest_side / longest) : exact;
    return std::max(shortest_side, whole);
  };
  const Axis q{one.q_len(), side(one.q_len()), one.block_size().q};
  const Axis kv{one.kv_len(), side(one.kv_len()), one.block_size().kv};

  const double blocks = static_cast<double>(one.q_blocks()) * one.kv_blocks();
  const auto share = [&](const char* name, std::int64_t count) {
    return attnc::format("{} {} ({:.1f}%)", name, count, 100 * static_cast<double>(count) / blocks);
  };
  const std::vector<LegendEntry> legend = {{full_color, full_color, share("full", one.full_blocks())},
                                           {kept_color, dropped_color, share("partial", one.partial_blocks())},
                                           {empty_color, empty_color, share("empty", one.empty_blocks())}};
  std::string facts = attnc::format("{:.1f}% sparse   {} x {} tokens in blocks of {} x {}", one.sparsity(), one.q_len(),
                                    one.kv_len(), one.block_size().q, one.block_size().kv);
  if (tables.batch() > 1 || tables.heads() > 1) facts += attnc::format("   b {} h {}", b, h);
  if (!remark.empty()) facts += "   " + remark;

  const int line = Canvas::text_height(font_scale);
  const int swatch = line + 4;
  const int q_label_width = Canvas::text_width(std::to_string(q.length), font_scale);
  const int left = margin + line + 20 + q_label_width + tick_length + 6;

  const int right_margin = margin + Canvas::text_width(std::to_string(kv.length), font_scale) / 2;
  const int wanted =
      std::max(legend_width(legend, swatch), std::min(Canvas::text_width(facts, font_scale), longest_side));
  const int width = std::max(left + kv.pixels + right_margin, margin + wanted + margin);
  const std::vector<std::string> title_lines = wrap(title, width - 2 * margin, 3);
  const int line_distance = line + 10;
  const int facts_top = margin + static_cast<int>(title_lines.size()) * line_distance + 4;
  const int top = facts_top + line + 26 + line + 12 + line + tick_length + 6;
  const int legend_top = top + q.pixels + 26;
  Canvas canvas(width, legend_top + swatch + margin, paper);

  for (std::size_t i = 0; i < title_lines.size(); ++i)
    canvas.text(margin, margin + static_cast<int>(i) * line_distance, title_lines[i], font_scale, ink);
  canvas.text(margin, facts_top, wrap(facts, width - 2 * margin, 1)[0], font_scale, faint_ink);

  Sampler sampler(mask, values, one, b, h);
  draw_blocks(canvas, left, top, q, kv, one.to_dense(), sampler);
  draw_grid(canvas, left, top, q, kv);
  canvas.frame(left - 1, top - 1, kv.pixels + 2, q.pixels + 2, axis_color);

  const std::string kv_name = "kv_idx", q_name = "q_idx";
  canvas.text(left + std::max(0, (kv.pixels - Canvas::text_width(kv_name, font_scale)) / 2),
              top - tick_length - 6 - line - 12 - line, kv_name, font_scale, ink);
  canvas.text_upwards(margin, top + std::max(0, (q.pixels - Canvas::text_width(q_name, font_scale)) / 2), q_name,
                      font_scale, ink);
  int last_end = -1000;
  for (const int tick : ticks_of(kv.length)) {
    const int x = left + std::min(kv.pixel(tick), kv.pixels - 1);
    const std::string label = std::to_string(tick);
    const int start = x - Canvas::text_width(label, font_scale) / 2;
    if (start < last_end + 8) continue;  // no room: leave it out
    last_end = start + Canvas::text_width(label, font_scale);
    canvas.fill(x, top - 1 - tick_length, 1, tick_length, axis_color);
    canvas.text(start, top - tick_length - 6 - line, label, font_scale, faint_ink);
  }
  int last_bottom = -1000;
  for (const int tick : ticks_of(q.length)) {
    const int y = top + std::min(q.pixel(tick), q.pixels - 1);
    const std::string label = std::to_string(tick);
    if (y - line / 2 < last_bottom + 4) continue;
    last_bottom = y + line / 2;
    canvas.fill(left - 1 - tick_length, y, tick_length, 1, axis_color);
    canvas.text(left - tick_length - 8 - Canvas::text_width(label, font_scale), y - line / 2, label, font_scale,
                faint_ink);
  }

  int x = margin;
  for (const LegendEntry& entry : legend) {
    for (int row = 0; row < swatch; ++row)
      for (int column = 0; column < swatch; ++column)
        canvas.set(x + column, legend_top + row, column <= row ? entry.color : entry.second);
    canvas.frame(x, legend_top, swatch, swatch, axis_color);
    canvas.text(x + swatch + 10, legend_top + 2, entry.label, font_scale, ink);
    x += swatch + 10 + Canvas::text_width(entry.label, font_scale) + 34;
  }
  return canvas;
}

}  // namespace attnc::cli
