// SPDX-License-Identifier: Apache-2.0
// Times the CPU backend: attention variants, the first use of a new variant, and memory. One case a process, so that
// benchmarks/compare_torch_cpu.py can alternate it with a peer.
//
//   cpu_bench --case softcap --seq 2048 --heads 8 --dim 64 --threads 2 --json
//
// GFLOP/s counts 4 * B * H * Sq * Skv * D whatever a mask drops, so sparse cases show the work they skip.
#include <attnc/attnc.h>
#include <fmt/format.h>
#include <tbb/global_control.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

using namespace attnc;

namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}
/// Processor time of the whole process: on a machine that others use as well, the only honest clock.
double process_ms() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}
double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Shape {
  int batch = 1, heads = 8, kv_heads = 0, seq = 2048, kv_seq = 0, dim = 64;
  std::string dtype = "f32";
};

DType dtype_of(const std::string& text) {
  return text == "bf16" ? DType::bf16 : text == "f16" ? DType::f16 : DType::f32;
}

/// Normal values in the element type; bf16 by truncation, which is as good as any for timing.
std::vector<std::byte> random_tensor(std::size_t elements, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<std::byte> bytes(elements * size_bytes(dtype));
  for (std::size_t i = 0; i < elements; ++i) {
    const float value = normal(random);
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (dtype == DType::f32) {
      std::memcpy(&bytes[4 * i], &bits, 4);
    } else {
      auto half = static_cast<std::uint16_t>(bits >> 16);
      if (dtype == DType::f16) {
        const auto exponent = static_cast<int>((bits >> 23) & 0xff) - 112;
        half = static_cast<std::uint16_t>(((bits >> 16) & 0x8000) |
                                          (exponent <= 0 ? 0 : (exponent << 10) | ((bits >> 13) & 0x3ff)));
      }
      std::memcpy(&bytes[2 * i], &half, 2);
    }
  }
  return bytes;
}

struct Tensors {
  std::vector<std::byte> q, k, v, out;
  TensorView q_view, k_view, v_view, out_view;
  explicit Tensors(const Shape& s) {
    const DType dtype = dtype_of(s.dtype);
    const auto n = [](std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
      return static_cast<std::size_t>(a * b * c * d);
    };
    q = random_tensor(n(s.batch, s.heads, s.seq, s.dim), dtype, 1);
    k = random_tensor(n(s.batch, s.kv_heads, s.kv_seq, s.dim), dtype, 2);
    v = random_tensor(n(s.batch, s.kv_heads, s.kv_seq, s.dim), dtype, 3);
    out.resize(q.size());
    q_view = TensorView(q.data(), dtype, {s.batch, s.heads, s.seq, s.dim});
    k_view = TensorView(k.data(), dtype, {s.batch, s.kv_heads, s.kv_seq, s.dim});
    v_view = TensorView(v.data(), dtype, {s.batch, s.kv_heads, s.kv_seq, s.dim});
    out_view = TensorView(out.data(), dtype, {s.batch, s.heads, s.seq, s.dim});
  }
};

struct Variant {
  ScoreMod score;
  MaskMod mask;
  bool block_mask = false;
};

Variant variant_of(const std::string& name) {
  if (name == "dense") return {};
  if (name == "softcap") return {stock::soft_cap(30.0f), {}, false};
  if (name == "alibi") return {stock::alibi_computed(8), {}, false};
  if (name == "causal") return {{}, stock::causal(), true};
  if (name == "causal_no_table") return {{}, stock::causal(), false};
  if (name == "window") return {{}, stock::sliding_window(256), true};
  if (name == "neighborhood") return {{}, stock::neighborhood(56, 5), true};
  if (name == "neighborhood_no_table") return {{}, stock::neighborhood(56, 5), false};
  throw CLI::ValidationError("--case", "unknown case " + name);
}

long status_kb(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(field, 0) == 0) return std::stol(line.substr(std::strlen(field) + 1));
  return 0;
}

nlohmann::json time_case(const std::string& name, const Shape& shape, int repeats, int block) {
  Tensors t(shape);
  const Variant variant = variant_of(name);
  Attention attention(
      {.score_mod = variant.score, .mask_mod = variant.mask, .dtype = dtype_of(shape.dtype), .head_dim = shape.dim});
  nlohmann::json result;
  BlockMask blocks;
  ForwardOptions options;
  if (variant.block_mask) {
    const auto start = Clock::now();
    blocks = BlockMask::create(variant.mask, 1, 1, shape.seq, shape.kv_seq, {.block_size = {block, block}});
    result["block_mask_ms"] = ms_since(start);
    result["sparsity_percent"] = blocks.sparsity();
    options.block_mask = &blocks;
  }
  auto start = Clock::now();
  attention.prepare();
  result["prepare_ms"] = ms_since(start);
  attention.forward(t.q_view, t.k_view, t.v_view, t.out_view, options);
  std::vector<double> times, cpu_times;
  for (int i = 0; i < repeats; ++i) {
    const double cpu_start = process_ms();
    start = Clock::now();
    attention.forward(t.q_view, t.k_view, t.v_view, t.out_view, options);
    times.push_back(ms_since(start));
    cpu_times.push_back(process_ms() - cpu_start);
  }
  const double flops = 4.0 * shape.batch * shape.heads * shape.seq * shape.kv_seq * shape.dim;
  result["median_ms"] = median(times);
  result["cpu_ms"] = median(cpu_times);
  result["min_ms"] = *std::min_element(times.begin(), times.end());
  result["dense_gflops"] = flops / median(times) * 1e-6;
  return result;
}

