// SPDX-License-Identifier: Apache-2.0
// The same attention on every vector width this CPU has, and on the oldest CPU of its family.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/support/mod_cases.h"
#include "tests/support/problem.h"
#include "tests/support/runner.h"

namespace attnc::testing {
namespace {

struct Target {
  const char* cpu;   // "": this one
  const char* bits;  // "": its widest
};

/// Sets the two variables the CPU backend reads, for one test.
class Targets : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    set("ATTNC_CPU_TARGET", GetParam().cpu);
    set("ATTNC_CPU_VECTOR_BITS", GetParam().bits);
  }
  void TearDown() override {
    set("ATTNC_CPU_TARGET", "");
    set("ATTNC_CPU_VECTOR_BITS", "");
  }
  static void set(const char* name, const char* value) { *value ? setenv(name, value, 1) : unsetenv(name); }
};

TEST_P(Targets, EveryDtypeAndTail) {
  CpuRunner runner;
  const std::vector<ModCase> cases = all_cases();
  for (const char* name : {"identity", "soft_cap_30", "neighborhood", "document_causal_alibi", "relative_bias"}) {
    const ModCase* found = nullptr;
    for (const ModCase& candidate : cases)
      if (candidate.name == name) found = &candidate;
    ASSERT_NE(found, nullptr) << name;
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      ProblemSpec spec;
      spec.dtype = dtype;
      spec.q_heads = 2;
      spec.q_len = 131;
      spec.kv_len = 150;
      spec.head_dim = 40;
      spec.head_dim_v = 72;
      const Attention attention = make_attention(*found, spec, Device::cpu());
      EXPECT_EQ(run_and_judge(runner, attention, *found, spec), "") << name;
    }
  }
}

TEST_P(Targets, ExplainsItself) {
  Attention attention({.score_mod = score_mod("30 * tanh(score / 30)"), .mask_mod = mask_mod("q_idx >= kv_idx")});
  EXPECT_NE(attention.explain("plan").find("lanes="), std::string::npos);
  EXPECT_NE(attention.explain("llvm").find("define void @attnc_tile"), std::string::npos);
  EXPECT_NE(attention.explain("asm").find("attnc_tile"), std::string::npos);
  EXPECT_NE(attention.explain("signature").find("LLVM"), std::string::npos);
}

#if defined(__x86_64__)
INSTANTIATE_TEST_SUITE_P(X86, Targets,
                         ::testing::Values(Target{"x86-64", ""}, Target{"", "128"}, Target{"", "256"}, Target{"", ""}));
#else
INSTANTIATE_TEST_SUITE_P(Host, Targets, ::testing::Values(Target{"", ""}));
#endif

TEST(TargetErrors, RefusesWhatItDoesNotKnow) {
  setenv("ATTNC_CPU_TARGET", "pdp-11", 1);
  EXPECT_THROW(Attention({}).prepare(), Error);
  unsetenv("ATTNC_CPU_TARGET");
  setenv("ATTNC_CPU_VECTOR_BITS", "96", 1);
  EXPECT_THROW(Attention({}).prepare(), Error);
  unsetenv("ATTNC_CPU_VECTOR_BITS");
}

}  // namespace
}  // namespace attnc::testing
