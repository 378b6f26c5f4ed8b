// SPDX-License-Identifier: Apache-2.0
// A call comes after what was enqueued before it, although its kernel may be launched while the one before still runs:
// a kernel that ends late writes the keys, and what is behind it on the stream changes nothing about that.
#include <gtest/gtest.h>

#include <cstring>
#include <tuple>
#include <vector>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"
#include "tests/gpu/test_kernel.h"

namespace attnc::testing {
namespace {

using cuda::check;
using cuda::driver;

/// Lets the next launch begin at once, and copies `words` words a quarter of a millisecond later.
const std::string late_copy = R"(
#include "dependent_launch.cuh"
#include "prelude.cuh"
extern "C" __global__ void late_copy(const attnc::uint32* from, attnc::uint32* to, int words) {
  attnc::allow_next_launch();
  const long long start = clock64();
  while (clock64() - start < 400000) {
  }
  for (int i = threadIdx.x; i < words; i += 32) to[i] = from[i];
}
)";

/// Depends on nothing before it, and says so.
const std::string bystander = R"(
#include "dependent_launch.cuh"
extern "C" __global__ void bystander() { attnc::allow_next_launch(); }
)";

enum class Between { nothing, ordinary, overlapping };
enum class Streams { one, legacy_then_own, own_then_legacy };

class LaunchOrder : public ::testing::TestWithParam<std::tuple<Streams, Between>> {};

TEST_P(LaunchOrder, KeysAreThoseThatWereWrittenBefore) {
  ATTNC_REQUIRE_GPU();
  const auto [streams, between] = GetParam();
  const ModCase mods{"causal", {}, stock::causal(), {}};
  Problem problem({.dtype = DType::bf16, .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 300, .kv_len = 300});
  const Attention attention = make_attention(mods, problem.spec, Device::cuda());
  attention.prepare();
  DeviceProblem device(problem, mods);
  const std::size_t bytes = static_cast<std::size_t>(2 * 2 * 300 * problem.spec.head_dim) * 2;
  std::vector<std::byte> keys(bytes);
  std::memcpy(keys.data(), problem.k.view.data, bytes);
  const std::vector<std::byte> nan(bytes, std::byte{0xff});
  const DeviceBytes source(keys), poison(nan);

  const GpuScope scope;
  const TestKernel copy(late_copy, "late_copy"), other(bystander, "bystander");
  // A stream that waits for the legacy stream and is waited for by it, as streams of the CUDA runtime are by default.
  cuda::CUstream blocking = nullptr;
  check(driver().stream_create(&blocking, 0), "creating a stream");
  const Stream own;
  const cuda::CUstream first = streams == Streams::one               ? own.get()
                               : streams == Streams::legacy_then_own ? nullptr
                                                                     : blocking;
  const cuda::CUstream second = streams == Streams::one               ? own.get()
                                : streams == Streams::legacy_then_own ? blocking
                                                                      : nullptr;
  const auto enqueue_copy = [&](const DeviceBytes& from) {
    const void* from_pointer = from.data();
    void* to_pointer = device.k.data;
    int words = static_cast<int>(bytes / 4);
    void* arguments[] = {&from_pointer, &to_pointer, &words};
    copy.launch(first, arguments);
  };
  for (int round = 0; round < 5; ++round) {
    enqueue_copy(poison);
    check(driver().stream_synchronize(first), "waiting");
    problem.out.fill_nan();
    problem.lse.fill_nan();
    device.poison(problem);
    enqueue_copy(source);
    if (between != Between::nothing) {
      const bool overlaps = between == Between::overlapping && cuda::can_overlap_launches(cuda::device_info(0));
      other.launch(second, nullptr, overlaps);
    }
    device.forward(attention, nullptr, second);
    // A second call, behind the first.
    device.forward(attention, nullptr, second);
    check(driver().stream_synchronize(second), "waiting");
    device.download(problem);
    EXPECT_EQ(problem.check(mods.score, mods.mask), "") << "round " << round;
  }
  driver().stream_destroy(blocking);
}

INSTANTIATE_TEST_SUITE_P(
    Orders, LaunchOrder,
    ::testing::Combine(::testing::Values(Streams::one, Streams::legacy_then_own, Streams::own_then_legacy),
                       ::testing::Values(Between::nothing, Between::ordinary, Between::overlapping)));

}  // namespace
}  // namespace attnc::testing
