// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend refuses: a typed error that says what to do, after which everything still works.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "dsl/stock.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"
#include "tests/gpu/gpu_runner.h"
#include "tests/support/nvrtc.h"

namespace attnc::testing {
namespace {

const ModCase causal{"causal", {}, stock::causal(), {}};

void expect_error(ErrorCode code, const std::string& part, const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "not refused: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(GpuErrors, HostMemory) {
  ATTNC_REQUIRE_GPU();
  if (cuda::device_info(0).reads_pageable_memory) GTEST_SKIP() << "this device reads host memory";
  Problem problem({.dtype = DType::bf16});
  const Attention attention = make_attention(causal, problem.spec, Device::cuda());
  DeviceProblem device(problem, causal);
  const Stream stream;
  for (TensorView DeviceProblem::*member :
       {&DeviceProblem::q, &DeviceProblem::k, &DeviceProblem::v, &DeviceProblem::out}) {
    const TensorView good = device.*member;
    (device.*member).data = problem.q.view.data;
    expect_error(ErrorCode::invalid_argument, "ordinary host memory",
                 [&] { device.forward(attention, nullptr, stream.get()); });
    device.*member = good;
  }
  device.forward(attention, nullptr, stream.get());
  stream.synchronize();
  device.download(problem);
  EXPECT_EQ(problem.check({}, causal.mask), "");
}

TEST(GpuErrors, NoSuchDevice) {
  ATTNC_REQUIRE_GPU();
  Problem problem({.dtype = DType::bf16});
  const Attention attention = make_attention(causal, problem.spec, Device::cuda(63));
  expect_error(ErrorCode::no_device, "cuda:63", [&] { attention.prepare(); });
}

TEST(GpuErrors, LseMustBeDense) {
  ATTNC_REQUIRE_GPU();
  Problem problem({.dtype = DType::bf16});
  const Attention attention = make_attention(causal, problem.spec, Device::cuda());
  DeviceProblem device(problem, causal);
  device.lse.stride_elems[2] = 2;
  expect_error(ErrorCode::invalid_argument, "lse has stride 2", [&] { device.forward(attention, nullptr, nullptr); });
}

TEST(GpuErrors, NoDriverIsATypedError) {
  if (has_gpu()) GTEST_SKIP() << "there is a driver";
  const Attention attention = make_attention(causal, {.dtype = DType::bf16}, Device::cuda());
  expect_error(ErrorCode::no_device, "driver", [&] { attention.prepare(); });
  expect_error(ErrorCode::no_device, "driver", [&] { attention.prepare(); });  // and the process lives on
}

// The search for NVRTC happens once a process, so this needs a process of its own.
TEST(GpuErrorsDeathTest, NoNvrtcIsATypedError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("ATTNC_NVRTC", "/nonexistent/libnvrtc.so.13", 1);
        try {
          cuda::nvrtc();
        } catch (const Error& error) {
          std::fprintf(stderr, "%s", error.what());
          std::exit(error.code() == ErrorCode::no_device ? 3 : 1);
        }
        std::exit(0);
      },
      ::testing::ExitedWithCode(3), "ATTNC_NVRTC=/nonexistent/libnvrtc.so.13 cannot be loaded");
}

TEST(GpuErrors, ACompileErrorIsOursAndSaysWhere) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  expect_error(ErrorCode::internal, "report", [] {
    cuda::compile("#line 7 \"mod\"\nextern \"C\" __global__ void attnc_forward() { undeclared = 1; }\n",
                  plan::target_from_name("sm_80"));
  });
  expect_error(ErrorCode::internal, "mod(7)", [] {
    cuda::compile("#line 7 \"mod\"\nextern \"C\" __global__ void attnc_forward() { undeclared = 1; }\n",
                  plan::target_from_name("sm_80"));
  });
}

TEST(GpuErrors, Targets) {
  expect_error(ErrorCode::unsupported, "too old", [] { plan::target_from_name("sm_75"); });
  expect_error(ErrorCode::invalid_argument, "is not a GPU architecture", [] { plan::target_from_name("hopper"); });
}

}  // namespace
}  // namespace attnc::testing
