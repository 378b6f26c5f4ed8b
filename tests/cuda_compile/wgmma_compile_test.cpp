// SPDX-License-Identifier: Apache-2.0
// A sample of the kernels of tests/gpu/wgmma_test.cpp compiles without a GPU, nothing spilled.
#include <gtest/gtest.h>

#include "dsl/error.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"
#include "tests/gpu/wgmma_source.h"

namespace attnc::testing {
namespace {

TEST(WgmmaSource, CompilesForBothTypes) {
  try {
    cuda::nvrtc();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const std::vector<int> sample = {8, 48, 72, 128, 256};
  for (const bool is_bf16 : {true, false}) {
    const cuda::CompiledSource compiled =
        cuda::compile(wgmma_source(is_bf16, sample), plan::target_from_name("sm_90a"));
    for (const int n : sample)
      for (const char* kind : {"shared", "register"}) {
        const cuda::ResourceUsage usage = compiled.usage_of(attnc::format("{}_{}", kind, n));
        EXPECT_GT(usage.registers, n / 2) << kind << n << compiled.log.substr(0, 500);
        EXPECT_EQ(usage.spill_store_bytes, 0) << kind << n;
      }
    for (const std::string& warning : cuda::parse_warnings(compiled.log)) ADD_FAILURE() << warning;
  }
}

}  // namespace
}  // namespace attnc::testing
