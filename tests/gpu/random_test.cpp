// SPDX-License-Identifier: Apache-2.0
// Random programs on the GPU against the fp64 oracle. ATTNC_RANDOM_PROGRAMS=N sets how many (512 without it),
// ATTNC_RANDOM_SEED=S where they start, so a failure is replayed with ATTNC_RANDOM_SEED=<its seed>
// ATTNC_RANDOM_PROGRAMS=1.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "tests/gpu/gpu_runner.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

/// One of 16 parts, so that a test runner can spread the compiles over cores.
constexpr std::uint64_t parts = 16;
class GpuRandomPrograms : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(GpuRandomPrograms, MatchTheOracle) {
  ATTNC_REQUIRE_GPU();
  static const std::uint64_t any_seed = std::random_device{}();
  const auto [first, count] = RandomPrograms::from_environment(any_seed, 512);
  const std::uint64_t begin = first + count * GetParam() / parts, end = first + count * (GetParam() + 1) / parts;
  if (begin == end) GTEST_SKIP() << "no programs for this part";
  std::printf("random programs: seeds %llu to %llu\n", static_cast<unsigned long long>(begin),
              static_cast<unsigned long long>(end - 1));
  GpuRunner runner;
  int failures = 0;
  for (std::uint64_t seed = begin; seed < end && failures < 3; ++seed) {
    const std::string verdict = judge_random_program(runner, seed);
    EXPECT_EQ(verdict, "");
    failures += !verdict.empty();
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, GpuRandomPrograms, ::testing::Range(std::uint64_t{0}, parts));

}  // namespace
}  // namespace attnc::testing
