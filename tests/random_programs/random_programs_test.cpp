// SPDX-License-Identifier: Apache-2.0
// Random programs: interpreter against the CPU backend. ATTNC_RANDOM_PROGRAMS=N sets how many (2,000 without it),
// ATTNC_RANDOM_SEED=S where they start, so a failure is replayed with ATTNC_RANDOM_SEED=<its seed>
// ATTNC_RANDOM_PROGRAMS=1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/support/random_mod.h"
#include "tests/support/runner.h"

namespace attnc::testing {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : fallback;
}

TEST(RandomPrograms, MatchTheOracle) {
  const std::uint64_t count = from_environment("ATTNC_RANDOM_PROGRAMS", 2000);
  const std::uint64_t first = from_environment("ATTNC_RANDOM_SEED", 1);
  RecordProperty("first_seed", std::to_string(first));
  std::printf("random programs: seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + count - 1));
  CpuRunner runner;
  int failures = 0;
  for (std::uint64_t seed = first; seed < first + count && failures < 5; ++seed) {
    const ModCase mods = random_mod(seed);
    const DType dtypes[] = {DType::f32, DType::bf16, DType::f16};
    ProblemSpec spec{.dtype = dtypes[seed % 3],
                     .batch = 2,
                     .q_heads = 2,
                     .kv_heads = 1,
                     .head_dim = 16,
                     .head_dim_v = 16,
                     .seed = seed};
    spec.q_len = 64 + static_cast<int>(seed % 61);  // enough rows for the greatest error to mean something
    spec.kv_len = 1 + static_cast<int>((seed / 3) % 83);
    std::string verdict;
    try {
      verdict = run_and_judge(runner, make_attention(mods, spec, runner.device()), mods, spec, 1000);
    } catch (const Error& error) {
      verdict = error.what();
    }
    EXPECT_EQ(verdict, "") << "replay: ATTNC_RANDOM_SEED=" << seed << " ATTNC_RANDOM_PROGRAMS=1";
    failures += !verdict.empty();
  }
}

}  // namespace
}  // namespace attnc::testing
