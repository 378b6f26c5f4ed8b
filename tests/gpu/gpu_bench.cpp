// SPDX-License-Identifier: Apache-2.0
// A quick benchmark for tools/gpu_check.sh: what a first call, a cached one and a warm one cost, and the speed of the
// named variants. CUDA events around one call, L2 flushed before each, median of the rounds. Random inputs.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "compiler/ir/half.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "tests/gpu/device_times.h"
#include "tests/gpu/test_kernel.h"

namespace attnc::testing {
namespace {

struct Variant {
  std::string name;
  ModCase mods;
  double share = 1;  ///< of the score matrix that counts as work
  bool table = false;
};

std::vector<std::byte> random_bf16(std::size_t elements, unsigned seed) {
  std::vector<std::byte> bytes(elements * 2);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  // A period that is no multiple of a row keeps rows different; drawing every element would take minutes.
  std::vector<std::uint16_t> pattern(1000003);
  for (std::uint16_t& value : pattern) value = ir::float_to_bf16(normal(random));
  for (std::size_t i = 0; i < elements; ++i) std::memcpy(&bytes[2 * i], &pattern[i % pattern.size()], 2);
  return bytes;
}

/// The document of each of `tokens` positions: twelve, the longest eight times the shortest.
std::vector<std::int32_t> twelve_documents(int tokens) {
  constexpr int weights[] = {3, 8, 1, 5, 2, 7, 4, 6, 1, 3, 8, 2}, all = 50;
  std::vector<std::int32_t> documents;
  int begun = 0;
  for (int i = 0; i < 12; ++i) {
    begun += weights[i];
    documents.resize(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(begun) / all, i);
  }
  return documents;
}

/// The share of the score matrix in which both are of one document.
double document_share(int tokens) {
  const std::vector<std::int32_t> documents = twelve_documents(tokens);
  double share = 0;
  for (int i = 0; i < 12; ++i) {
    const double part = static_cast<double>(std::count(documents.begin(), documents.end(), i)) / tokens;
    share += part * part;
  }
  return share;
}

constexpr int block = 128;

/// Whole blocks, those that the buffer "kept" names: dense attention but for the lists.
MaskMod kept_blocks() {
  const Buffer kept = buffer("kept", DType::u8, 2);
  return mask_mod([=](Index, Index, Index q, Index kv) { return kept(q / block, kv / block) != 0; });
}

/// A quarter of the blocks of each row, at random.
std::vector<std::uint8_t> random_blocks(int tokens) {
  const auto rows = static_cast<std::size_t>(tokens / block);
  std::vector<std::uint8_t> kept(rows * rows);
  std::mt19937 random(5);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto first = kept.begin() + static_cast<std::ptrdiff_t>(row * rows);
    std::fill_n(first, rows / 4, std::uint8_t{1});
    std::shuffle(first, first + static_cast<std::ptrdiff_t>(rows), random);
  }
  return kept;
}

/// q, k, v and out of one shape, for all its variants.
struct Tensors {
  Tensors(int b, int h, int s, int d)
      : batch(b),
        heads(h),
        tokens(s),
        head_dim(d),
        bytes(static_cast<std::size_t>(b * h) * static_cast<std::size_t>(s * d) * 2),
        q(random_bf16(bytes / 2, 1)),
        k(random_bf16(bytes / 2, 2)),
        v(random_bf16(bytes / 2, 3)),
        out(bytes) {}
  int batch, heads, tokens, head_dim;
  std::size_t bytes;
  DeviceBytes q, k, v, out;
};

void run(const Variant& variant, const Tensors& tensors) {
  const int B = tensors.batch, H = tensors.heads, S = tensors.tokens, D = tensors.head_dim;
  const Stream stream;
  const ProblemSpec spec{.dtype = DType::bf16,
                         .batch = B,
                         .q_heads = H,
                         .kv_heads = H,
                         .q_len = S,
                         .kv_len = S,
                         .head_dim = D,
                         .head_dim_v = D};
  const Attention attention = make_attention(variant.mods, spec, Device::cuda());
  const auto view = [&](const DeviceBytes& bytes) {
    return TensorView(static_cast<void*>(bytes.data()), DType::bf16, {B, H, S, D});
  };
  std::vector<float> slopes(static_cast<std::size_t>(H));
  for (int h = 0; h < H; ++h)
    slopes[static_cast<std::size_t>(h)] = std::exp2(-8.0f * static_cast<float>(h + 1) / static_cast<float>(H));
  DeviceBytes slope(slopes.size() * sizeof(float));
  slope.write(slopes.data(), slopes.size() * sizeof(float));
  const std::vector<std::int32_t> documents = twelve_documents(S);
  DeviceBytes doc(documents.size() * sizeof(std::int32_t));
  doc.write(documents.data(), documents.size() * sizeof(std::int32_t));
  std::vector<BufferValue> buffers;
  if (variant.name.find("alibi") != std::string::npos)
    buffers.push_back({"slope", TensorView(static_cast<void*>(slope.data()), DType::f32, {H})});
  if (variant.name.find("document") != std::string::npos)
    buffers.push_back({"doc", TensorView(static_cast<void*>(doc.data()), DType::i32, {S})});
  const std::vector<std::uint8_t> blocks = random_blocks(S);
  DeviceBytes kept(blocks.size());
  kept.write(blocks.data(), blocks.size());
  if (variant.name.find("blocks") != std::string::npos)
    buffers.push_back({"kept", TensorView(static_cast<void*>(kept.data()), DType::u8, {S / block, S / block})});
  ForwardOptions options;
  options.stream = stream.get();
  options.buffers = buffers;
  BlockMask mask;
  if (variant.table) {
    BlockMaskOptions mask_options;
    mask_options.device = Device::cuda();
    mask_options.stream = stream.get();
    mask_options.buffers = buffers;
    mask = BlockMask::create(variant.mods.mask, 1, 1, S, S, mask_options);
    options.block_mask = &mask;
  }
  const auto forward = [&] {
    attention.forward(view(tensors.q), view(tensors.k), view(tensors.v), view(tensors.out), options);
  };
  device_times(stream, 2, forward);  // warm
  const double ms = device_times(stream, 10, forward)[0].median;
  const double flop = 4.0 * B * H * static_cast<double>(S) * S * D * variant.share;
  attnc::print(stdout, "{:<24} D={:<4} B={} H={} S={:<6} {:8.3f} ms {:7.0f} TFLOP/s\n", variant.name, D, B, H, S, ms,
               flop / ms / 1e9);
}

/// A decoder's call: few queries, many keys, grouped heads; reading K and V is the work.
struct Decode {
  std::string name;
  ModCase mods;
  int batch, q_heads, kv_heads, q_len, kv_len, head_dim;
};

void run(const Decode& decode) {
  const Stream stream;
  const ProblemSpec spec{.dtype = DType::bf16, .head_dim = decode.head_dim, .head_dim_v = decode.head_dim};
  const Attention attention = make_attention(decode.mods, spec, Device::cuda());
  const auto elements = [&](int heads, int rows) {
    return static_cast<std::size_t>(decode.batch * heads) * static_cast<std::size_t>(rows) *
           static_cast<std::size_t>(decode.head_dim);
  };
  const std::size_t q_elements = elements(decode.q_heads, decode.q_len);
  const std::size_t kv_elements = elements(decode.kv_heads, decode.kv_len);
  const DeviceBytes q(random_bf16(q_elements, 1)), k(random_bf16(kv_elements, 2)), v(random_bf16(kv_elements, 3));
  const DeviceBytes out(q_elements * 2);
  const auto view = [&](const DeviceBytes& bytes, int heads, int rows) {
    return TensorView(static_cast<void*>(bytes.data()), DType::bf16, {decode.batch, heads, rows, decode.head_dim});
  };
  ForwardOptions options;
  options.stream = stream.get();
  const auto forward = [&] {
    attention.forward(view(q, decode.q_heads, decode.q_len), view(k, decode.kv_heads, decode.kv_len),
                      view(v, decode.kv_heads, decode.kv_len), view(out, decode.q_heads, decode.q_len), options);
  };
  device_times(stream, 2, forward);  // warm
  const double ms = device_times(stream, 20, forward)[0].median;
  attnc::print(stdout, "{:<24} D={:<4} B={} H={}/{} S={}/{:<6} {:8.4f} ms {:7.0f} GB/s\n", decode.name, decode.head_dim,
               decode.batch, decode.q_heads, decode.kv_heads, decode.q_len, decode.kv_len, ms,
               static_cast<double>(4 * (q_elements + kv_elements)) / ms / 1e6);
}

/// Medians over rounds of 50 calls, in microseconds of the calling thread; what is timed takes turns.
template <class... Calls>
std::vector<double> host_times_us(const Stream& stream, const Calls&... calls) {
  constexpr int rounds = 30, calls_per_round = 50;
  std::vector<std::vector<double>> times(sizeof...(calls));
  const auto time_round = [&](std::vector<double>& of, const auto& call) {
    const auto start = Clock::now();
    for (int i = 0; i < calls_per_round; ++i) call();
    of.push_back(1e3 * ms_since(start) / calls_per_round);
    stream.synchronize();
  };
  for (int round = 0; round < rounds; ++round) {
    std::size_t at = 0;
    (time_round(times[at++], calls), ...);
  }
  std::vector<double> medians;
  for (const std::vector<double>& of : times) medians.push_back(Times(of).median);
  return medians;
}

void host_costs() {
  const ModCase mods{"capped_causal", stock::soft_cap(param("cap", 30.0f)), stock::causal(), {}};
  const ProblemSpec spec{.dtype = DType::bf16, .q_len = 64, .kv_len = 64};
  auto start = Clock::now();
  const Attention first = make_attention(mods, spec, Device::cuda());
  first.prepare();
  attnc::print(stdout, "prepare                {:10.1f} us\n", 1e3 * ms_since(start));
  start = Clock::now();
  const Attention second = make_attention(mods, spec, Device::cuda());
  second.prepare();
  attnc::print(stdout, "prepare, from the disk {:10.1f} us\n", 1e3 * ms_since(start));
  Problem problem(spec);
  DeviceProblem device(problem, mods);
  const Stream stream;
  const TestKernel empty("extern \"C\" __global__ void empty() {}", "empty");
  const std::vector<double> times = host_times_us(
      stream, [&] { device.forward(first, nullptr, stream.get()); }, [&] { empty.launch(stream.get()); });
  attnc::print(stdout, "forward, host time     {:10.2f} us\n", times[0]);
  attnc::print(stdout, "empty launch, host time{:9.2f} us\n", times[1]);
}

int bench(const std::string& wanted) {
  if (!has_gpu()) {
    attnc::print(stdout, "no CUDA device\n");
    return 3;
  }
  const GpuScope scope;
  host_costs();
  const double window_share = 1 - (1 - 1024.0 / 8192) * (1 - 1024.0 / 8192) / 2 - 0.5;
  const std::vector<Variant> variants = {
      {"dense", {}},
      {"causal", {"", {}, stock::causal(), {}}, 0.5},
      {"causal, table", {"", {}, stock::causal(), {}}, 0.5, true},
      {"softcap", {"", stock::soft_cap(30.0f), {}, {}}},
      {"softcap, parameter", {"", stock::soft_cap(param("cap", 30.0f)), {}, {}}},
      {"causal alibi", {"", stock::alibi(), stock::causal(), {}}, 0.5},
      {"window 1024", {"", {}, stock::sliding_window(1024), {}}, window_share},
      {"documents", {"", {}, stock::document(), {}}, document_share(8192)},
      {"documents, causal", {"", {}, stock::document() & stock::causal(), {}}, document_share(8192) / 2},
      {"documents, causal alibi",
       {"", stock::alibi(), stock::document() & stock::causal(), {}},
       document_share(8192) / 2},
      {"random blocks, table", {"", {}, kept_blocks(), {}}, 0.25, true},
      {"window 1024, table", {"", {}, stock::sliding_window(1024), {}}, window_share, true},
      {"window, parameter", {"", {}, stock::sliding_window(param("window", 1024)), {}}, window_share},
  };
  const ModCase plain, capped{"", stock::soft_cap(30.0f), stock::causal_lower_right(), {}};
  const std::vector<Decode> decodes = {
      {"decode", plain, 32, 32, 8, 1, 8192, 128},
      {"decode", plain, 32, 32, 8, 16, 8192, 128},
      {"decode", plain, 1, 32, 8, 1, 8192, 128},
      {"decode", plain, 32, 32, 1, 1, 8192, 128},
      {"decode", plain, 32, 28, 4, 1, 8192, 128},
      {"decode", plain, 32, 64, 8, 1, 8192, 64},
      {"decode, softcap causal", capped, 32, 32, 8, 4, 8192, 128},
  };
  const auto is_wanted = [&](const auto& variant) { return variant.name.find(wanted) != std::string::npos; };
  for (const Decode& decode : decodes)
    if (is_wanted(decode)) run(decode);
  if (std::none_of(variants.begin(), variants.end(), is_wanted)) {
    if (std::any_of(decodes.begin(), decodes.end(), is_wanted)) return 0;
    attnc::print(stderr, "gpu_bench: no variant's name contains {}\n", wanted);
    return 2;
  }
  for (const int D : {64, 128}) {
    const Tensors tensors(2, 16, 8192, D);
    for (const Variant& variant : variants)
      if (is_wanted(variant)) run(variant, tensors);
  }
  if (!wanted.empty()) return 0;
  run(variants[0], Tensors(2, 8, 8192, 256));
  const Tensors image(8, 12, 3136, 64);
  run({"neighborhood 56, 5", {"", {}, stock::neighborhood(56, 5), {}}}, image);
  run(variants[3], image);
  return 0;
}

}  // namespace
}  // namespace attnc::testing

/// gpu_bench [part of a variant's name]
int main(int argc, char** argv) {
  try {
    return attnc::testing::bench(argc > 1 ? argv[1] : "");
  } catch (const attnc::Error& error) {
    attnc::print(stdout, "{}\n", error.what());
    return 1;
  }
}
