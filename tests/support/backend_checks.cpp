// SPDX-License-Identifier: Apache-2.0
#include "tests/support/backend_checks.h"

#include <cmath>
#include <cstdlib>
#include <limits>

#include "dsl/error.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "tests/support/random_mod.h"

namespace attnc::testing {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

std::uint64_t environment_number(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : fallback;
}

void set_first_element(GuardedTensor& tensor, std::int64_t row, double value) {
  const std::int64_t index[] = {0, 0, row, 0};
  write_element(tensor.view, index, value);
}

}  // namespace

std::string judge_named_case(Runner& runner, int index, DType dtype, const std::vector<std::pair<int, int>>& blocks) {
  const ModCase mods = all_cases()[static_cast<std::size_t>(index)];
  ProblemSpec spec{.dtype = dtype,
                   .batch = 2,
                   .q_heads = 4,
                   .kv_heads = 2,
                   .q_len = 243,
                   .kv_len = 257,
                   .seed = 11u + static_cast<unsigned>(index)};
  const Attention attention = make_attention(mods, spec, runner.device());
  // The last: few queries and many keys, which a GPU splits among blocks.
  for (const auto& [q_len, kv_len] : {std::pair(243, 257), std::pair(256, 129), std::pair(1, 1500)}) {
    spec.q_len = q_len, spec.kv_len = kv_len;
    if (const std::string verdict = run_and_judge(runner, attention, mods, spec); !verdict.empty()) return verdict;
  }
  if (mods.mask.is_everything()) return "";
  spec.q_len = 300, spec.kv_len = 520;
  for (const auto& [q, kv] : blocks) {
    const std::string verdict = run_and_judge(runner, attention, mods, spec, 48, q, kv);
    if (!verdict.empty()) return attnc::format("with blocks of {} x {}: {}", q, kv, verdict);
  }
  return "";
}

std::string named_case_name(int index, DType dtype) {
  return attnc::format("{}_{}", all_cases()[static_cast<std::size_t>(index)].name, name(dtype));
}

RandomPrograms RandomPrograms::from_environment(std::uint64_t default_first, std::uint64_t default_count) {
  return {environment_number("ATTNC_RANDOM_SEED", default_first),
          environment_number("ATTNC_RANDOM_PROGRAMS", default_count)};
}

std::string judge_random_program(Runner& runner, std::uint64_t seed) {
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
  const int all_rows = spec.batch * spec.q_heads * spec.q_len;
  std::string verdict;
  try {
    verdict = run_and_judge(runner, make_attention(mods, spec, runner.device()), mods, spec, all_rows);
  } catch (const Error& error) {
    verdict = error.what();
  }
  if (verdict.empty()) return "";
  return attnc::format("{}\nreplay: ATTNC_RANDOM_SEED={} ATTNC_RANDOM_PROGRAMS=1", verdict, seed);
}

std::vector<SpecialCase> special_cases() {
  const auto nothing_done = [](Problem&) {};
  const MaskMod prefix = mask_mod([](Index, Index, Index, Index kv) { return kv < 66; });
  // The score_mod itself gives NaN and inf where the mask drops.
  const ScoreMod wild = score_mod([](Score s, Index, Index, Index, Index kv) { return s + log(f32(66 - kv)); });
  const ScoreMod masking =
      score_mod([](Score s, Index, Index, Index q, Index kv) { return where(q >= kv + 5, s, -inf); });
  const ScoreMod spike =
      score_mod([](Score s, Index, Index, Index q, Index kv) { return where(q == 9 && kv == 3, inf, s); });
  const MaskMod after = mask_mod([](Index, Index, Index q, Index kv) { return kv > q + 100; });
  return {
      {"NanQueryPoisonsItsRowOnly",
       [](Problem& problem) { set_first_element(problem.q, problem.spec.q_len / 2, std::nan("")); },
       {"causal", {}, stock::causal(), {}}},
      {"MaskedNanKeysNeverLeak",
       [](Problem& problem) {
         for (std::int64_t row = 66; row < problem.spec.kv_len; ++row)
           set_first_element(problem.k, row, std::nan("")), set_first_element(problem.v, row, 1.0);
       },
       {"prefix", {}, prefix, {}}},
      {"MaskedNanScoresNeverLeak", nothing_done, {"wild", wild, prefix, {}}},
      {"ScoresOfMinusInfinityAreDroppedKeys", nothing_done, {"minus_infinity", masking, {}, {}}},
      {"PlusInfinityIsNanAsInSoftmax", nothing_done, {"plus_infinity", spike, {}, {}}},
      {"NoRowHasKeys", nothing_done, {"nothing", {}, stock::nothing(), {}}},
      {"SomeRowsHaveKeys", nothing_done, {"after", {}, after, {}}},
      {"LargeScores", [](Problem& problem) { problem.q.fill_normal(4, 30.0); }, {"identity", {}, {}, {}}},
  };
}

std::string judge_special_case(Runner& runner, const Attention& attention, const SpecialCase& special,
                               const ProblemSpec& spec) {
  Problem problem(spec);
  special.spoil(problem);
  if (special.mods.bind) special.mods.bind(problem);
  runner.forward(attention, problem, special.mods, nullptr);
  return problem.check(special.mods.score, special.mods.mask, 1000);
}

std::string judge_special_case(Runner& runner, const SpecialCase& special, ProblemSpec spec) {
  spec.q_len = 130, spec.kv_len = 140;
  return judge_special_case(runner, make_attention(special.mods, spec, runner.device()), special, spec);
}

std::string judge_lengths(Runner& runner, DType dtype) {
  const ProblemSpec base{.dtype = dtype, .q_heads = 2, .kv_heads = 2};
  for (const ModCase& mods : {plain_case(), causal_case(), capped_window_case()}) {
    const Attention attention = make_attention(mods, base, runner.device());  // one compile serves every length
    // 17 and 33: the fewest queries that other kernels than that for few queries are for, without and with grouped
    // heads.
    for (int q_len : {1, 2, 17, 33, 64, 65, 127, 128, 129, 1000})
      for (int kv_len : {1, 2, 37, 64, 65, 129, 257, 1023, 1025}) {
        ProblemSpec spec = base;
        spec.q_len = q_len, spec.kv_len = kv_len, spec.seed = static_cast<unsigned>(q_len * 2000 + kv_len);
        const std::string verdict = run_and_judge(runner, attention, mods, spec, 20);
        if (!verdict.empty()) return verdict;
      }
  }
  return "";
}

const ModCase& plain_case() {
  static const ModCase mods{"identity", {}, {}, {}};
  return mods;
}
const ModCase& causal_case() {
  static const ModCase mods{"causal", {}, stock::causal(), {}};
  return mods;
}
const ModCase& capped_window_case() {
  static const ModCase mods{"capped_window", stock::soft_cap(30.0f), stock::sliding_window(100), {}};
  return mods;
}

}  // namespace attnc::testing
