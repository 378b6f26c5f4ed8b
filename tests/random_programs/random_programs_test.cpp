// SPDX-License-Identifier: Apache-2.0
// Random programs: interpreter against the CPU backend. ATTNC_RANDOM_PROGRAMS=N sets how many (2,000 without it),
// ATTNC_RANDOM_SEED=S where they start, so a failure is replayed with ATTNC_RANDOM_SEED=<its seed>
// ATTNC_RANDOM_PROGRAMS=1.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/support/backend_checks.h"

namespace attnc::testing {
namespace {

TEST(RandomPrograms, MatchTheOracle) {
  const auto [first, count] = RandomPrograms::from_environment(1, 2000);
  std::printf("random programs: seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + count - 1));
  CpuRunner runner;
  int failures = 0;
  for (std::uint64_t seed = first; seed < first + count && failures < 5; ++seed) {
    const std::string verdict = judge_random_program(runner, seed);
    EXPECT_EQ(verdict, "");
    failures += !verdict.empty();
  }
}

}  // namespace
}  // namespace attnc::testing
