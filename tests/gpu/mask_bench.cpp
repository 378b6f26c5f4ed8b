// SPDX-License-Identifier: Apache-2.0
// Times of block masks built on the device: first use, building anew, memory; and attention over a mask's tables beside
// attention that classifies tiles by itself. Medians, with the quartiles; the L2 cache is flushed before every device
// time. Prints one line a measurement.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "dsl/format.h"
#include "dsl/stock.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {
namespace {

using cuda::check;
using cuda::driver;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::vector<std::int32_t> documents(int tokens, int mean_length) {
  std::mt19937_64 random(1);
  std::vector<std::int32_t> doc(static_cast<std::size_t>(tokens));
  std::int32_t id = 0;
  for (std::size_t at = 0; at < doc.size(); ++id) {
    const std::size_t length =
        static_cast<std::size_t>(mean_length) / 2 + random() % static_cast<std::uint64_t>(mean_length);
    for (std::size_t end = std::min(at + length, doc.size()); at < end; ++at) doc[at] = id;
  }
  return doc;
}

struct Times {
  double median = 0, lower = 0, upper = 0;  ///< ms: median and quartiles

  explicit Times(std::vector<double> ms) {
    std::sort(ms.begin(), ms.end());
    lower = ms[ms.size() / 4], median = ms[ms.size() / 2], upper = ms[ms.size() * 3 / 4];
  }
  std::string text() const { return attnc::format("{:.4f} [{:.4f}, {:.4f}] ms", median, lower, upper); }
};

/// Device time of each of `bodies`, in turn, each run between two events after the L2 cache was overwritten.
template <class... Bodies>
std::vector<Times> device_times(const Stream& stream, int repetitions, const Bodies&... bodies) {
  static DeviceBytes& flush = *new DeviceBytes(std::size_t{256} << 20);
  const GpuScope scope;
  cuda::CUevent start = nullptr, stop = nullptr;
  check(driver().event_create(&start, 0), "event");
  check(driver().event_create(&stop, 0), "event");
  std::vector<std::vector<double>> times(sizeof...(bodies));
  const auto once = [&](std::vector<double>& into, const auto& body) {
    check(driver().memset_d32_async(reinterpret_cast<cuda::CUdeviceptr>(flush.data()), 0, std::size_t{64} << 20,
                                    stream.get()),
          "flushing");  // long enough for the host to run ahead
    check(driver().event_record(start, stream.get()), "event");
    body();
    check(driver().event_record(stop, stream.get()), "event");
    check(driver().event_synchronize(stop), "event");
    float ms = 0;
    check(driver().event_elapsed_time(&ms, start, stop), "event");
    into.push_back(ms);
  };
  for (int i = 0; i < repetitions; ++i) {
    std::size_t at = 0;
    (once(times[at++], bodies), ...);
  }
  driver().event_destroy(start);
  driver().event_destroy(stop);
  std::vector<Times> result;
  for (auto& ms : times) result.emplace_back(std::move(ms));
  return result;
}

/// The same for what a graph of `body` runs: no launch gaps of the host.
template <class Body>
Times graph_times(const Stream& stream, int repetitions, const Body& body) {
  cuda::CUgraph graph = nullptr;
  cuda::CUgraphExec exec = nullptr;
  const GpuScope scope;
  check(driver().stream_begin_capture(stream.get(), cuda::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "capture");
  body();
  check(driver().stream_end_capture(stream.get(), &graph), "capture");
  check(driver().graph_instantiate(&exec, graph, 0), "instantiate");
  const Times times =
      device_times(stream, repetitions, [&] { check(driver().graph_launch(exec, stream.get()), "launch"); })[0];
  driver().graph_exec_destroy(exec);
  driver().graph_destroy(graph);
  return times;
}

void time_build(const char* name, const MaskMod& mask_mod, int tokens, const Stream& stream, bool first) {
  const std::vector<std::int32_t> doc = documents(tokens, 4096);
  DeviceBytes memory(doc.size() * 4);
  memory.write(doc.data(), doc.size() * 4);
  const BufferValue doc_value{"doc", TensorView(static_cast<const void*>(memory.data()), DType::i32, {tokens})};
  const bool has_doc = !mask_mod.is_everything() && std::string_view(name).find("document") != std::string_view::npos;
  const std::span<const BufferValue> buffers = has_doc ? std::span(&doc_value, 1) : std::span<const BufferValue>();
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.buffers = buffers;
  auto start = Clock::now();
  std::optional<BlockMask> mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
  stream.synchronize();
  const double first_ms = ms_since(start);
  mask.reset();
  // Made anew for each batch: the mask before is gone by then, and its memory may be used again.
  std::vector<double> create, enqueue, rebuild_host;
  for (int i = 0; i < 31; ++i) {
    start = Clock::now();
    {
      const BlockMask again = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
      enqueue.push_back(ms_since(start));
    }
    stream.synchronize();
    create.push_back(ms_since(start));
  }
  mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
  const BlockMaskRebuildOptions anew{stream.get(), {}, buffers};
  const Times rebuild = device_times(stream, 31, [&] { mask->rebuild(anew); })[0];
  std::vector<double> rebuild_and_wait;
  for (int i = 0; i < 31; ++i) {
    start = Clock::now();
    mask->rebuild(anew);
    rebuild_host.push_back(ms_since(start));
    stream.synchronize();
    rebuild_and_wait.push_back(ms_since(start));
  }
  const Times graph = graph_times(stream, 31, [&] { mask->rebuild(anew); });
  attnc::print(
      stdout,
      "build {:<16} {:>8} tokens: {} {:.1f} ms; create, free and wait {}, enqueued after {:.4f}; rebuild and wait {}; "
      "rebuild {} on the device, {} in a graph, {:.4f} ms on the host; {:.1f} MB; {} partial, {} full, {} rows over\n",
      name, tokens, first ? "first use" : "first create", first_ms, Times(create).text(), Times(enqueue).median,
      Times(rebuild_and_wait).text(), rebuild.text(), graph.text(), Times(rebuild_host).median,
      static_cast<double>(mask->device_bytes()) / 1e6, mask->partial_blocks(), mask->full_blocks(),
      mask->stats().overflowing_rows);
  std::fflush(stdout);
}

/// q, k, v and out, of the same random bf16 values from 0.5 to 1, of either sign.
std::vector<DeviceBytes> random_tensors(std::size_t elements, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint16_t> values(elements);
  for (auto& value : values) value = static_cast<std::uint16_t>(0x3f00 + random() % 0x80 + (random() & 1) * 0x8000);
  std::vector<DeviceBytes> tensors;
  for (int i = 0; i < 4; ++i) {
    tensors.emplace_back(elements * 2);
    tensors.back().write(values.data(), elements * 2);
  }
  return tensors;
}

/// Attention with the tables of a mask, and without a table.
void time_attention(const char* name, const MaskMod& mask_mod, int tokens, int heads, int mean_length,
                    const Stream& stream) {
  const std::vector<std::int32_t> doc = documents(tokens, mean_length);
  const std::size_t elements = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(heads) * 128;
  std::vector<DeviceBytes> tensors = random_tensors(elements, 2);
  DeviceBytes doc_memory(doc.size() * 4);
  doc_memory.write(doc.data(), doc.size() * 4);
  const BufferValue doc_value{"doc", TensorView(static_cast<const void*>(doc_memory.data()), DType::i32, {tokens})};
  const auto view = [&](int i) {
    return TensorView(tensors[static_cast<std::size_t>(i)].data(), DType::bf16, {1, heads, tokens, 128});
  };
  AttentionOptions attention_options;
  attention_options.mask_mod = mask_mod;
  attention_options.dtype = DType::bf16;
  attention_options.head_dim = 128;
  attention_options.device = Device::cuda();
  const Attention attention(attention_options);
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.buffers = {&doc_value, 1};
  BlockMask mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
  ForwardOptions with, without;
  with.stream = without.stream = stream.get();
  with.buffers = without.buffers = {&doc_value, 1};
  with.block_mask = &mask;
  const auto run = [&](const ForwardOptions& forward) {
    attention.forward(view(0), view(1), view(2), view(3), forward);
  };
  for (int i = 0; i < 3; ++i) run(with), run(without);
  const std::vector<Times> times = device_times(
      stream, 51, [&] { run(with); }, [&] { run(without); },
      [&] {
        mask.rebuild({stream.get(), {}, {&doc_value, 1}});
        run(with);
      });
  attnc::print(
      stdout,
      "attention {:<16} {:>7} tokens, documents of {:>5}: tables {}, no table {} ({:.3f}), rebuilt each call {}\n",
      name, tokens, mean_length, times[0].text(), times[1].text(), times[1].median / times[0].median, times[2].text());
  std::fflush(stdout);
}

/// A mask that is dear to evaluate, over a grid of 56 x 56 places: without a table, with one, and with its elements as
/// bits.
void time_neighborhood(const Stream& stream) {
  constexpr int batch = 8, heads = 12, tokens = 3136, head_dim = 64;
  const std::size_t elements = static_cast<std::size_t>(batch) * heads * tokens * head_dim;
  std::vector<DeviceBytes> tensors = random_tensors(elements, 3);
  const auto view = [&](int i) {
    return TensorView(tensors[static_cast<std::size_t>(i)].data(), DType::bf16, {batch, heads, tokens, head_dim});
  };
  AttentionOptions attention_options;
  attention_options.mask_mod = stock::neighborhood(56, 5);
  attention_options.dtype = DType::bf16;
  attention_options.device = Device::cuda();
  const Attention attention(attention_options);
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.element_bits = ElementBits::never;
  const BlockMask plain = BlockMask::create(attention_options.mask_mod, 1, 1, tokens, tokens, options);
  options.element_bits = ElementBits::automatic;
  BlockMask bits = BlockMask::create(attention_options.mask_mod, 1, 1, tokens, tokens, options);
  const auto run = [&](const BlockMask* mask) {
    ForwardOptions forward;
    forward.stream = stream.get();
    forward.block_mask = mask;
    attention.forward(view(0), view(1), view(2), view(3), forward);
  };
  for (int i = 0; i < 3; ++i) run(nullptr), run(&plain), run(&bits);
  const std::vector<Times> times = device_times(
      stream, 51, [&] { run(nullptr); }, [&] { run(&plain); }, [&] { run(&bits); },
      [&] {
        bits.rebuild({stream.get(), {}, {}});
      });
  attnc::print(stdout,
               "neighborhood 56, 5 over {} x {} x {} x {}: no table {}, table {}, table with bits {}; rebuild {}\n",
               batch, heads, tokens, head_dim, times[0].text(), times[1].text(), times[2].text(), times[3].text());
  std::fflush(stdout);
}

int run() {
  if (!has_gpu()) {
    attnc::print(stdout, "no CUDA device\n");
    return 3;
  }
  const GpuScope scope;
  const Stream stream;
  const MaskMod causal = stock::causal(), document = stock::document() & stock::causal();
  bool first = true;
  for (const int tokens : {8192, 131072, 1 << 20}) {
    time_build("causal", causal, tokens, stream, first);
    time_build("document_causal", document, tokens, stream, false);
    first = false;
  }
  time_neighborhood(stream);
  for (const auto& [tokens, heads] : {std::pair(8192, 16), std::pair(32768, 4), std::pair(131072, 1)})
    for (const int mean_length : {512, 4096})
      time_attention("document_causal", document, tokens, heads, mean_length, stream);
  return 0;
}

}  // namespace
}  // namespace attnc::testing

int main() {
  try {
    return attnc::testing::run();
  } catch (const std::exception& error) {
    attnc::print(stderr, "{}\n", error.what());
    return 1;
  }
}
