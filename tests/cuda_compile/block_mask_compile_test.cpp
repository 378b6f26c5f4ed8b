// SPDX-License-Identifier: Apache-2.0
// The kernels that build block masks compile for every target without a warning, for every named mask and for random
// ones; those that do not depend on the mask without spills.
#include <gtest/gtest.h>

#include <cstddef>

#include "compiler/bounds/bounds.h"
#include "compiler/cuda/block_mask_source.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "runtime/cuda/block_mask_arguments.h"
#include "runtime/cuda/compile.h"
#include "tests/support/mod_cases.h"
#include "tests/support/nvrtc.h"
#include "tests/support/random_mod.h"

namespace attnc::testing {
namespace {

constexpr const char* targets[] = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};

ir::Program program_of(const MaskMod& mask) { return passes::canonicalize(ir::lower({}, mask)); }

/// Compiles; returns milliseconds.
double expect_compiles(const std::string& source, std::initializer_list<std::string_view> entries, const char* target,
                       const std::string& what) {
  try {
    const cuda::CompiledSource compiled = cuda::compile(source, plan::target_from_name(target));
    for (const std::string_view entry : entries) {
      const cuda::ResourceUsage usage = compiled.usage_of(entry);
      EXPECT_GT(usage.registers, 0) << what << ' ' << entry;
      if (entry == cuda::mask_extrema_entry || entry == cuda::mask_count_entry || entry == cuda::mask_scan_entry ||
          entry == cuda::mask_fill_entry) {
        EXPECT_EQ(usage.spill_store_bytes, 0) << what << ' ' << entry;
      }
    }
    for (const std::string& warning : cuda::parse_warnings(compiled.log)) ADD_FAILURE() << what << ": " << warning;
    return compiled.compile_ms;
  } catch (const Error& error) {
    ADD_FAILURE() << what << " on " << target << ": " << error.what() << '\n' << source;
    return 0;
  }
}

double expect_mask_compiles(const ir::Program& program, int granule, const char* target, const std::string& what) {
  using cuda::MaskPurpose;
  const auto source = [&](MaskPurpose purpose) { return cuda::make_block_mask_source(program, granule, purpose).text; };
  expect_compiles(source(MaskPurpose::large), {cuda::mask_classify_entry, cuda::mask_decide_entry}, target, what);
  expect_compiles(source(MaskPurpose::bits), {cuda::mask_bits_entry}, target, what);
  return expect_compiles(source(MaskPurpose::small), {cuda::mask_small_entry}, target, what);
}

TEST(BlockMaskCompile, EveryTarget) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  for (const char* target : targets) {
    const double mask_ms =
        expect_mask_compiles(program_of(stock::document() & stock::causal()), 64, target, "document and causal");
    const double extrema_ms = expect_compiles(cuda::make_block_table_source(cuda::TablePurpose::extrema),
                                              {cuda::mask_extrema_entry}, target, "extrema");
    expect_compiles(cuda::make_block_table_source(cuda::TablePurpose::extrema_of_lines), {cuda::mask_extrema_entry},
                    target, "extrema of lines");
    expect_compiles(cuda::make_block_table_source(cuda::TablePurpose::lists),
                    {cuda::mask_count_entry, cuda::mask_scan_entry, cuda::mask_fill_entry}, target, "lists");
    expect_compiles(cuda::make_block_table_source(cuda::TablePurpose::small_lists), {cuda::mask_small_lists_entry},
                    target, "small lists");
    RecordProperty(target, attnc::format("{:.0f} ms, {:.0f} ms", mask_ms, extrema_ms));
  }
}

TEST(BlockMaskCompile, EveryNamedMask) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  for (const ModCase& mod : mask_cases()) expect_mask_compiles(program_of(mod.mask), 16, "sm_90a", mod.name);
}

TEST(BlockMaskCompile, RandomMasks) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const ModCase mod = random_mod(seed);
    if (!mod.mask.is_everything())
      expect_mask_compiles(program_of(mod.mask), 16, "sm_80", attnc::format("seed {}", seed));
  }
}

TEST(BlockMaskLayout, HostAndDeviceAgree) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  std::string source =
      "#include \"block_mask/bits.cuh\"\n#include \"block_mask/extrema.cuh\"\n#include \"block_mask/small.cuh\"\n"
      "#include \"block_mask/small_lists.cuh\"\n";
