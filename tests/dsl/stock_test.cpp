// SPDX-License-Identifier: Apache-2.0
// Every stock mod against its formula, written in plain C++.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "dsl/stock.h"
#include "tests/dsl/evaluate.h"

namespace attnc {
namespace {

using testing::Place;

constexpr int batch = 2, heads = 3, q_len = 23, kv_len = 30;

void expect_mask(const char* name, const MaskMod& mask, const std::function<bool(int b, int h, int q, int kv)>& formula,
                 const std::vector<ir::BoundBuffer>& buffers = {}) {
  const ir::Program program = ir::lower({}, mask);
  ir::Bindings bindings = ir::Bindings::defaults(program);
  bindings.buffers = buffers;
  int kept = 0;
  for (int b = 0; b < batch; ++b)
    for (int h = 0; h < heads; ++h)
      for (int q = 0; q < q_len; ++q)
        for (int kv = 0; kv < kv_len; ++kv) {
          const Place place{.b = b, .h = h, .q_idx = q, .kv_idx = kv, .q_len = q_len, .kv_len = kv_len};
          const bool expected = formula(b, h, q, kv);
          kept += expected;
          ASSERT_EQ(testing::evaluate(program, bindings, place).mask, expected)
              << name << " b=" << b << " h=" << h << " q=" << q << " kv=" << kv;
        }
  const int all = batch * heads * q_len * kv_len;
  const bool trivial = std::string(name) == "nothing" || std::string(name) == "everything";
  EXPECT_EQ(trivial, kept == 0 || kept == all) << name << ": the formula should tell keys apart";
}

TEST(Stock, Masks) {
  expect_mask("causal", stock::causal(), [](int, int, int q, int kv) { return q >= kv; });
  expect_mask("causal_lower_right", stock::causal_lower_right(),
              [](int, int, int q, int kv) { return q + kv_len - q_len >= kv; });
  expect_mask("sliding_window", stock::sliding_window(5),
              [](int, int, int q, int kv) { return q >= kv && q - kv < 5; });
  expect_mask("sliding_window of a parameter", stock::sliding_window(param("window", 7)),
              [](int, int, int q, int kv) { return q >= kv && q - kv < 7; });
  expect_mask("sliding_window_two_sided", stock::sliding_window_two_sided(4),
              [](int, int, int q, int kv) { return std::abs(q - kv) <= 4; });
  expect_mask("dilated", stock::dilated(9, 3),
              [](int, int, int q, int kv) { return std::abs(q - kv) <= 9 && std::abs(q - kv) % 3 == 0; });
  expect_mask("prefix_lm", stock::prefix_lm(6), [](int, int, int q, int kv) { return kv < 6 || q >= kv; });
  expect_mask("neighborhood", stock::neighborhood(6, 2),
              [](int, int, int q, int kv) { return std::abs(q / 6 - kv / 6) < 2 && std::abs(q % 6 - kv % 6) < 2; });
  expect_mask("odd_keys_only", stock::odd_keys_only(), [](int, int, int, int kv) { return kv % 2 == 1; });
  expect_mask("checkerboard", stock::checkerboard(), [](int, int, int q, int kv) { return (q + kv) % 2 == 0; });
  expect_mask("nothing", stock::nothing(), [](int, int, int, int) { return false; });
  expect_mask("everything", stock::everything(), [](int, int, int, int) { return true; });
}

// The window of an edge pixel is as large as that of an inner one: shifted, not cut.
TEST(Stock, NeighborhoodClamped) {
  constexpr int height = 5, width = 6, radius = 1, size = 2 * radius + 1;
  const auto inside = [](int query, int key, int length) {
    const int first = std::clamp(query - radius, 0, length - size);
    return key >= first && key < first + size;
  };
  expect_mask("neighborhood_clamped", stock::neighborhood_clamped(height, width, radius), [&](int, int, int q, int kv) {
    return inside(q / width, kv / width, height) && inside(q % width, kv % width, width);
  });
  const MaskMod mask = stock::neighborhood_clamped(height, width, radius);
  for (int q = 0; q < height * width; ++q) {
    int kept = 0;
    for (int kv = 0; kv < height * width; ++kv) kept += testing::evaluate(mask, {.q_idx = q, .kv_idx = kv});
    EXPECT_EQ(kept, size * size) << "q=" << q;
  }
  // A window larger than the axis keeps the whole axis.
  EXPECT_TRUE(testing::evaluate(stock::neighborhood_clamped(2, 2, 3), {.q_idx = 0, .kv_idx = 3}));
}

TEST(Stock, MasksThatReadBuffers) {
  std::vector<std::int32_t> doc(kv_len);
  std::vector<std::uint8_t> global(kv_len);
  for (int i = 0; i < kv_len; ++i)
    doc[static_cast<std::size_t>(i)] = i / 7, global[static_cast<std::size_t>(i)] = i % 11 == 0;
  const std::vector<std::int32_t> length{9, 30}, window{1, 4, 8};
  const auto at = [](const auto& values, int i) { return values[static_cast<std::size_t>(i)]; };

  expect_mask("document", stock::document(), [&](int, int, int q, int kv) { return at(doc, q) == at(doc, kv); },
              {{doc.data(), DType::i32, {kv_len}, {1}}});
  expect_mask("global_or_window", stock::global_or_window(2),
              [&](int, int, int q, int kv) { return std::abs(q - kv) <= 2 || at(global, q) || at(global, kv); },
              {{global.data(), DType::boolean, {kv_len}, {1}}});
  expect_mask("padding", stock::padding(), [&](int b, int, int, int kv) { return kv < at(length, b); },
              {{length.data(), DType::i32, {batch}, {1}}});
  expect_mask("window_per_head", stock::window_per_head(),
              [&](int, int h, int q, int kv) { return q >= kv && q - kv < at(window, h); },
              {{window.data(), DType::i32, {heads}, {1}}});
}

TEST(Stock, MaskCombinators) {
  expect_mask("and", stock::causal() & stock::odd_keys_only(),
              [](int, int, int q, int kv) { return q >= kv && kv % 2; });
  expect_mask("or", stock::sliding_window(3) | stock::odd_keys_only(),
              [](int, int, int q, int kv) { return (q >= kv && q - kv < 3) || kv % 2; });
  expect_mask("not", !stock::causal(), [](int, int, int q, int kv) { return q < kv; });
  EXPECT_TRUE((stock::causal() | MaskMod()).is_everything());
}

void expect_score(const char* name, const ScoreMod& mod,
                  const std::function<double(double s, int h, int q, int kv)>& formula,
                  const std::vector<ir::BoundBuffer>& buffers = {}) {
  for (double s : {-7.5, -0.25, 0.0, 0.5, 40.0})
    for (int h = 0; h < heads; ++h)
      for (int q = 0; q < q_len; q += 5)
        for (int kv = 0; kv < kv_len; kv += 7) {
          const Place place{.score = s, .b = 1, .h = h, .q_idx = q, .kv_idx = kv, .q_len = q_len, .kv_len = kv_len};
          const double expected = formula(s, h, q, kv);
          ASSERT_NEAR(testing::evaluate(mod, place, buffers), expected, 1e-6 * (1 + std::fabs(expected)))
              << name << " s=" << s << " h=" << h << " q=" << q << " kv=" << kv;
        }
}

TEST(Stock, Scores) {
  expect_score("soft_cap", stock::soft_cap(20.0f), [](double s, int, int, int) { return 20 * std::tanh(s / 20); });
  expect_score("soft_cap of a parameter", stock::soft_cap(param("cap", 50.0f)),
               [](double s, int, int, int) { return 50 * std::tanh(s / 50); });
  expect_score("alibi_computed", stock::alibi_computed(heads),
               [](double s, int h, int q, int kv) { return s + std::exp2(-8.0 * (h + 1) / heads) * (kv - q); });
  expect_score("times_two", stock::times_two(), [](double s, int, int, int) { return 2 * s; });
  expect_score("squared", stock::squared(), [](double s, int, int, int) { return s * s; });
  expect_score("distance_decay", stock::distance_decay(),
               [](double s, int, int q, int kv) { return s / (1 + 1e-4 * (q - kv) * (q - kv)); });
  expect_score("log_kernel", stock::log_kernel(),
               [](double s, int, int, int) { return std::log(std::max(s, 0.0) + 1e-3); });
  EXPECT_THROW(stock::alibi_computed(0), Error);
}

TEST(Stock, DistanceDecayFarAway) {
  const Place far{.score = 1, .q_idx = 1'000'000, .kv_idx = 0};
  EXPECT_NEAR(testing::evaluate(stock::distance_decay(), far), 1 / (1 + 1e-4 * 1e12), 1e-12);
}

TEST(Stock, ScoresThatReadBuffers) {
  std::vector<float> slope(heads), gate(heads), relative(heads * 2 * kv_len), absolute(batch * heads * q_len * kv_len),
      p(kv_len * 3);
  for (std::vector<float>* values : {&slope, &gate, &relative, &absolute, &p})
    for (std::size_t i = 0; i < values->size(); ++i)
      (*values)[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 16;
  const auto at = [](const std::vector<float>& values, int i) {
    return static_cast<double>(values[static_cast<std::size_t>(i)]);
  };

  expect_score("alibi", stock::alibi(), [&](double s, int h, int q, int kv) { return s + at(slope, h) * (kv - q); },
               {{slope.data(), DType::f32, {heads}, {1}}});
  expect_score("head_gate", stock::head_gate(),
               [&](double s, int h, int, int) { return s / (1 + std::exp(-at(gate, h))); },
               {{gate.data(), DType::f32, {heads}, {1}}});
  expect_score("relative_bias", stock::relative_bias(kv_len),
               [&](double s, int h, int q, int kv) { return s + at(relative, h * 2 * kv_len + q - kv + kv_len); },
               {{relative.data(), DType::f32, {heads, 2 * kv_len}, {2 * kv_len, 1}}});
  expect_score(
      "absolute_bias", stock::absolute_bias(),
      [&](double s, int h, int q, int kv) { return s + at(absolute, ((1 * heads + h) * q_len + q) * kv_len + kv); },
      {{absolute.data(),
        DType::f32,
        {batch, heads, q_len, kv_len},
        {heads * q_len * kv_len, q_len * kv_len, kv_len, 1}}});
  expect_score("small_reduction", stock::small_reduction(),
               [&](double s, int, int q, int kv) {
                 for (int i = 0; i < 3; ++i) s -= std::pow(at(p, q * 3 + i) - at(p, kv * 3 + i), 2);
                 return s;
               },
               {{p.data(), DType::f32, {kv_len, 3}, {3, 1}}});
}

}  // namespace
}  // namespace attnc
