// SPDX-License-Identifier: Apache-2.0
// CUDA graphs: capture works once prepared, and a first call under capture is refused and breaks nothing. Streams and
// threads.
#include <gtest/gtest.h>

#include <thread>

#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {
namespace {

using cuda::check;
using cuda::driver;

const ModCase capped_causal{"capped_causal", stock::soft_cap(param("cap", 30.0f)), stock::causal(), {}};

/// Records what `body` enqueues; the stream is out of capture afterwards, whatever body does.
template <class Body>
cuda::CUgraph record(const Stream& stream, Body&& body) {
  const GpuScope scope;
  check(driver().stream_begin_capture(stream.get(), cuda::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "beginning a capture");
  body();
  cuda::CUgraph graph = nullptr;
  check(driver().stream_end_capture(stream.get(), &graph), "ending a capture");
  return graph;
}

void replay(cuda::CUgraph graph, const Stream& stream, int times) {
  const GpuScope scope;
  cuda::CUgraphExec exec = nullptr;
  check(driver().graph_instantiate(&exec, graph, 0), "instantiating a graph");
  for (int i = 0; i < times; ++i) check(driver().graph_launch(exec, stream.get()), "launching a graph");
  stream.synchronize();
  driver().graph_exec_destroy(exec);
  driver().graph_destroy(graph);
}

class Capture : public ::testing::TestWithParam<std::pair<int, int>> {};

TEST_P(Capture, WorksOncePrepared) {
  ATTNC_REQUIRE_GPU();
  const auto [q_len, kv_len] = GetParam();
  Problem problem({.dtype = DType::bf16, .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = q_len, .kv_len = kv_len});
  const Attention attention = make_attention(capped_causal, problem.spec, Device::cuda());
  attention.prepare();
  DeviceProblem device(problem, capped_causal);
  const Stream stream;
  const cuda::CUgraph graph = record(stream, [&] { device.forward(attention, nullptr, stream.get()); });
  device.download(problem);
  EXPECT_NE(problem.check(capped_causal.score, capped_causal.mask), "") << "recording must not run anything";
  replay(graph, stream, 3);
  device.download(problem);
  EXPECT_EQ(problem.check(capped_causal.score, capped_causal.mask), "");
}

// All but the first split their keys, which takes scratch memory: in the kernel for few queries and in the portable
// one.
INSTANTIATE_TEST_SUITE_P(Sizes, Capture,
                         ::testing::Values(std::pair(300, 300), std::pair(1, 2000), std::pair(40, 2000)));

TEST(CaptureErrors, TheFirstCallIsRefusedAndTheStreamLivesOn) {
  ATTNC_REQUIRE_GPU();
  Problem problem({.dtype = DType::bf16, .q_len = 70, .kv_len = 70});
  const Attention attention = make_attention(capped_causal, problem.spec, Device::cuda());
  DeviceProblem device(problem, capped_causal);
  const Stream stream;
  const cuda::CUgraph graph = record(stream, [&] {
    try {
      device.forward(attention, nullptr, stream.get());
      ADD_FAILURE() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find("call prepare()"), std::string::npos) << error.what();
    }
  });
  driver().graph_destroy(graph);
  device.forward(attention, nullptr, stream.get());
  stream.synchronize();
  device.download(problem);
  EXPECT_EQ(problem.check(capped_causal.score, capped_causal.mask), "");
}

TEST(CaptureErrors, ABlockMaskNeedsOneCallBefore) {
  ATTNC_REQUIRE_GPU();
  Problem problem({.dtype = DType::bf16, .q_len = 300, .kv_len = 300});
  BlockMaskOptions options;
  options.device = Device::cuda();
  const BlockMask mask = BlockMask::create(capped_causal.mask, 1, 1, 300, 300, options);
  const Attention attention = make_attention(capped_causal, problem.spec, Device::cuda());
  attention.prepare();
  DeviceProblem device(problem, capped_causal);
  const Stream stream;
  const cuda::CUgraph refused =
      record(stream, [&] { EXPECT_THROW(device.forward(attention, &mask, stream.get()), Error); });
  driver().graph_destroy(refused);
  device.forward(attention, &mask, stream.get());
  stream.synchronize();
  device.poison(problem);
  replay(record(stream, [&] { device.forward(attention, &mask, stream.get()); }), stream, 2);
  device.download(problem);
  EXPECT_EQ(problem.check(capped_causal.score, capped_causal.mask), "");
}

/// Documents without a table: each replay takes the extremes of the buffer as it is then, and decides tiles by them.
class CaptureDocuments : public ::testing::TestWithParam<DType> {};

TEST_P(CaptureDocuments, WithoutATableFollowTheBufferOfTheReplay) {
  ATTNC_REQUIRE_GPU();
  constexpr int tokens = 1500;
  const ModCase mod{"document_causal", {}, stock::document() & stock::causal(), {}};
  Problem problem({.dtype = GetParam(), .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = tokens, .kv_len = tokens});
  const auto [entry, is_new] = problem.buffers.emplace("doc", GuardedTensor::create(DType::i32, {tokens}));
  ASSERT_TRUE(is_new);
  auto* doc = static_cast<std::int32_t*>(entry->second.view.data);
  const auto cut = [&](int length) {
    for (int i = 0; i < tokens; ++i) doc[i] = i / length + i / (3 * length + 1);
  };
  cut(1);
  const Problem untouched = problem;
  const Attention attention = make_attention(mod, problem.spec, Device::cuda());
  attention.prepare();
  DeviceProblem device(problem, mod);
  const Stream stream;
  cuda::CUgraphExec exec = nullptr;
  {
    const cuda::CUgraph graph = record(stream, [&] { device.forward(attention, nullptr, stream.get()); });
    const GpuScope scope;
    check(driver().graph_instantiate(&exec, graph, 0), "instantiating a graph");
    driver().graph_destroy(graph);
  }
  for (const int length : {400, 37, 1500, 129, 3, 700}) {
    cut(length);
    {
      const GpuScope scope;
      check(driver().memcpy_htod_async(reinterpret_cast<cuda::CUdeviceptr>(device.buffers.at(0).view.data), doc,
                                       tokens * sizeof(std::int32_t), stream.get()),
            "cutting documents anew");
    }
    stream.synchronize();
    device.poison(untouched);
    {
      const GpuScope scope;
      for (int i = 0; i < 3; ++i) check(driver().graph_launch(exec, stream.get()), "launching a graph");
    }
    stream.synchronize();
    device.download(problem);
    EXPECT_EQ(problem.check(mod.score, mod.mask), "") << "documents of " << length;
    // The same without a graph, call after call.
    device.poison(untouched);
    for (int i = 0; i < 3; ++i) device.forward(attention, nullptr, stream.get());
    stream.synchronize();
    device.download(problem);
    EXPECT_EQ(problem.check(mod.score, mod.mask), "") << "documents of " << length << ", outside the graph";
  }
  driver().graph_exec_destroy(exec);
}

INSTANTIATE_TEST_SUITE_P(Types, CaptureDocuments, ::testing::Values(DType::bf16, DType::f32));

TEST(Streams, OneAttentionFromManyThreads) {
  ATTNC_REQUIRE_GPU();
  const ProblemSpec spec{.dtype = DType::bf16, .q_len = 65, .kv_len = 65};
  const auto compiles = std::make_shared<std::atomic<int>>(0);
  AttentionOptions options = counting_options(capped_causal, spec, compiles);
  const Attention attention(options);
  std::vector<std::string> verdicts(8);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < verdicts.size(); ++i)
    threads.emplace_back([&, i] {
      GpuRunner runner;
      for (unsigned round = 0; round < 5 && verdicts[i].empty(); ++round) {
        ProblemSpec own = spec;
        own.seed = i * 100 + round;
        own.q_len += static_cast<int>(i + round);
        verdicts[i] = run_and_judge(runner, attention, capped_causal, own);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& verdict : verdicts) EXPECT_EQ(verdict, "");
  EXPECT_LE(*compiles, 2);  // on Hopper, two kernels
}

}  // namespace
}  // namespace attnc::testing
