// SPDX-License-Identifier: Apache-2.0
// Every f32 function of the DSL on the CPU backend against long double, in ulps: what random programs are judged by is
// as good as a libm's only if the functions are. Seen through attention over a single key, whose lse is the score.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "runtime/attention.h"

namespace attnc {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// f(x[q_idx], y[q_idx]) for every row.
std::vector<float> evaluate(const std::string& text, std::vector<float> x, std::vector<float> y) {
  const auto n = static_cast<std::int64_t>(x.size());
  const float one = 1;
  std::vector<float> out(x.size()), lse(x.size());
  const std::vector<BufferDecl> buffers = {{"x", DType::f32, 1}, {"y", DType::f32, 1}};
  const Attention attention({.score_mod = score_mod(text, {{}, buffers}), .head_dim = 1});
  ForwardOptions options;
  options.lse = TensorView(lse.data(), DType::f32, {1, 1, n});
  const std::vector<BufferValue> values = {{"x", TensorView(x.data(), DType::f32, {n})},
                                           {"y", TensorView(y.data(), DType::f32, {n})}};
  std::vector<BufferValue> used;
  for (const BufferValue& value : values)
    if (text.find(std::string(value.name) + "[") != std::string::npos) used.push_back(value);
  options.buffers = used;
  attention.forward(TensorView(x.data(), DType::f32, {1, 1, n, 1}), TensorView(&one, DType::f32, {1, 1, 1, 1}),
                    TensorView(&one, DType::f32, {1, 1, 1, 1}), TensorView(out.data(), DType::f32, {1, 1, n, 1}),
                    options);
  return lse;
}

struct Range {
  double low, high;
  bool logarithmic = false;  ///< low and high are powers of 2 of the magnitude, of both signs
};

struct FunctionCase {
  std::string name, text;
  double ulps;  ///< greatest error allowed
  std::function<long double(long double x, long double y)> exact;
  std::vector<Range> x;
  Range y = {0, 1};
};

/// Distance of floats around `value`.
double ulp(long double value) {
  return std::ldexp(1.0, std::max(value == 0 ? -149 : std::ilogb(std::fabs(value)) - 23, -149));
}

std::vector<FunctionCase> function_cases() {
  using L = long double;
  return {
      {"exp", "exp(x[q_idx])", 0.8, [](L x, L) { return std::exp(x); }, {{-4, 4}, {-104, 88}, {-40, 0, true}}},
      {"exp2", "exp2(x[q_idx])", 0.8, [](L x, L) { return std::exp2(x); }, {{-4, 4}, {-150, 127}, {-40, 0, true}}},
      {"log", "log(abs(x[q_idx]))", 0.7, [](L x, L) { return std::log(std::fabs(x)); }, {{0.5, 2}, {0.9, 1.1}, {-149, 127, true}}},
      {"log2", "log2(abs(x[q_idx]))", 0.7, [](L x, L) { return std::log2(std::fabs(x)); }, {{0.5, 2}, {0.9, 1.1}, {-149, 127, true}}},
      {"sqrt", "sqrt(abs(x[q_idx]))", 0.5, [](L x, L) { return std::sqrt(std::fabs(x)); }, {{0, 10}, {-126, 127, true}}},
      {"rsqrt", "rsqrt(abs(x[q_idx]))", 0.52, [](L x, L) { return 1 / std::sqrt(std::fabs(x)); }, {{0.001, 10}, {-100, 127, true}}},
      {"rsqrt_tiny", "rsqrt(abs(x[q_idx]))", 1.0, [](L x, L) { return 1 / std::sqrt(std::fabs(x)); }, {{-126, -100, true}}},
      {"tanh", "tanh(x[q_idx])", 0.8, [](L x, L) { return std::tanh(x); }, {{-1, 1}, {-10, 10}, {-126, 127, true}}},
      {"sigmoid", "sigmoid(x[q_idx])", 0.8, [](L x, L) { return 1 / (1 + std::exp(-x)); }, {{-1, 1}, {-10, 10}, {-104, 100}, {-60, 6, true}}},
      {"sin", "sin(x[q_idx])", 0.51, [](L x, L) { return std::sin(x); }, {{-4, 4}, {-1000, 1000}, {-126, 29, true}}},
      {"cos", "cos(x[q_idx])", 0.51, [](L x, L) { return std::cos(x); }, {{-4, 4}, {-1000, 1000}, {-126, 29, true}}},
      {"erf", "erf(x[q_idx])", 0.51, [](L x, L) { return std::erf(x); }, {{-1, 1}, {-5, 5}, {-120, 5, true}}},
      {"pow", "pow(x[q_idx], y[q_idx])", 0.51, [](L x, L y) { return std::pow(x, y); }, {{0.01, 10}}, {-8, 8}},
      {"pow_near_1", "pow(x[q_idx], y[q_idx])", 0.51, [](L x, L y) { return std::pow(x, y); }, {{0.99, 1.01}}, {-4000, 4000}},
      {"divide", "x[q_idx] / y[q_idx]", 0.5, [](L x, L y) { return x / y; }, {{-10, 10}}, {0.1, 10}},
      {"fma", "fma(x[q_idx], y[q_idx], -1.0)", 0.5, [](L x, L y) { return x * y - 1; }, {{-3, 3}}, {-3, 3}},
  };
}

class FunctionErrors : public ::testing::TestWithParam<std::size_t> {};

TEST_P(FunctionErrors, InUlps) {
  const FunctionCase function = function_cases()[GetParam()];
  std::mt19937_64 random(std::random_device{}());
  const auto draw = [&](const Range& range) {
    const double value = std::uniform_real_distribution<double>(range.low, range.high)(random);
    return static_cast<float>(range.logarithmic ? std::exp2(value) * (random() % 2 == 0 ? 1 : -1) : value);
  };
  constexpr int samples = 200000;
  double worst = 0;
  float worst_x = 0, worst_y = 0, worst_got = 0;
  for (const Range& range : function.x) {
    std::vector<float> x(samples), y(samples);
    for (float& value : x) value = draw(range);
    for (float& value : y) value = draw(function.y);
    const std::vector<float> got = evaluate(function.text, x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double exact = function.exact(x[i], y[i]);
      if (std::fabs(exact) > 3e38L) continue;  // an infinite score is a dropped key or NaN after the softmax
      const double error = static_cast<double>(std::fabs(static_cast<long double>(got[i]) - exact)) / ulp(exact);
      if (!(error <= worst)) worst = error, worst_x = x[i], worst_y = y[i], worst_got = got[i];
    }
  }
  RecordProperty("ulps", std::to_string(worst));
  EXPECT_LE(worst, function.ulps) << function.text << " is " << worst_got << " at x = " << worst_x << ", y = " << worst_y;
}

INSTANTIATE_TEST_SUITE_P(All, FunctionErrors, ::testing::Range(std::size_t{0}, function_cases().size()),
                         [](const auto& info) { return function_cases()[info.param].name; });

}  // namespace
}  // namespace attnc
