// SPDX-License-Identifier: Apache-2.0
// The CPU backend's elementary functions and integer division against C's, seen through attention over a single key:
// with one key lse is the score itself, so score_mod = f makes lse[q] = f(q . k).
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "compiler/ir/semantics.h"
#include "runtime/attention.h"

namespace attnc {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// lse of attention with head dimension 1 and one key of value 1.
std::vector<float> evaluate(const std::string& score_text, const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  const float one = 1;
  std::vector<float> out(x.size()), lse(x.size(), -7);
  Attention attention({.score_mod = score_mod(score_text), .head_dim = 1});
  ForwardOptions options;
  options.scale = 1.0f;
  options.lse = TensorView(lse.data(), DType::f32, {1, 1, n});
  attention.forward(TensorView(x.data(), DType::f32, {1, 1, n, 1}), TensorView(&one, DType::f32, {1, 1, 1, 1}),
                    TensorView(&one, DType::f32, {1, 1, 1, 1}), TensorView(out.data(), DType::f32, {1, 1, n, 1}),
                    options);
  return lse;
}

std::vector<float> linear(double first, double last, int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) values.push_back(static_cast<float>(first + (last - first) * i / (count - 1)));
  return values;
}
/// Both signs, magnitudes 10^first to 10^last.
std::vector<float> logarithmic(double first, double last, int count) {
  std::vector<float> values;
  for (const double exponent : linear(first, last, count)) {
    values.push_back(static_cast<float>(std::pow(10.0, exponent)));
    values.push_back(-values.back());
  }
  return values;
}

/// `relative`: allowed error against |f(x)|; going to log2 units and back is two roundings of it. `absolute`: besides.
template <class F>
void expect_close(const std::string& text, const std::vector<float>& x, const F& function, double relative = 5e-7,
                  double absolute = 2e-44) {
  const std::vector<float> got = evaluate(text, x);
  double worst = 0;
  float worst_x = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double want = function(static_cast<double>(x[i]));
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(got[i])) << text << " at " << x[i] << " is " << got[i];
      continue;
    }
    // A score of -inf drops the key; +inf is NaN after softmax. The greatest floats overflow in log2 units.
    if (std::fabs(want) > 2e38) continue;
    ASSERT_FALSE(std::isnan(got[i])) << text << " at " << x[i];
    const double error = std::fabs(static_cast<double>(got[i]) - want) / (relative * std::fabs(want) + absolute);
    if (error > worst) worst = error, worst_x = x[i];
  }
  EXPECT_LE(worst, 1.0) << text << " at " << worst_x;
}

TEST(Math, Exponentials) {
  expect_close("exp(score)", linear(-104, 88, 20011), [](double x) { return std::exp(x); });
  expect_close("exp(score)", logarithmic(-30, 1, 2001), [](double x) { return std::exp(x); });
  expect_close("exp2(score)", linear(-150, 127, 20011), [](double x) { return std::exp2(x); });
  expect_close("exp(score)", {infinity, -infinity, NAN, 0.0f, -0.0f}, [](double x) { return std::exp(x); });
  expect_close("sigmoid(score)", linear(-85, 85, 20011), [](double x) { return 1 / (1 + std::exp(-x)); });
}

TEST(Math, Logarithms) {
  // Subnormals included; negative arguments are NaN.
  expect_close("log(score)", logarithmic(-44, 38, 20011), [](double x) { return std::log(x); });
  expect_close("log2(score)", logarithmic(-44, 38, 20011), [](double x) { return std::log2(x); });
  expect_close("log(score)", linear(0.5, 2, 20011), [](double x) { return std::log(x); });
  expect_close("log2(score)", linear(0.5, 2, 20011), [](double x) { return std::log2(x); });
}

TEST(Math, Tanh) {
  expect_close("tanh(score)", linear(-12, 12, 20011), [](double x) { return std::tanh(x); });
  expect_close("tanh(score)", logarithmic(-36, 38, 2001), [](double x) { return std::tanh(x); });
  expect_close("tanh(score)", {NAN}, [](double x) { return std::tanh(x); });
}

TEST(Math, Erf) {
  expect_close("erf(score)", linear(-6, 6, 20011), [](double x) { return std::erf(x); });
  expect_close("erf(score)", logarithmic(-36, 38, 2001), [](double x) { return std::erf(x); });
  expect_close("erf(score)", {NAN}, [](double x) { return std::erf(x); });
}

TEST(Math, SineAndCosine) {
  expect_close("sin(score)", linear(-20, 20, 20011), [](double x) { return std::sin(x); });
  expect_close("cos(score)", linear(-20, 20, 20011), [](double x) { return std::cos(x); });
  expect_close("sin(score)", logarithmic(-30, 8, 2001), [](double x) { return std::sin(x); });
  expect_close("cos(score)", logarithmic(-30, 8, 2001), [](double x) { return std::cos(x); });
  expect_close("cos(score)", {NAN, infinity, -infinity}, [](double x) { return std::cos(x); });
}

