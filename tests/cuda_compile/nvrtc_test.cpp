// SPDX-License-Identifier: Apache-2.0
// Which NVRTC is taken where another library of the process has loaded one already.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "runtime/cuda/nvrtc_api.h"
#include "tests/support/nvrtc.h"

namespace attnc::testing {
namespace {

std::string with_name(std::string path, const std::string& from, const std::string& to) {
  const std::size_t at = path.rfind(from);
  return at == std::string::npos ? "" : path.replace(at, from.size(), to);
}

// The search happens once a process, so this needs a process of its own.
TEST(NvrtcDeathTest, TheOneOthersUseIsNotShared) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  if (std::getenv("ATTNC_NVRTC") != nullptr) GTEST_SKIP() << "ATTNC_NVRTC names the file";
  const std::string own = cuda::nvrtc().path;
  const std::string of_others = with_name(own, "libnvrtc.alt.so", "libnvrtc.so");
  if (of_others.empty() || !std::filesystem::exists(of_others)) GTEST_SKIP() << "there is no second build of " << own;
  EXPECT_EXIT(
      {
        void* const theirs = dlopen(of_others.c_str(), RTLD_NOW | RTLD_GLOBAL);
        void* const ours = cuda::nvrtc().library;
        std::fprintf(stderr, "%s", cuda::nvrtc().path.c_str());
        std::exit(theirs != nullptr && ours != nullptr && theirs != ours && !cuda::nvrtc().shared ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(Nvrtc, WhatIsNotWantedIsUnloaded) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  const std::string of_others = with_name(cuda::nvrtc().path, "libnvrtc.alt.so", "libnvrtc.so");
  if (of_others.empty()) GTEST_SKIP() << "there is no second build of " << cuda::nvrtc().path;
  EXPECT_EQ(dlopen(of_others.c_str(), RTLD_NOW | RTLD_NOLOAD), nullptr);
}

}  // namespace
}  // namespace attnc::testing
