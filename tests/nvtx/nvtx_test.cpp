// SPDX-License-Identifier: Apache-2.0
// Run by CTest with NVTX_INJECTION64_PATH naming nvtx_recorder, with ATTNC_NVTX=1 and without.
#include "runtime/cuda/nvtx.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "compiler/plan/target.h"
#include "dsl/error.h"
#include "runtime/attention.h"
#include "runtime/cuda/compile.h"

namespace attnc {
namespace {

class Nvtx : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("ATTNC_TEST_NVTX_RECORD");
    if (path == nullptr || std::getenv("NVTX_INJECTION64_PATH") == nullptr) GTEST_SKIP() << "to be run by ctest";
    record_ = path;
    const char* asked = std::getenv("ATTNC_NVTX");
    on_ = asked != nullptr && std::string(asked) == "1";
    // The recorder attaches once in a process; what it noted before this test is not of this test.
    before_ = lines().size();
    if (!seen_) std::remove(record_.c_str()), before_ = 0;
    seen_ = true;
  }
  std::vector<std::string> lines() const {
    std::ifstream file(record_);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
  /// Pushes and pops since the test began.
  std::vector<std::string> ranges() const {
    std::vector<std::string> kept;
    const std::vector<std::string> all = lines();
    for (std::size_t i = before_; i < all.size(); ++i)
      if (all[i].starts_with("push ") || all[i].starts_with("pop ")) kept.push_back(all[i]);
    return kept;
  }
  bool on() const { return on_; }

 private:
  static inline bool seen_ = false;
  std::string record_;
  bool on_ = false;
  std::size_t before_ = 0;
};

using Lines = std::vector<std::string>;

TEST_F(Nvtx, RangesNest) {
  {
    const ProfileRange outer("outer");
    const ProfileRange inner("inner");
  }
  EXPECT_EQ(ranges(), on() ? Lines({"push 0 outer", "push 1 inner", "pop 1", "pop 0"}) : Lines());
  EXPECT_EQ(lines().empty(), !on()) << "off, no profiler is even loaded";
  if (!on()) return;
  ASSERT_GE(lines().size(), 2u);
  EXPECT_EQ(lines()[1], "domain attnc");
}

TEST_F(Nvtx, PrepareAndForward) {
  AttentionOptions options;
  options.head_dim = 16;
  const Attention attention(options);
  try {
    attention.prepare();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();  // a build without the CPU backend
  }
  std::vector<float> q(2 * 16, 1.0f), out(2 * 16);
  const TensorView view(q.data(), DType::f32, {1, 1, 2, 16}), out_view(out.data(), DType::f32, {1, 1, 2, 16});
  attention.forward(view, view, view, out_view);
  EXPECT_EQ(ranges(), on() ? Lines({"push 0 attnc prepare", "pop 0", "push 0 attnc forward", "pop 0"}) : Lines());
}

TEST_F(Nvtx, AnErrorEndsItsRange) {
  EXPECT_THROW(cuda::compile("this is no CUDA", plan::target_from_name("sm_80")), Error);
  EXPECT_EQ(ranges(), on() ? Lines({"push 0 attnc compile", "pop 0"}) : Lines());
}

}  // namespace
}  // namespace attnc
