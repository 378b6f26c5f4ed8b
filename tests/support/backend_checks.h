// SPDX-License-Identifier: Apache-2.0
// The checks that every backend must pass, written once. Each gives "" when all is well, else what failed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/runner.h"

namespace attnc::testing {

/// all_cases()[index] at several lengths, and with block masks of the given sizes.
std::string judge_named_case(Runner& runner, int index, DType dtype, const std::vector<std::pair<int, int>>& blocks);
/// A test's name for it: "softcap_bf16".
std::string named_case_name(int index, DType dtype);

/// Which random programs to run: ATTNC_RANDOM_PROGRAMS=N of them from ATTNC_RANDOM_SEED=S on, so that a failure is
/// replayed with its seed and N = 1.
struct RandomPrograms {
  std::uint64_t first = 1, count = 1;
  static RandomPrograms from_environment(std::uint64_t default_first, std::uint64_t default_count);
};
/// The program of this seed in the dtype of this seed, all of its rows judged: the rule compares greatest errors, and
/// some of the rows tell little about the greatest error of the reference. The verdict says how to replay.
std::string judge_random_program(Runner& runner, std::uint64_t seed);

/// A corner of semantics.md: what is done to the inputs, and the mods that meet it.
struct SpecialCase {
  std::string name;
  std::function<void(Problem&)> spoil;
  ModCase mods;
};
std::vector<SpecialCase> special_cases();
/// `spec`: at least 10 queries and 140 keys.
std::string judge_special_case(Runner& runner, const Attention& attention, const SpecialCase& special,
                               const ProblemSpec& spec);
/// The same with an Attention of its own, 130 queries and 140 keys.
std::string judge_special_case(Runner& runner, const SpecialCase& special, ProblemSpec spec);

/// One Attention per case of a plain, a causal and a capped window one, over lengths around every tile edge.
std::string judge_lengths(Runner& runner, DType dtype);

/// The mods that shape tests use.
const ModCase& plain_case();
const ModCase& causal_case();
const ModCase& capped_window_case();

}  // namespace attnc::testing