/// From an expression never seen before to its first result, nothing cached; then the same signature again.
nlohmann::json time_first_use(int repeats) {
  const Shape shape{1, 1, 1, 16, 16, 64, "f32"};
  Tensors t(shape);
  nlohmann::json result;
  std::vector<double> first, first_cpu, second, again;
  for (int i = 0; i < std::max(3, repeats / 4); ++i) {
    const auto nonce = static_cast<unsigned>(Clock::now().time_since_epoch().count());
    const std::string text = fmt::format("{}.5 * tanh(score / {}.5)", nonce % 100000 + 7, nonce % 100000 + 7);
    const double cpu_start = process_ms();
    auto start = Clock::now();
    Attention attention({.score_mod = score_mod(text), .mask_mod = mask_mod("q_idx >= kv_idx"), .head_dim = 64});
    attention.forward(t.q_view, t.k_view, t.v_view, t.out_view);
    first.push_back(ms_since(start));
    first_cpu.push_back(process_ms() - cpu_start);
    start = Clock::now();
    Attention same({.score_mod = score_mod(text), .mask_mod = mask_mod("q_idx >= kv_idx"), .head_dim = 64});
    same.forward(t.q_view, t.k_view, t.v_view, t.out_view);
    second.push_back(ms_since(start));
    for (int j = 0; j < 20; ++j) {
      start = Clock::now();
      attention.forward(t.q_view, t.k_view, t.v_view, t.out_view);
      again.push_back(ms_since(start));
    }
  }
  result["first_result_ms"] = median(first);
  result["first_result_cpu_ms"] = median(first_cpu);
  result["first_result_in_process_ms"] = first[0];
  result["same_signature_new_object_ms"] = median(second);
  result["next_call_us"] = median(again) * 1e3;
  return result;
}

nlohmann::json measure_memory(Shape shape) {
  shape.seq = shape.kv_seq = 16384;
  Tensors t(shape);
  std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark starts anew
  const long before = status_kb("VmRSS:");
  Attention attention({.score_mod = stock::soft_cap(30.0f),
                       .mask_mod = stock::sliding_window(1024),
                       .dtype = dtype_of(shape.dtype),
                       .head_dim = shape.dim});
  attention.forward(t.q_view, t.k_view, t.v_view, t.out_view);
  return {{"over_inputs_and_outputs_mb", static_cast<double>(status_kb("VmHWM:") - before) / 1024.0}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times attnc's CPU backend"};
  std::string name = "dense";
  Shape shape;
  int threads = 0, repeats = 20, block = 128;
  bool json = false;
  app.add_option(
      "--case", name,
      "dense, softcap, alibi, causal, causal_no_table, window, neighborhood, neighborhood_no_table, first_use, memory");
  app.add_option("--batch", shape.batch);
  app.add_option("--heads", shape.heads);
  app.add_option("--kv-heads", shape.kv_heads, "0: as --heads");
  app.add_option("--seq", shape.seq);
  app.add_option("--kv-seq", shape.kv_seq, "0: as --seq");
  app.add_option("--dim", shape.dim);
  app.add_option("--dtype", shape.dtype)->check(CLI::IsMember({"f32", "f16", "bf16"}));
  app.add_option("--threads", threads, "0: all");
  app.add_option("--repeats", repeats)->check(CLI::PositiveNumber);
  app.add_option("--block", block, "block size of the block mask");
  app.add_flag("--json", json);
  CLI11_PARSE(app, argc, argv);
  if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
  if (shape.kv_seq == 0) shape.kv_seq = shape.seq;
  std::optional<tbb::global_control> limit;
  if (threads > 0) limit.emplace(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  try {
    nlohmann::json result = name == "first_use" ? time_first_use(repeats)
                            : name == "memory"  ? measure_memory(shape)
                                                : time_case(name, shape, repeats, block);
    result["case"] = name;
    if (json) {
      fmt::print("{}\n", result.dump());
    } else {
      for (const auto& [key, value] : result.items()) fmt::print("{:<32} {}\n", key, value.dump());
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "cpu_bench: {}\n", error.what());
    return 1;
  }
  return 0;
}
