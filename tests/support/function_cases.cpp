// SPDX-License-Identifier: Apache-2.0
#include "tests/support/function_cases.h"

#include <algorithm>
#include <cmath>

namespace attnc::testing {

float Range::draw(std::mt19937_64& random) const {
  const double value = std::uniform_real_distribution<double>(low, high)(random);
  return static_cast<float>(logarithmic ? std::exp2(value) * (random() % 2 == 0 ? 1 : -1) : value);
}

double ulp_f32(long double value) {
  return std::ldexp(1.0, std::max(value == 0 ? -149 : std::ilogb(std::fabs(value)) - 23, -149));
}

std::vector<FunctionCase> function_cases() {
  using L = long double;
  return {
      {"exp", "exp(x[q_idx])", 0.8, 0.7, [](L x, L) { return std::exp(x); }, {{-4, 4}, {-104, 88}, {-40, 0, true}}},
      {"exp2",
       "exp2(x[q_idx])",
       0.8,
       0.65,
       [](L x, L) { return std::exp2(x); },
       {{-4, 4}, {-150, 127}, {-40, 0, true}}},
      {"log",
       "log(abs(x[q_idx]))",
       0.7,
       1.0,
       [](L x, L) { return std::log(std::fabs(x)); },
       {{0.5, 2}, {0.9, 1.1}, {-149, 127, true}}},
      {"log2",
       "log2(abs(x[q_idx]))",
       0.72,  // 0.7147 at 0x1.66142cp+0, of every float in [0.5, 2)
       1.0,
       [](L x, L) { return std::log2(std::fabs(x)); },
       {{0.5, 2}, {0.9, 1.1}, {-149, 127, true}}},
      {"sqrt",
       "sqrt(abs(x[q_idx]))",
       0.5,
       0.5,
       [](L x, L) { return std::sqrt(std::fabs(x)); },
       {{0, 10}, {-126, 127, true}}},
      {"rsqrt",
       "rsqrt(abs(x[q_idx]))",
       0.52,
       0.52,
       [](L x, L) { return 1 / std::sqrt(std::fabs(x)); },
       {{0.001, 10}, {-100, 127, true}}},
      {"rsqrt_tiny",
       "rsqrt(abs(x[q_idx]))",
       1.0,
       0.52,
       [](L x, L) { return 1 / std::sqrt(std::fabs(x)); },
       {{-126, -100, true}}},
      {"tanh",
       "tanh(x[q_idx])",
       1.4,
       1.0,
       [](L x, L) { return std::tanh(x); },
       {{-1, 1}, {-10, 10}, {-126, 127, true}}},
      {"sigmoid",
       "sigmoid(x[q_idx])",
       0.8,
       1.1,
       [](L x, L) { return 1 / (1 + std::exp(-x)); },
       {{-1, 1}, {-10, 10}, {-16, 100}, {-60, 4, true}}},
      {"sigmoid_small", "sigmoid(x[q_idx])", 0.8, 1.6, [](L x, L) { return 1 / (1 + std::exp(-x)); }, {{-104, -16}}},
      {"sin",
       "sin(x[q_idx])",
       0.51,
       1.7,
       [](L x, L) { return std::sin(x); },
       {{-4, 4}, {-1000, 1000}, {-126, 29, true}}},
      {"cos",
       "cos(x[q_idx])",
       0.51,
       1.7,
       [](L x, L) { return std::cos(x); },
       {{-4, 4}, {-1000, 1000}, {-126, 29, true}}},
      {"erf", "erf(x[q_idx])", 0.51, 1.5, [](L x, L) { return std::erf(x); }, {{-1, 1}, {-5, 5}, {-120, 5, true}}},
      {"pow", "pow(x[q_idx], y[q_idx])", 0.51, 1.2, [](L x, L y) { return std::pow(x, y); }, {{0.01, 10}}, {-8, 8}},
      {"pow_near_1",
       "pow(x[q_idx], y[q_idx])",
       0.51,
       1.2,
       [](L x, L y) { return std::pow(x, y); },
       {{0.99, 1.01}},
       {-4000, 4000}},
      {"divide", "x[q_idx] / y[q_idx]", 0.5, 0.5, [](L x, L y) { return x / y; }, {{-10, 10}}, {0.1, 10}},
      {"fma", "fma(x[q_idx], y[q_idx], -1.0)", 0.5, 0.5, [](L x, L y) { return x * y - 1; }, {{-3, 3}}, {-3, 3}},
  };
}

}  // namespace attnc::testing
