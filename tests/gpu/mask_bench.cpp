// SPDX-License-Identifier: Apache-2.0
// Times of block masks built on the device: first use, building anew, memory; and attention over a mask's tables beside
// attention that classifies tiles by itself. Medians, with the quartiles; the L2 cache is flushed before every device
// time. Prints one line a measurement, and one for each bar with its verdict. Measures all in 15 s on a fast machine;
// a name as argument (build, recut, bits, attention) measures that alone, a second one for attention the rows that
// hold it.

#include "tests/gpu/mask_bench.h"

#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "dsl/stock.h"

namespace attnc::testing {
namespace {

using cuda::check;
using cuda::driver;

/// A cache directory with nothing in it, under a name of its own: programs that are loaded are known by it, so that
/// what is made with it is compiled, whatever the process has made before.
class EmptyCache {
 public:
  EmptyCache()
      : path_(std::filesystem::temp_directory_path() / attnc::format("attnc_mask_bench_{}_{}", getpid(), next_++)) {}
  ~EmptyCache() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  EmptyCache(const EmptyCache&) = delete;
  EmptyCache& operator=(const EmptyCache&) = delete;
  std::string path() const { return path_.string(); }

 private:
  static inline int next_ = 0;
  std::filesystem::path path_;
};

/// What FlexAttention's compiled create_block_mask took on an H200, with the factor by which create is to be faster.
/// (benchmarks/results/h200_compare_torch.json; benchmarks/compare_torch.py measures both in one process.)
struct Peer {
  const char* mask;
  int tokens;
  double ms, factor;
};
constexpr Peer peers[] = {{"causal", 8192, 0.240, 3},
                          {"document_causal", 8192, 0.152, 3},
                          {"causal", 131072, 8.17, 20},
                          {"document_causal", 131072, 9.52, 20}};

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

/// From nothing to tables that are ready, compilation included.
Times time_first_use(const MaskMod& mask_mod, int tokens, const BlockMaskOptions& options, const Stream& stream) {
  std::vector<double> first;
  for (int i = 0; i < 3; ++i) {
    const EmptyCache cache;
    BlockMaskOptions cold = options;
    cold.cache_dir = cache.path();
    const auto start = Clock::now();
    const BlockMask mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, cold);
    stream.synchronize();
    first.push_back(ms_since(start));
  }
  return Times(first);
}

void time_build(const std::string& name, const MaskMod& mask_mod, int tokens, const Stream& stream, Bars& bars) {
  const Documents doc(tokens, 4096);
  const std::span<const BufferValue> buffers(&doc.value, name.starts_with("document") ? 1 : 0);
  const EmptyCache cache;
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.buffers = buffers;
  const Times first = time_first_use(mask_mod, tokens, options, stream);
  options.cache_dir = cache.path();
  std::optional<BlockMask> mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
  stream.synchronize();
  mask.reset();
  // Made anew for each batch: the mask before is gone by then, and its memory may be used again.
  std::vector<double> create, enqueue, rebuild_host;
  for (int i = 0; i < 31; ++i) {
    const auto start = Clock::now();
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
    const auto start = Clock::now();
    mask->rebuild(anew);
    rebuild_host.push_back(ms_since(start));
    stream.synchronize();
    rebuild_and_wait.push_back(ms_since(start));
  }
  const Times graph = graph_times(stream, 31, [&] { mask->rebuild(anew); });
  const double megabytes = static_cast<double>(mask->device_bytes()) / 1e6;
  attnc::print(
      stdout,
      "build {:<16} {:>8} tokens: first use {}; create, free and wait {}, enqueued after {:.4f}; rebuild and wait {}; "
      "rebuild {} on the device, {} in a graph, {:.4f} ms on the host; {:.1f} MB; {} partial, {} full, {} rows over\n",
      name, tokens, first.text(), Times(create).text(), Times(enqueue).median, Times(rebuild_and_wait).text(),
      rebuild.text(), graph.text(), Times(rebuild_host).median, megabytes, mask->partial_blocks(), mask->full_blocks(),
      mask->stats().overflowing_rows);
  const std::string what = attnc::format("{}, {} tokens", name, tokens);
  bars.at_most("first use, compilation included, " + what, first.median, 400, "ms");
  for (const Peer& peer : peers) {
    if (peer.mask != name || peer.tokens != tokens) continue;
    bars.at_most(attnc::format("create, {:.0f} times as fast as FlexAttention's {} ms, {}", peer.factor, peer.ms, what),
                 Times(create).median, peer.ms / peer.factor, "ms");
  }
  if (tokens == 1 << 20) {
    bars.at_most("create, " + what, Times(create).median, 10, "ms");
    bars.at_most("device memory, " + what, megabytes, 64, "MB");
  }
}

/// On two cores of the host.
void time_host_build(const MaskMod& mask_mod, Bars& bars) {
  constexpr int tokens = 1 << 20;
  const std::vector<std::int32_t> doc = documents(tokens, 4096);
  const BufferValue value{"doc", TensorView(doc.data(), DType::i32, {tokens})};
  BlockMaskOptions options;
  options.buffers = {&value, 1};
  cpu_set_t before, two;
  sched_getaffinity(0, sizeof(before), &before);
  CPU_ZERO(&two);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&two) < 2; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &two);
  sched_setaffinity(0, sizeof(two), &two);
  std::vector<double> create;
  for (int i = 0; i < 3; ++i) {
    const auto start = Clock::now();
    const BlockMask mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
    create.push_back(ms_since(start));
  }
  sched_setaffinity(0, sizeof(before), &before);
  bars.at_most(attnc::format("create on {} cores of the host, document_causal, {} tokens", CPU_COUNT(&two), tokens),
               Times(create).median, 2000, "ms");
}

