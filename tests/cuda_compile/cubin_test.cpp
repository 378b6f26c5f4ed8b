// SPDX-License-Identifier: Apache-2.0
// Whether a kernel keeps its stack pointer, read off its machine code.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "dsl/error.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/cubin.h"
#include "tests/support/nvrtc.h"

namespace attnc::testing {
namespace {

using cuda::count_stack_pointer_writes;

/// An array indexed at run time, which is kept on the stack, or none.
cuda::CompiledSource compiled(bool with_stack, const char* target) {
  const std::string body =
      with_stack ? "float a[16]; for (int i = 0; i < 16; ++i) a[i] = p[i];"
                   "for (int i = 0; i < n; ++i) a[static_cast<int>(p[i]) & 15] += 1.0f; p[16] = a[n & 15];"
                 : "p[16] = p[n];";
  return cuda::compile("extern \"C\" __global__ void entry(float* p, int n) { " + body + " }",
                       plan::target_from_name(target));
}

TEST(Cubin, AKernelWithAStackWritesItsPointerTwice) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  for (const char* target : {"sm_80", "sm_90a"}) {
    const cuda::CompiledSource with = compiled(true, target), without = compiled(false, target);
    ASSERT_GT(with.usage_of("entry").stack_bytes, 0) << with.log;
    EXPECT_EQ(count_stack_pointer_writes(with.cubin, "entry"), 2) << target;
    EXPECT_LE(count_stack_pointer_writes(without.cubin, "entry"), 1) << target;
  }
}

/// Where the first instruction of `cubin` whose result is R2 stands. "LDC R1, c[0x0][0x28]" comes first of all, so the
/// code begins there, and instructions are 16 bytes.
std::size_t find_result_in_r2(const std::string& cubin) {
  const std::string first_instruction("\x82\x7b\x01\xff", 4);
  std::size_t at = cubin.find(first_instruction);
  while (at < cubin.size() && cubin[at + 2] != 2) at += 16;
  return at;
}

TEST(Cubin, OneMoreWriteIsCounted) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  std::string cubin = compiled(true, "sm_90a").cubin;
  const int before = count_stack_pointer_writes(cubin, "entry");
  const std::size_t at = find_result_in_r2(cubin);
  ASSERT_LE(at + 16, cubin.size());
  cubin[at + 2] = 1;
  EXPECT_EQ(count_stack_pointer_writes(cubin, "entry"), before + 1);
}

TEST(Cubin, ConvergenceBarriersAreNoRegisters) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  const std::string cubin = compiled(true, "sm_90a").cubin;
  const int before = count_stack_pointer_writes(cubin, "entry");
  const std::size_t at = find_result_in_r2(cubin);
  ASSERT_LE(at + 16, cubin.size());
  // As nvdisasm prints them: "BSYNC B1", "BREAK B1", "BSSY B1, `(.L_x_27)".
  for (const char* instruction : {"\x41\x79\x01", "\x42\x79\x01", "\x45\x79\x01"}) {
    std::string other = cubin;
    other.replace(at, 3, instruction, 3);
    EXPECT_EQ(count_stack_pointer_writes(other, "entry"), before) << instruction;
  }
}

TEST(Cubin, WhatIsNotFoundIsSaid) {
  EXPECT_EQ(count_stack_pointer_writes("", "entry"), -1);
  EXPECT_EQ(count_stack_pointer_writes(
                "no ELF at all, but long enough for the header of one, which has 64 bytes and more", "entry"),
            -1);
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  const std::string cubin = compiled(true, "sm_90a").cubin;
  EXPECT_EQ(count_stack_pointer_writes(cubin, "another"), -1);
  // Whatever is cut off, nothing is read beyond the end.
  for (std::size_t bytes = 0; bytes < cubin.size(); bytes += 37)
    count_stack_pointer_writes(cubin.substr(0, bytes), "entry");
}

}  // namespace
}  // namespace attnc::testing