TEST(Math, Powers) {
  for (const char* exponent : {"0.0", "1.0", "2.5", "-1.5", "3.0", "-2.0", "11.0", "0.5"}) {
    const double y = std::stod(exponent);
    expect_close("pow(score, " + std::string(exponent) + ")", logarithmic(-6, 3, 2001),
                 [y](double x) { return std::pow(x, y); });
    expect_close("pow(score, " + std::string(exponent) + ")", {0.0f, 1.0f, -1.0f, NAN},
                 [y](double x) { return std::pow(x, y); });
  }
  expect_close("pow(1.7, score)", linear(-150, 150, 2001),
               [](double x) { return std::pow(static_cast<double>(1.7f), x); });
}

TEST(Math, Roots) {
  expect_close("sqrt(score)", logarithmic(-44, 38, 2001), [](double x) { return std::sqrt(x); });
  expect_close("rsqrt(score)", logarithmic(-37, 38, 2001), [](double x) { return 1 / std::sqrt(x); });
}

TEST(Math, RoundingAndSigns) {
  const std::vector<float> halves = linear(-8, 8, 65);
  expect_close("round(score)", halves, [](double x) { return std::nearbyint(x); });
  expect_close("floor(score)", halves, [](double x) { return std::floor(x); });
  expect_close("ceil(score)", halves, [](double x) { return std::ceil(x); });
  expect_close("sign(score)", halves, [](double x) { return static_cast<double>((x > 0) - (x < 0)); });
  expect_close("sign(score)", {NAN}, [](double) { return 0.0; });
  expect_close("min(score, 1.0)", {NAN, infinity, -2.0f, 2.0f},
               [](double x) { return std::isnan(x) ? x : std::fmin(x, 1.0); });
  expect_close("max(1.0, score)", {NAN, -infinity, -2.0f, 2.0f},
               [](double x) { return std::isnan(x) ? x : std::fmax(x, 1.0); });
}

TEST(Math, CastsSaturate) {
  const std::vector<float> x = {NAN, 1e20f, -1e20f, 2.9f, -2.9f, 0.0f, 2147483520.0f, -2147483648.0f};
  auto cast = [](Type type) {
    return [type](double value) { return static_cast<double>(ir::semantics::real_to_integer(value, type)); };
  };
  expect_close("f32(i32(score))", x, cast(Type::i32));
  expect_close("f32(i64(score))", x, cast(Type::i64));
}

TEST(Math, IntegerDivision) {
  const std::vector<float> x = linear(-3000, 3000, 6001);
  for (const std::string divisor : {"7", "-7", "8", "-8", "1", "-1", "0", "56"})
    for (const std::string type : {"i32", "i64"}) {
      const std::int64_t n = std::stol(divisor);
      const std::string constant = type + "(" + divisor + ")";
      expect_close("f32(" + type + "(score) / " + constant + ")", x, [n](double v) {
        return static_cast<double>(ir::semantics::floor_div(static_cast<std::int64_t>(v), n));
      });
      expect_close("f32(" + type + "(score) % " + constant + ")", x, [n](double v) {
        return static_cast<double>(ir::semantics::floor_mod(static_cast<std::int64_t>(v), n));
      });
    }
}

TEST(Math, IntegerDivisionByAValue) {
  // The divisor varies by row: q_idx - 3000 is also 0, -1 and of both signs. The dividend is near the ends of i32.
  const std::vector<float> x(6001, 1.0f);
  for (const std::string type : {"i32", "i64"})
    for (const std::string dividend : {"2147483647", "-2147483647 - 1", "1000003", "-1000003"}) {
      const std::int64_t a = dividend == "-2147483647 - 1" ? -2147483648LL : std::stoll(dividend);
      for (const std::string op : {"/", "%"}) {
        // The result in two parts that f32 holds exactly.
        const std::string value = "((" + type + "(" + dividend + ")) " + op + " (" + type + "(q_idx) - 3000))";
        const std::vector<float> low = evaluate("score * f32(" + value + " & 4095)", x);
        const std::vector<float> high = evaluate("score * f32(" + value + " >> 12)", x);
        for (std::int64_t i = 0; i < 6001; ++i) {
          const std::int64_t b = i - 3000;
          std::int64_t want = op == "/" ? ir::semantics::floor_div(a, b) : ir::semantics::floor_mod(a, b);
          if (type == "i32") want = ir::semantics::wrap(want, Type::i32);
          const auto at = static_cast<std::size_t>(i);
          ASSERT_NEAR(low[at], static_cast<double>(want & 4095), 4e-7 * 4095) << type << ' ' << a << op << b;
          ASSERT_NEAR(high[at], static_cast<double>(want >> 12), 4e-7 * std::fabs(static_cast<double>(want >> 12)))
              << type << ' ' << a << op << b;
        }
      }
    }
}

}  // namespace
}  // namespace attnc