/// Documents cut anew for each of 100 calls, over a table that is rebuilt and without one. The stream is kept busy
/// first, so that a call that waits for it is seen.
void recut_documents(const Stream& stream, Bars& bars) {
  constexpr int tokens = 8192, heads = 4, cuts = 100;
  const GpuScope scope;
  std::vector<Documents> docs;
  for (unsigned i = 0; i < cuts; ++i) docs.emplace_back(tokens, 200 + 20 * static_cast<int>(i), i);
  std::vector<DeviceBytes> tensors;
  for (int i = 0; i < 4; ++i) tensors.emplace_back(std::size_t{tokens} * heads * 128 * 2);
  const auto view = [&](std::size_t i) { return TensorView(tensors[i].data(), DType::bf16, {1, heads, tokens, 128}); };
  int compiles = 0;
  const LogCallback count = [&](std::string_view category, std::string_view) { compiles += category == "compile"; };
  AttentionOptions attention_options;
  attention_options.mask_mod = stock::document() & stock::causal();
  attention_options.dtype = DType::bf16;
  attention_options.head_dim = 128;
  attention_options.device = Device::cuda();
  attention_options.log = count;
  const Attention attention(attention_options);
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.log = count;
  options.buffers = {&docs[0].value, 1};
  BlockMask mask = BlockMask::create(attention_options.mask_mod, 1, 1, tokens, tokens, options);
  const auto call = [&](const Documents& doc, bool with_table) {
    ForwardOptions forward;
    forward.stream = stream.get();
    forward.buffers = {&doc.value, 1};
    if (with_table) {
      mask.rebuild({stream.get(), {}, forward.buffers});
      forward.block_mask = &mask;
    }
    attention.forward(view(0), view(1), view(2), view(3), forward);
  };
  constexpr std::size_t busy_bytes = std::size_t{1} << 30;
  const DeviceBytes busy(busy_bytes);
  cuda::CUevent start = nullptr, stop = nullptr;
  check(driver().event_create(&start, 0), "event");
  check(driver().event_create(&stop, 0), "event");
  for (const bool with_table : {true, false}) {
    call(docs[0], with_table);
    stream.synchronize();
    compiles = 0;
    const auto began = Clock::now();
    check(driver().event_record(start, stream.get()), "event");
    for (int i = 0; i < 160; ++i) {
      check(
          driver().memset_d32_async(reinterpret_cast<cuda::CUdeviceptr>(busy.data()), 0, busy_bytes / 4, stream.get()),
          "keeping the stream busy");
    }
    check(driver().event_record(stop, stream.get()), "event");
    for (const Documents& doc : docs) call(doc, with_table);
    const double enqueued_ms = ms_since(began);
    float busy_ms = 0;
    check(driver().event_synchronize(stop), "event");
    check(driver().event_elapsed_time(&busy_ms, start, stop), "event");
    stream.synchronize();
    const std::string what = with_table ? "rebuilt tables" : "no table";
    bars.at_most(attnc::format("compiles in {} calls with new documents, {}", cuts, what), compiles, 0, "compiles");
    bars.at_most("enqueueing them while the stream is busy with other work, " + what, enqueued_ms, busy_ms, "ms");
  }
  driver().event_destroy(start);
  driver().event_destroy(stop);
}

int run(std::string_view only, std::string_view rows) {
  if (!has_gpu()) {
    attnc::print(stdout, "no CUDA device\n");
    return 3;
  }
  const auto wanted = [&](std::string_view part) { return only.empty() || only == part; };
  const GpuScope scope;
  const Stream stream;
  const MaskMod causal = stock::causal(), document = stock::document() & stock::causal();
  Bars bars;
  if (wanted("build")) {
    for (const int tokens : {8192, 131072, 1 << 20}) {
      time_build("causal", causal, tokens, stream, bars);
      time_build("document_causal", document, tokens, stream, bars);
    }
    time_host_build(document, bars);
  }
  if (wanted("recut")) recut_documents(stream, bars);
  if (wanted("attention")) time_attention(stream, bars, rows);
  if (wanted("bits")) time_element_bits(stream, bars);
  bars.summary();
  return 0;
}

}  // namespace
}  // namespace attnc::testing

int main(int argc, char** argv) {
  try {
    return attnc::testing::run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
  } catch (const std::exception& error) {
    attnc::print(stderr, "{}\n", error.what());
    return 1;
  }
}
