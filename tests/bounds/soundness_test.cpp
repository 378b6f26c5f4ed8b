// SPDX-License-Identifier: Apache-2.0
// Nothing the analysis says is ever wrong: over random expressions and boxes, every element lies in every value's
// range, and no block is called full or empty that is not.
//
//   ATTNC_BOUNDS_PAIRS   how many (expression, block) pairs; 20,000 unless told, 1,000,000 in the long mode
//   ATTNC_BOUNDS_SEED    the first seed; each pair's own seed is printed when it fails, so PAIRS=1 SEED=n replays it
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/print.h"
#include "dsl/format.h"
#include "tests/bounds/random_expression.h"

namespace attnc::testing {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : fallback;
}

bool contains(const bounds::ValueRange& range, double value) {
  switch (range.type) {
    case Type::boolean:
      return value != 0 ? range.may_be_true : range.may_be_false;
    case Type::f32:
      return std::isnan(value) ? range.may_be_nan : value >= range.real_lo && value <= range.real_hi;
    default: {
      if (std::fabs(value) >= 0x1p53) return true;  // the interpreter's double is no longer exact
      const auto integer = static_cast<std::int64_t>(value);
      return integer >= range.lo && integer <= range.hi;
    }
  }
}

std::string describe(const Sample& sample, std::uint64_t seed) {
  const bounds::Box& box = sample.box;
  std::string text =
      attnc::format("seed {}: q [{}, {}] of {}, kv [{}, {}] of {}, b {}, h {}\n", seed, box.q_first, box.q_last,
                    box.q_len_first, box.kv_first, box.kv_last, box.kv_len_first, box.b_first, box.h_first);
  for (std::size_t i = 0; i < sample.bindings.params.size(); ++i)
    text += attnc::format("param {} = {} / {}\n", i, sample.bindings.params[i].integer, sample.bindings.params[i].real);
  return text + ir::print(sample.program);
}

TEST(Soundness, RangesHoldEveryElement) {
  const std::uint64_t pairs = from_environment("ATTNC_BOUNDS_PAIRS", 20000),
                      first = from_environment("ATTNC_BOUNDS_SEED", 1);
  RecordProperty("first_seed", std::to_string(first));
  std::uint64_t full = 0, empty = 0, undecided_pure = 0;
  for (std::uint64_t seed = first; seed < first + pairs; ++seed) {
    const Sample sample = random_sample(seed);
    if (sample.program.mask == ir::no_value) continue;
    const bounds::HostBufferRanges buffers(sample.program, sample.bindings);
    bounds::Evaluator evaluator(sample.program, {&sample.bindings, &buffers});

    // The mask over every element, and one other value over some.
    const Elements mask = evaluate_elements(sample.program, sample.bindings, sample.program.mask, sample.box, 2000);
    const bounds::Verdict verdict = evaluator.classify(sample.box);
    bool kept = false, dropped = false;
    for (const double v : mask.value) (v != 0 ? kept : dropped) = true;
    ASSERT_FALSE(verdict == bounds::Verdict::full && dropped) << describe(sample, seed);
    ASSERT_FALSE(verdict == bounds::Verdict::empty && kept) << describe(sample, seed);
    full += verdict == bounds::Verdict::full;
    empty += verdict == bounds::Verdict::empty;
    undecided_pure += verdict == bounds::Verdict::partial && kept != dropped;

    const auto id = static_cast<ir::ValueId>(seed * 7919 % sample.program.insts.size());
    const bounds::ValueRange range = evaluator.range(id, sample.box);
    bounds::Evaluator blind(sample.program, {});
    const bounds::ValueRange wide = blind.range(id, sample.box);
    const Elements value = evaluate_elements(sample.program, sample.bindings, id, sample.box, 100);
    for (std::size_t i = 0; i < value.value.size(); ++i) {
      ASSERT_TRUE(contains(range, value.value[i]))
          << "%" << id << " is " << value.value[i] << " at q " << value.q_idx[i] << ", kv " << value.kv_idx[i]
          << ", outside [" << range.lo << ", " << range.hi << "] or [" << range.real_lo << ", " << range.real_hi
          << "] nan " << range.may_be_nan << "; " << describe(sample, seed);
      ASSERT_TRUE(contains(wide, value.value[i])) << "without bindings: %" << id << "; " << describe(sample, seed);
    }
  }
  // The test would be empty if nothing were ever decided.
  EXPECT_GT(full + empty, pairs / 4);
  attnc::print(stdout, "{} pairs: {} full, {} empty, {} undecided though of one kind\n", pairs, full, empty,
               undecided_pure);
}

}  // namespace
}  // namespace attnc::testing
