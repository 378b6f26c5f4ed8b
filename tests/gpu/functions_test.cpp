// SPDX-License-Identifier: Apache-2.0
// Functions of the DSL on the GPU, value by value: with one key, lse is the modified score itself.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "tests/gpu/gpu_runner.h"
#include "tests/support/function_cases.h"

namespace attnc::testing {
namespace {

constexpr int rows = 4096;
constexpr float infinity = std::numeric_limits<float>::infinity();

struct ApproximateCase {
  std::string name;
  std::string text;  ///< the score_mod, of x[q_idx] and y[q_idx]
  std::function<void(std::mt19937&, float& x, float& y)> draw;
  std::function<double(double x, double y)> exact;
  std::function<double(double y, double result)> tolerance;  ///< absolute, of the approximate function
};

float uniform(std::mt19937& generator, float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(generator);
}

std::vector<ApproximateCase> approximate_cases() {
  // 2^-22 of the exponent of 2, or of y where x is near 1, with a margin, and some rounding.
  const auto of_pow = [](double y, double result) {
    const double exponent = result == 0 ? 0 : std::fabs(std::log2(std::fabs(result)));
    return std::fabs(result) * (1 + std::max(exponent, std::isfinite(y) ? std::fabs(y) : 0)) * 1e-6 + 1e-37;
  };
  const auto of_sin = [](double, double) { return 2e-6; };
  const auto any_size = [](float size) {
    return [size](std::mt19937& g, float& x, float& y) {
      x = uniform(g, -size, size);
      y = 0;
    };
  };
  const auto sin = [](double x, double) { return std::sin(x); };
  const auto cos = [](double x, double) { return std::cos(x); };
  const auto pow = [](double x, double y) { return std::pow(x, y); };
  return {
      {"sin_small", "sin(x[q_idx])", any_size(10), sin, of_sin},
      {"sin_large", "sin(x[q_idx])", any_size(1e5f), sin, of_sin},
      {"sin_very_large", "sin(x[q_idx])", any_size(1e8f), sin, of_sin},
      {"cos_small", "cos(x[q_idx])", any_size(10), cos, of_sin},
      {"cos_very_large", "cos(x[q_idx])", any_size(1e8f), cos, of_sin},
      {"pow_positive", "pow(x[q_idx], y[q_idx])",
       [](std::mt19937& g, float& x, float& y) {
         x = std::exp2(uniform(g, -6, 6));
         y = uniform(g, -3, 3);
       },
       pow, of_pow},
      {"pow_whole", "pow(x[q_idx], y[q_idx])",
       [](std::mt19937& g, float& x, float& y) {
         x = std::copysign(std::exp2(uniform(g, -2, 2)), uniform(g, -1, 1));
         y = std::round(uniform(g, -9, 9));
       },
       pow, of_pow},
      {"pow_special", "pow(x[q_idx], y[q_idx])",
       [](std::mt19937& g, float& x, float& y) {
         // Combinations whose power is finite.
         constexpr float choices[][2] = {{0, 2},         {-0.0f, 3},      {0, 0},           {1, infinity},
                                         {-1, infinity}, {-1, -infinity}, {infinity, -1},   {-infinity, -3},
                                         {-infinity, 0}, {2, -infinity},  {0.5f, infinity}, {-8, 1},
                                         {-2, 3},        {-2, 16777216},  {0, 0.5f},        {1e-40f, 0.5f}};
         const auto& choice = choices[std::uniform_int_distribution<std::size_t>(0, std::size(choices) - 1)(g)];
         x = choice[0];
         y = choice[1];
         if (std::isinf(std::pow(x, y))) y = 0;
       },
       pow, of_pow},
  };
}

/// The problem whose lse is the case's function of x and y, in its dtype.
Problem problem_of(const ApproximateCase& function, DType dtype) {
  Problem problem({.dtype = dtype, .batch = 1, .q_heads = 1, .kv_heads = 1, .q_len = rows, .kv_len = 1});
  float* values[2];
  for (int i = 0; i < 2; ++i) {
    GuardedTensor& buffer =
        problem.buffers.emplace(i == 0 ? "x" : "y", GuardedTensor::create(DType::f32, {rows})).first->second;
    values[i] = static_cast<float*>(buffer.view.data);
  }
  const unsigned seed = std::random_device{}();
  ::testing::Test::RecordProperty("seed", static_cast<int>(seed));
  std::mt19937 generator(seed);
  for (int row = 0; row < rows; ++row) function.draw(generator, values[0][row], values[1][row]);
  return problem;
}

ModCase mods_of(const ApproximateCase& function) {
  const BufferDecl x{"x", DType::f32, 1}, y{"y", DType::f32, 1};
  return {function.name, score_mod(function.text, {{}, {x, y}}), {}, {}};
}

class GpuFunctions : public ::testing::TestWithParam<std::tuple<std::size_t, DType>> {};

TEST_P(GpuFunctions, AreWithinTheirErrors) {
  ATTNC_REQUIRE_GPU();
  const auto [index, dtype] = GetParam();
  const ApproximateCase function = approximate_cases()[index];
  Problem problem = problem_of(function, dtype);
  GpuRunner runner;
  const ModCase mods = mods_of(function);
  const Attention attention(counting_options(mods, problem.spec, std::make_shared<std::atomic<int>>(0)));
  runner.forward(attention, problem, mods, nullptr);
  const auto* x = static_cast<const float*>(problem.buffers.at("x").view.data);
  const auto* y = static_cast<const float*>(problem.buffers.at("y").view.data);
  const auto* lse = static_cast<const float*>(problem.lse.view.data);
  for (int row = 0; row < rows; ++row) {
    const double exact = function.exact(x[row], y[row]);
    // A subnormal power may be flushed, and lse has passed through units of log2.
    const double tolerance = function.tolerance(y[row], exact) + 2e-7 * std::fabs(exact) + 1.2e-38;
    ASSERT_NEAR(lse[row], exact, tolerance) << function.text << " of " << x[row] << " and " << y[row];
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuFunctions,
                         ::testing::Combine(::testing::Range(std::size_t{0}, approximate_cases().size()),
                                            ::testing::Values(DType::f32, DType::bf16)),
                         [](const auto& info) {
                           return approximate_cases()[std::get<0>(info.param)].name + "_" +
                                  std::string(name(std::get<1>(info.param)));
                         });

class GpuFunctionErrors : public ::testing::TestWithParam<std::size_t> {};

// f32. lse would lose the last bit on its way through log2 units, so it is given the error itself, in ulps.
TEST_P(GpuFunctionErrors, InUlps) {
  ATTNC_REQUIRE_GPU();
  const FunctionCase function = function_cases()[GetParam()];
  const BufferDecl x{"x", DType::f32, 1}, y{"y", DType::f32, 1}, rounded{"rounded", DType::f32, 1},
      ulps{"ulps", DType::f32, 1};
  const ModCase mods{function.name,
                     score_mod("(" + function.text + " - rounded[q_idx]) * ulps[q_idx]", {{}, {x, y, rounded, ulps}}),
                     {},
                     {}};
  const Attention attention = make_attention(mods, {.dtype = DType::f32}, Device::cuda(0));
  std::mt19937_64 random(std::random_device{}());
  double worst = 0;
  float worst_x = 0, worst_y = 0;
  for (const Range& range : function.x) {
    Problem problem({.dtype = DType::f32, .batch = 1, .q_heads = 1, .kv_heads = 1, .q_len = rows, .kv_len = 1});
    float* values[4];
    const char* const names[] = {"x", "y", "rounded", "ulps"};
    for (int i = 0; i < 4; ++i) {
      GuardedTensor& buffer =
          problem.buffers.emplace(names[i], GuardedTensor::create(DType::f32, {rows})).first->second;
      values[i] = static_cast<float*>(buffer.view.data);
    }
    std::vector<long double> exact(rows);
    for (std::size_t row = 0; row < exact.size(); ++row) {
      do {  // where the result and the size of an ulp are ordinary
        values[0][row] = range.draw(random), values[1][row] = function.y.draw(random);
        exact[row] = function.exact(values[0][row], values[1][row]);
      } while (!(std::fabs(exact[row]) > 1e-30L && std::fabs(exact[row]) < 3e38L));
      values[2][row] = static_cast<float>(exact[row]);
      values[3][row] = static_cast<float>(1 / ulp_f32(exact[row]));
    }
    GpuRunner runner;
    runner.forward(attention, problem, mods, nullptr);
    const auto* lse = static_cast<const float*>(problem.lse.view.data);
    for (std::size_t row = 0; row < exact.size(); ++row) {
      const long double rounding = (values[2][row] - exact[row]) * values[3][row];
      const auto error = static_cast<double>(std::fabs(std::round(lse[row]) + rounding));
      if (!(error <= worst)) worst = error, worst_x = values[0][row], worst_y = values[1][row];
    }
  }
  RecordProperty("ulps", std::to_string(worst));
  EXPECT_LE(worst, function.cuda_ulps) << function.text << " at x = " << worst_x << ", y = " << worst_y;
}

INSTANTIATE_TEST_SUITE_P(All, GpuFunctionErrors, ::testing::Range(std::size_t{0}, function_cases().size()),
                         [](const auto& info) { return function_cases()[info.param].name; });

// CUDA's own sine keeps an array in local memory, which ptxas has been seen to lose in kernels for Hopper.
TEST(GpuStack, LeavesPreciseFunctionsRight) {
  ATTNC_REQUIRE_GPU();
  const ModCase mods{"precise_sine", score_mod("sin(score)"), {}, {}};
  Problem problem({.dtype = DType::bf16, .batch = 2, .q_heads = 4, .kv_heads = 4, .q_len = 700, .kv_len = 700});
  AttentionOptions options = counting_options(mods, problem.spec, std::make_shared<std::atomic<int>>(0));
  options.precise = true;
  const Attention attention(options);
  GpuRunner runner;
  runner.forward(attention, problem, mods, nullptr);
  EXPECT_EQ(problem.check(mods.score, mods.mask), "");
}

}  // namespace
}  // namespace attnc::testing
