// SPDX-License-Identifier: Apache-2.0
// The kernels that build block masks compile for every target without a warning, for every named mask and for random
// ones; those that do not depend on the mask without spills.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "compiler/cuda/block_mask_source.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/stock.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"
#include "tests/support/mod_cases.h"
#include "tests/support/random_mod.h"

namespace attnc::testing {
namespace {

constexpr const char* targets[] = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};

bool has_nvrtc() {
  try {
    cuda::nvrtc();
    return true;
  } catch (const Error&) {
    return false;
  }
}

ir::Program program_of(const MaskMod& mask) { return passes::canonicalize(ir::lower({}, mask)); }

/// Compiles; returns milliseconds.
double expect_compiles(const std::string& source, std::initializer_list<std::string_view> entries, const char* target,
                       const std::string& what) {
  try {
    const cuda::CompiledSource compiled = cuda::compile(source, plan::target_from_name(target));
    for (const std::string_view entry : entries) {
      const cuda::ResourceUsage usage = compiled.usage_of(entry);
      EXPECT_GT(usage.registers, 0) << what << ' ' << entry;
      if (entry != cuda::mask_decide_entry && entry != cuda::mask_classify_entry) {
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
  return expect_compiles(cuda::make_block_mask_source(program, granule).text,
                         {cuda::mask_classify_entry, cuda::mask_decide_entry}, target, what);
}

TEST(BlockMaskCompile, EveryTarget) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  for (const char* target : targets) {
    const double mask_ms =
        expect_mask_compiles(program_of(stock::document() & stock::causal()), 64, target, "document and causal");
    const double tables_ms = expect_compiles(
        cuda::make_block_table_source(),
        {cuda::mask_extrema_entry, cuda::mask_count_entry, cuda::mask_scan_entry, cuda::mask_fill_entry}, target,
        "tables");
    RecordProperty(target, fmt::format("{:.0f} ms, {:.0f} ms", mask_ms, tables_ms));
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
    if (!mod.mask.is_everything()) expect_mask_compiles(program_of(mod.mask), 16, "sm_80", fmt::format("seed {}", seed));
  }
}

TEST(BlockMaskCompile, SignatureNamesWhatMatters) {
  const std::vector<std::string> flags{"--std=c++17"};
  const auto signature = [&](const MaskMod& mask, int granule, const char* target) {
    return cuda::make_block_mask_signature(program_of(mask), granule, plan::target_from_name(target), "13.0", flags);
  };
  const auto window = [](const char* name) { return mask_mod(fmt::format("q_idx - kv_idx < {}", name),
                                                             {{{name, Type::i32, 0, 0, true}}, {}}); };
  const std::string base = signature(stock::causal(), 64, "sm_90a");
  EXPECT_EQ(base, signature(stock::causal(), 64, "sm_90a"));
  EXPECT_NE(base, signature(stock::causal(), 64, "sm_80"));
  EXPECT_NE(base, signature(stock::sliding_window(64), 64, "sm_90a"));
  EXPECT_NE(signature(stock::document(), 64, "sm_90a"), signature(stock::document(), 16, "sm_90a"));
  EXPECT_EQ(signature(window("alpha"), 64, "sm_90a"), signature(window("beta"), 64, "sm_90a")) << "names are not meaning";
}

}  // namespace
}  // namespace attnc::testing