#define ATTNC_SAME(space, device, host, field)                                                                         \
  source += attnc::format("static_assert(__INTADDR__(&(((attnc::{0}::{1}*)0)->{2})) == {3}, \"{1}::{2}\");\n", #space, \
                          #device, #field, offsetof(cuda::host, field))
  ATTNC_SAME(block_mask, Arguments, MaskArguments, partial);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, full);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, kv);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, q);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, work_order);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, tally);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, open);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, batch);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, heads);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, q_len);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, kv_len);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, q_block);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, kv_block);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, q_blocks);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, kv_blocks);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, words);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, sections);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, section_rows);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, rows_per_warp);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, words_per_step);
  ATTNC_SAME(block_mask, Arguments, MaskArguments, separate_full_blocks);
  ATTNC_SAME(block_mask, Lists, MaskListArguments, counts);
  ATTNC_SAME(block_mask, Lists, MaskListArguments, offsets);
  ATTNC_SAME(block_mask, Lists, MaskListArguments, indices);
  ATTNC_SAME(block_mask, Lists, MaskListArguments, section_counts);
  ATTNC_SAME(block_mask, Lists, MaskListArguments, capacity);
  ATTNC_SAME(block_mask, Tally, MaskTally, evaluated);
  ATTNC_SAME(block_mask, Tally, MaskTally, evaluated_full);
  ATTNC_SAME(block_mask, Tally, MaskTally, evaluated_partial);
  ATTNC_SAME(block_mask, Tally, MaskTally, full);
  ATTNC_SAME(block_mask, Tally, MaskTally, overflowing_rows);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, source);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, minima);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, maxima);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, stride_elems);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, extent);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, outer_stride_elems);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, outer_extent);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, inner);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, outer);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, element);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, runs);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, granule);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, levels);
  ATTNC_SAME(extrema, Arguments, ExtremaArguments, counter);
#undef ATTNC_SAME
  source += attnc::format("static_assert(sizeof(attnc::block_mask::Arguments) == {}, \"size\");\n",
                          sizeof(cuda::MaskArguments));
  source += attnc::format("static_assert(sizeof(attnc::extrema::Arguments) == {}, \"size\");\n",
                          sizeof(cuda::ExtremaArguments));
  source += attnc::format(
      "static_assert(attnc::block_mask::small_threads == {} && attnc::block_mask::small_words == {} && "
      "attnc::block_mask::small_rows == {} && attnc::block_mask::decide_threads == {} && "
      "attnc::block_mask::bits_threads == {}, \"small\");\n",
      cuda::mask_small_threads, cuda::mask_small_words, cuda::mask_small_rows, cuda::mask_small_threads,
      cuda::mask_bits_threads);
  source += attnc::format(
      "static_assert(attnc::extrema::threads == {} && attnc::extrema::runs_per_block == {}, \"launch\");\n",
      cuda::extrema_threads, cuda::extrema_runs_per_block);
  source += attnc::format("static_assert(attnc::extrema::max_levels == {}, \"levels\");\n",
                          bounds::ClassifierProgram::levels);
  source += "extern \"C\" __global__ void attnc_forward() {}\n";
  EXPECT_NO_THROW(cuda::compile(source, plan::target_from_name("sm_80")));
  EXPECT_THROW(cuda::compile(source + "static_assert(sizeof(attnc::block_mask::Tally) == 1, \"\");\n",
                             plan::target_from_name("sm_80")),
               Error)
      << "the test itself can fail";
}

/// The masks that were timed with their elements evaluated and as bits (docs/bounds.md).
TEST(BlockMaskBits, AreKeptWhereTheyPaid) {
  const struct {
    const char* name;
    MaskMod mask;
    bool pays;
  } measured[] = {
      {"neighborhood", stock::neighborhood(56, 5), true},
      {"neighborhood_clamped", stock::neighborhood_clamped(56, 56, 5), true},
      {"window and sinks", mask_mod("q_idx >= kv_idx && (q_idx - kv_idx < 1024 || kv_idx < 64)"), true},
      {"strided window", mask_mod("q_idx >= kv_idx && (q_idx - kv_idx < 256 || (q_idx - kv_idx) % 64 == 0)"), true},
      {"causal", stock::causal(), false},
      {"window", stock::sliding_window(1024), false},
      {"two-sided window", stock::sliding_window_two_sided(1000), false},
      {"dilated", stock::dilated(1000, 4), false},
      {"document", stock::document(), false},
      {"document and causal", stock::document() & stock::causal(), false},
  };
  for (const auto& m : measured)
    EXPECT_EQ(cuda::is_dear_to_evaluate(program_of(m.mask), plan::target_from_name("sm_90a")), m.pays) << m.name;
}

TEST(BlockMaskCompile, SignatureNamesWhatMatters) {
  const std::vector<std::string> flags{"--std=c++17"};
  const auto signature = [&](const MaskMod& mask, int granule, const char* target) {
    return cuda::make_block_mask_signature(program_of(mask), granule, cuda::MaskPurpose::small,
                                           plan::target_from_name(target), "13.0", flags);
  };
  const auto window = [](const char* name) {
    return mask_mod(attnc::format("q_idx - kv_idx < {}", name), {{{name, Type::i32, 0, 0, true}}, {}});
  };
  const std::string base = signature(stock::causal(), 64, "sm_90a");
  EXPECT_EQ(base, signature(stock::causal(), 64, "sm_90a"));
  EXPECT_NE(base, signature(stock::causal(), 64, "sm_80"));
  EXPECT_NE(base, signature(stock::sliding_window(64), 64, "sm_90a"));
  EXPECT_NE(signature(stock::document(), 64, "sm_90a"), signature(stock::document(), 16, "sm_90a"));
  EXPECT_EQ(signature(window("alpha"), 64, "sm_90a"), signature(window("beta"), 64, "sm_90a"))
      << "names are not meaning";
}

}  // namespace
}  // namespace attnc::testing
