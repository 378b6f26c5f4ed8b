// SPDX-License-Identifier: Apache-2.0
// Every f32 function of the DSL on the CPU backend against long double, in ulps: what random programs are judged by is
// as good as a libm's only if the functions are. Seen through attention over a single key, whose lse is the score.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "compiler/cpu/plan.h"
#include "runtime/attention.h"
#include "tests/support/function_cases.h"

namespace attnc::testing {
namespace {

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

class FunctionErrors : public ::testing::TestWithParam<std::size_t> {};

TEST_P(FunctionErrors, InUlps) {
  const FunctionCase function = function_cases()[GetParam()];
  // Without FMA what products lose is not known, large arguments are reduced less precisely, and fma is two roundings.
  const bool has_fma = cpu::CpuTarget::host().has_fma;
  if (!has_fma && (function.name == "sin" || function.name == "cos" || function.name == "fma"))
    GTEST_SKIP() << "no FMA";
  const double allowed = has_fma ? function.cpu_ulps : std::max(function.cpu_ulps, 2.0);
  std::mt19937_64 random(std::random_device{}());
  constexpr int samples = 200000;
  double worst = 0;
  float worst_x = 0, worst_y = 0, worst_got = 0;
  for (const Range& range : function.x) {
    std::vector<float> x(samples), y(samples);
    for (float& value : x) value = range.draw(random);
    for (float& value : y) value = function.y.draw(random);
    const std::vector<float> got = evaluate(function.text, x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double exact = function.exact(x[i], y[i]);
      if (std::fabs(exact) > 3e38L) continue;  // an infinite score is a dropped key or NaN after the softmax
      const double error = static_cast<double>(std::fabs(static_cast<long double>(got[i]) - exact)) / ulp_f32(exact);
      if (!(error <= worst)) worst = error, worst_x = x[i], worst_y = y[i], worst_got = got[i];
    }
  }
  RecordProperty("ulps", std::to_string(worst));
  EXPECT_LE(worst, allowed) << function.text << " is " << worst_got << " at x = " << worst_x << ", y = " << worst_y;
}

TEST_P(FunctionErrors, AtSpecialValues) {
  const FunctionCase function = function_cases()[GetParam()];
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {0.0f,   -0.0f,   infinity, -infinity, std::numeric_limits<float>::quiet_NaN(),
                          1e-45f, -1e-45f, 1e-39f,   -1e-39f,   1.0f,
                          -1.0f,  100.0f,  -100.0f,  200.0f,    -200.0f};
  if (function.name != "sin" && function.name != "cos") x.insert(x.end(), {3e38f, -3e38f, 1e10f, -1e10f});
  const std::vector<float> y(x.size(), 2.0f);
  const std::vector<float> got = evaluate(function.text, x, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto want = static_cast<float>(function.exact(x[i], y[i]));
    if (std::isnan(want) || want == infinity) {  // a score of +inf is NaN after the softmax
      EXPECT_TRUE(std::isnan(got[i])) << function.text << " at " << x[i] << " is " << got[i];
    } else if (want == -infinity) {
      EXPECT_EQ(got[i], want) << function.text << " at " << x[i];
    } else {
      EXPECT_NEAR(got[i], want, 2 * ulp_f32(want)) << function.text << " at " << x[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FunctionErrors, ::testing::Range(std::size_t{0}, function_cases().size()),
                         [](const auto& info) { return function_cases()[info.param].name; });

}  // namespace
}  // namespace attnc::testing
