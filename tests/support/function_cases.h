// SPDX-License-Identifier: Apache-2.0
// Every f32 function of the DSL with the error its f32 form may have, in ulps against long double. Random programs are
// judged by a plain evaluation with correctly rounded functions, so a backend's must be about as good as a libm's.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

namespace attnc::testing {

struct Range {
  double low, high;
  bool logarithmic = false;  ///< low and high are powers of 2 of the magnitude, of both signs
  float draw(std::mt19937_64& random) const;
};

struct FunctionCase {
  std::string name;
  std::string text;  ///< of x[q_idx] and y[q_idx]
  double cpu_ulps;   ///< greatest error allowed
  double cuda_ulps;  ///< where the functions are precise (f32); CUDA's own are up to 1.5
  std::function<long double(long double x, long double y)> exact;
  std::vector<Range> x;
  Range y = {0, 1};
};

std::vector<FunctionCase> function_cases();

/// Distance of floats around `value`.
double ulp_f32(long double value);

}  // namespace attnc::testing
