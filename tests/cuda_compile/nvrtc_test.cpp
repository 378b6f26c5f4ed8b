// SPDX-License-Identifier: Apache-2.0
// An NVRTC of our own where another library of the process has loaded one.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "runtime/cuda/compile.h"
#include "runtime/cuda/private_nvrtc.h"
#include "tests/support/nvrtc.h"

namespace attnc::testing {
namespace {

constexpr const char* source = "extern \"C\" __global__ void entry(float* p) { p[threadIdx.x] *= 2.0f; }";

/// Compiles `source` with one NVRTC.
bool compiles(const cuda::NvrtcApi& api) {
  cuda::nvrtcProgram program = nullptr;
  const char* const options[] = {"--gpu-architecture=sm_80"};
  const bool done = api.create_program(&program, source, "source.cu", 0, nullptr, nullptr) == 0 &&
                    api.compile_program(program, 1, options) == 0;
  api.destroy_program(&program);
  return done;
}

// The search happens once a process, so this needs a process of its own, in which another library came first.
TEST(PrivateNvrtcDeathTest, IsNotTheOneThatOthersLoaded) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  if (std::getenv("ATTNC_NVRTC") != nullptr) GTEST_SKIP() << "ATTNC_NVRTC says which to take";
  const std::string of_others = cuda::nvrtc().path;
  EXPECT_EXIT(
      {
        void* const theirs = dlopen(of_others.c_str(), RTLD_NOW | RTLD_GLOBAL);
        const bool compiled = !cuda::compile(source, plan::target_from_name("sm_80")).cubin.empty();
        void* const ours = cuda::private_nvrtc().handle;
        std::fprintf(stderr, "%s %s", cuda::nvrtc().path.c_str(), cuda::private_nvrtc().path.c_str());
        std::exit(compiled && theirs != nullptr && ours != theirs ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(PrivateNvrtc, ACopyCompiles) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  const auto copy = cuda::load_copy(cuda::nvrtc());
  ASSERT_TRUE(copy.has_value());
  EXPECT_NE(copy->handle, cuda::nvrtc().handle);
  EXPECT_EQ(copy->version_text(), cuda::nvrtc().version_text());
  EXPECT_TRUE(compiles(*copy));
}

// A batch system's limit on file sizes must neither end the process (SIGXFSZ) nor leave half a library to load.
TEST(PrivateNvrtcDeathTest, ACopyLargerThanTheLimitIsNotMade) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  EXPECT_EXIT(
      {
        rlimit limit{};
        limit.rlim_cur = limit.rlim_max = 1 << 20;
        const bool limited = setrlimit(RLIMIT_FSIZE, &limit) == 0;
        std::exit(limited && !cuda::load_copy(cuda::nvrtc()).has_value() && compiles(cuda::nvrtc()) ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

/// Ends the process with 3 and the message on stderr where ATTNC_NVRTC=`value` is refused, else with 0.
[[noreturn]] void find_with(const char* value) {
  setenv("ATTNC_NVRTC", value, 1);
  std::string problem;
  std::exit(has_nvrtc(&problem) || std::fprintf(stderr, "%s", problem.c_str()) < 0 ? 0 : 3);
}

TEST(NamedNvrtcDeathTest, WhatIsNoNvrtcIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(find_with("libm.so.6"), ::testing::ExitedWithCode(3),
              "ATTNC_NVRTC=libm.so.6 cannot be loaded as NVRTC 12");
  EXPECT_EXIT(find_with(ATTNC_OLD_NVRTC), ::testing::ExitedWithCode(3), "libold_nvrtc.so cannot be loaded as NVRTC 12");
}

TEST(NamedNvrtcDeathTest, AnEmptyNameNamesNothing) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("ATTNC_NVRTC", "", 1);
        std::string problem;
        std::exit(has_nvrtc(&problem) || problem.find("no NVRTC 12 or newer found") != std::string::npos ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(PrivateNvrtc, WhatCannotBeCopiedIsNoFault) {
  cuda::NvrtcApi missing;
  missing.path = "/nonexistent/libnvrtc.so.13";
  EXPECT_FALSE(cuda::load_copy(missing).has_value());
}

}  // namespace
}  // namespace attnc::testing
