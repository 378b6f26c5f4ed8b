// SPDX-License-Identifier: Apache-2.0
// The kernels that attnc bench measures the roof with: they compile, keep their sums in registers, and ptxas has
// nothing to say against them. Running them takes a GPU.
#include "tools/cli/roof.h"

#include <gtest/gtest.h>

#include "dsl/error.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"

namespace attnc::cli {
namespace {

TEST(Roof, LoopsCompileForEveryTarget) {
  try {
    cuda::nvrtc();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  for (const char* name : {"sm_80", "sm_86", "sm_90", "sm_90a", "sm_100a", "sm_120a"})
    for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
      const plan::Target target = plan::target_from_name(name);
      const cuda::CompiledSource compiled = cuda::compile(roof_source(dtype, target), target);
      const cuda::ResourceUsage usage = compiled.usage_of("tensor_loop");
      EXPECT_GE(usage.registers, 32) << name << ": the sums are gone";
      EXPECT_EQ(usage.spill_store_bytes + usage.spill_load_bytes, 0) << name;
      EXPECT_TRUE(cuda::parse_warnings(compiled.log).empty()) << name << "\n" << compiled.log;
    }
}

TEST(Roof, TheProcessorDoesSomething) {
  const Roof roof = measure_host_roof();
  EXPECT_GT(roof.tflops, 1e-4);
  EXPECT_NE(roof.what.find("threads"), std::string::npos);
}

}  // namespace
}  // namespace attnc::cli
