// SPDX-License-Identifier: Apache-2.0
// Random programs on the GPU against the fp64 oracle. ATTNC_RANDOM_PROGRAMS=N sets how many (512 without it),
// ATTNC_RANDOM_SEED=S where they start, so a failure is replayed with ATTNC_RANDOM_SEED=<its seed>
// ATTNC_RANDOM_PROGRAMS=1.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/gpu/gpu_runner.h"
#include "tests/support/random_mod.h"

namespace attnc::testing {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : fallback;
}

/// One of 16 parts, so that a test runner can spread the compiles over cores.
constexpr std::uint64_t parts = 16;
class GpuRandomPrograms : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(GpuRandomPrograms, MatchTheOracle) {
  ATTNC_REQUIRE_GPU();
  const std::uint64_t count = from_environment("ATTNC_RANDOM_PROGRAMS", 512);
  const std::uint64_t first = from_environment("ATTNC_RANDOM_SEED", std::random_device{}());
  const std::uint64_t begin = first + count * GetParam() / parts, end = first + count * (GetParam() + 1) / parts;
  if (begin == end) GTEST_SKIP() << "no programs for this part";
  std::printf("random programs: seeds %llu to %llu\n", static_cast<unsigned long long>(begin),
              static_cast<unsigned long long>(end - 1));
  GpuRunner runner;
  int failures = 0;
  for (std::uint64_t seed = begin; seed < end && failures < 3; ++seed) {
    const ModCase mods = random_mod(seed);
    const DType dtypes[] = {DType::f32, DType::bf16, DType::f16};
    ProblemSpec spec{.dtype = dtypes[seed % 3],
                     .batch = 2,
                     .q_heads = 2,
                     .kv_heads = 1,
                     .head_dim = 16,
                     .head_dim_v = 16,
                     .seed = seed};
    spec.q_len = 1 + static_cast<int>(seed % 61);
    spec.kv_len = 1 + static_cast<int>((seed / 3) % 83);
    std::string verdict;
    try {
      verdict = run_and_judge(runner, make_attention(mods, spec, runner.device()), mods, spec, 16);
    } catch (const Error& error) {
      verdict = error.what();
    }
    EXPECT_EQ(verdict, "") << "replay: ATTNC_RANDOM_SEED=" << seed << " ATTNC_RANDOM_PROGRAMS=1";
    failures += !verdict.empty();
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, GpuRandomPrograms, ::testing::Range(std::uint64_t{0}, parts));

}  // namespace
}  // namespace attnc::testing
