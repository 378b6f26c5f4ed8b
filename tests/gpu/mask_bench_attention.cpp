// SPDX-License-Identifier: Apache-2.0
// mask_bench: kernel times of attention by where its tiles' verdicts come from (a table, the kernel's own classifier,
// bits), in turns.

#include <future>
#include <map>
#include <memory>

#include "compiler/cuda/block_mask_source.h"
#include "compiler/cuda/kernel_source.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/stock.h"
#include "runtime/cuda/extrema.h"
#include "runtime/cuda/mask_kernels.h"
#include "runtime/validate.h"
#include "tests/gpu/mask_bench.h"

namespace attnc::testing {
namespace {

struct Shape {
  int batch, heads, tokens, head_dim;
  std::string text() const { return attnc::format("{} x {} x {} x {}", batch, heads, tokens, head_dim); }
};

/// q, k, v and out, of the same random bf16 values from 0.5 to 1, of either sign.
class Tensors {
 public:
  explicit Tensors(const Shape& shape) : shape_(shape) {
    const auto elements =
        static_cast<std::size_t>(shape.batch) * shape.heads * shape.tokens * static_cast<std::size_t>(shape.head_dim);
    std::mt19937 random(2);
    std::vector<std::uint16_t> values(elements);
    for (auto& value : values) value = static_cast<std::uint16_t>(0x3f00 + random() % 0x80 + (random() & 1) * 0x8000);
    for (int i = 0; i < 4; ++i) {
      memory_.emplace_back(elements * 2);
      memory_.back().write(values.data(), elements * 2);
    }
  }
  void forward(const Attention& attention, const BlockMask* mask, std::span<const BufferValue> buffers,
               const Stream& stream) const {
    ForwardOptions options;
    options.stream = stream.get();
    options.buffers = buffers;
    options.block_mask = mask;
    attention.forward(view(0), view(1), view(2), view(3), options);
  }

 private:
  TensorView view(std::size_t i) const {
    return TensorView(memory_[i].data(), DType::bf16, {shape_.batch, shape_.heads, shape_.tokens, shape_.head_dim});
  }
  Shape shape_;
  std::vector<DeviceBytes> memory_;
};

AttentionOptions attention_options(const MaskMod& mask_mod, int head_dim) {
  AttentionOptions options;
  options.mask_mod = mask_mod;
  options.dtype = DType::bf16;
  options.head_dim = head_dim;
  options.device = Device::cuda();
  return options;
}

BlockMask tables(const MaskMod& mask_mod, const Shape& shape, std::span<const BufferValue> buffers,
                 const Stream& stream, ElementBits bits) {
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.buffers = buffers;
  options.element_bits = bits;
  return BlockMask::create(mask_mod, 1, 1, shape.tokens, shape.tokens, options);
}

/// A row of time_attention: its mask, compiled, and what it runs on.
struct Case {
  std::string name;
  MaskMod mask_mod;
  Shape shape;
  int mean_length = 0;  ///< of documents; 0: the mask captures none
  bool is_bar = true;

  std::string text() const {
    std::string documents;
    if (mean_length > 0) documents = attnc::format(", documents of {}", mean_length);
    return attnc::format("{}, {}{}", name, shape.text(), documents);
  }
};

/// Compiles what a case's forward calls need; cases are made side by side.
std::unique_ptr<Attention> compiled(const Case& c) {
  const Stream stream;
  const Documents doc(1024, std::max(c.mean_length, 128));
  const std::span<const BufferValue> buffers(&doc.value, c.mean_length > 0 ? 1 : 0);
  const Shape shape{1, 2, 1024, c.shape.head_dim};
  const Tensors tensors(shape);
  auto attention = std::make_unique<Attention>(attention_options(c.mask_mod, c.shape.head_dim));
  const BlockMask mask = tables(c.mask_mod, shape, buffers, stream, ElementBits::never);
  // As many tiles as make it the kernel that is timed.
  const Shape large{1, 64, 1024, c.shape.head_dim};
  const Tensors many(large);
  many.forward(*attention, nullptr, buffers, stream);
  many.forward(*attention, &mask, buffers, stream);
  stream.synchronize();
  return attention;
}

/// The launch that goes before attention without a table whose mask captures documents, alone; and what goes before
/// attention with one.
std::vector<Times> time_extrema(const MaskMod& mask_mod, const Documents& doc, const Stream& stream) {
  const ir::Program declared = ir::lower({}, mask_mod), program = passes::canonicalize(declared);
  const cuda::ParamLayout layout = cuda::make_block_mask_source(program, 64, cuda::MaskPurpose::small).layout;
  const auto kernels = cuda::TableKernels::get(cuda::extrema_purpose(program), cuda::device_info(0), "", {});
  const ir::Bindings bindings = bind_captures(program, declared, {}, {&doc.value, 1}, "mask_bench");
  const DeviceBytes memory(static_cast<std::size_t>(cuda::extrema_bytes(layout, bindings)));
  const auto at = reinterpret_cast<cuda::CUdeviceptr>(memory.data());
  return device_times(
      stream, 51,
      [&] {
        ir::Bindings bound = bindings;
        cuda::enqueue_extrema(layout, bound, at, kernels->extrema, stream.get());
      },
      [&] { cuda::check(cuda::driver().memset_d32_async(at, 0, 1, stream.get()), "resetting a counter"); });
}

void time_case(const Case& c, const Attention& attention, const Stream& stream, Bars& bars) {
  const Documents doc(c.shape.tokens, std::max(c.mean_length, 128));
  const std::span<const BufferValue> buffers(&doc.value, c.mean_length > 0 ? 1 : 0);
  const Tensors tensors(c.shape);
  BlockMask mask = tables(c.mask_mod, c.shape, buffers, stream, ElementBits::never);
  // The same tables by way of the host: no work order.
  const BlockMask unordered =
      BlockMask::from_kv_blocks(mask.kv_num_blocks(), mask.kv_indices(), mask.full_kv_num_blocks(),
                                mask.full_kv_indices(), 1, 1, c.shape.tokens, c.shape.tokens, {}, Device::cuda());
  const auto run = [&](const BlockMask* table) { tensors.forward(attention, table, buffers, stream); };
  for (int i = 0; i < 3; ++i) run(&mask), run(&unordered), run(nullptr);
  const std::vector<Times> times = device_times(
      stream, 101, [&] { run(&mask); }, [&] { run(nullptr); }, [&] { run(&unordered); },
      [&] {
        mask.rebuild({stream.get(), {}, buffers});
        run(&mask);
      });
  std::string extrema_text;
  if (c.mean_length > 0) {
    const std::vector<Times> alone = time_extrema(c.mask_mod, doc, stream);
    extrema_text = attnc::format("; extrema alone {}, resetting a counter alone {}", alone[0].text(), alone[1].text());
  }
  const std::string what = c.text();
  attnc::print(stdout,
               "attention {}: tables {}, no table {} ({:.3f}), tables without a work order {} ({:.3f}), rebuilt each "
               "call {}{}\n",
               what, times[0].text(), times[1].text(), times[1].median / times[0].median, times[2].text(),
               times[2].median / times[0].median, times[3].text(), extrema_text);
  if (c.is_bar) bars.at_most("no table over tables, " + what, times[1].median / times[0].median, 1.05, "times");
}

/// Blocks of a mask of 128 x 128 that hold an element, by looking at each.
std::int64_t blocks_with_elements(int tokens, bool (*keeps)(int q_idx, int kv_idx)) {
  const int blocks = (tokens + 127) / 128;
  std::vector<char> present(static_cast<std::size_t>(blocks) * static_cast<std::size_t>(blocks));
  for (int q = 0; q < tokens; ++q)
    for (int kv = 0; kv < tokens; ++kv)
      if (keeps(q, kv)) present[static_cast<std::size_t>(q / 128 * blocks + kv / 128)] = 1;
  return std::count(present.begin(), present.end(), 1);
}

struct BitsCase {
  std::string name;
  MaskMod mask_mod;
  Shape shape;
  int mean_length = 0;
};

/// Compiled, and run once over each kind of table.
struct BitsRun {
  Attention attention;
  Documents doc;
  std::span<const BufferValue> buffers;
  Tensors tensors;
  BlockMask plain, with_bits;

  BitsRun(const BitsCase& c, const Stream& stream)
      : attention(attention_options(c.mask_mod, c.shape.head_dim)),
        doc(c.shape.tokens, std::max(c.mean_length, 128)),
        buffers(&doc.value, c.mean_length > 0 ? 1 : 0),
        tensors(c.shape),
        plain(tables(c.mask_mod, c.shape, buffers, stream, ElementBits::never)),
        with_bits(tables(c.mask_mod, c.shape, buffers, stream, ElementBits::always)) {
    const BlockMask* const masks[] = {nullptr, &plain, &with_bits};
    for (const BlockMask* mask : masks) tensors.forward(attention, mask, buffers, stream);
    stream.synchronize();
  }
};

}  // namespace

void time_attention(const Stream& stream, Bars& bars, std::string_view only) {
  const MaskMod causal = stock::causal(), window = stock::sliding_window(1024),
                document = stock::document() & stock::causal();
  const Case cases[] = {
      {"causal", causal, {1, 16, 8192, 128}},
      {"window_1024", window, {1, 16, 8192, 128}},
      {"document_causal", document, {1, 16, 8192, 128}, 512},
      {"causal", causal, {1, 16, 8192, 64}},
      {"window_1024", window, {1, 16, 8192, 64}},
      {"document_causal", document, {1, 16, 8192, 64}, 512},
      {"causal", causal, {1, 12, 4096, 128}},
      {"window_1024", window, {1, 12, 8192, 128}},
      {"document_causal", document, {1, 16, 8192, 128}, 4096},
      {"document_causal", document, {1, 4, 32768, 128}, 512, false},
      {"document_causal", document, {1, 4, 32768, 128}, 4096, false},
      {"document_causal", document, {1, 1, 131072, 128}, 512, false},
      {"document_causal", document, {1, 1, 131072, 128}, 4096, false},
  };
  // A kernel for each mask and head dimension, made side by side.
  std::map<std::pair<std::string, int>, std::future<std::unique_ptr<Attention>>> made;
  for (const Case& c : cases) {
    auto& kernel = made[{c.name, c.shape.head_dim}];
    if (c.text().find(only) == std::string::npos || kernel.valid()) continue;
    kernel = std::async(std::launch::async, [&c] { return compiled(c); });
  }
  std::map<std::pair<std::string, int>, std::unique_ptr<Attention>> attentions;
  for (const Case& c : cases) {
    if (c.text().find(only) == std::string::npos) continue;
    auto& attention = attentions[{c.name, c.shape.head_dim}];
    if (attention == nullptr) attention = made[{c.name, c.shape.head_dim}].get();
    time_case(c, *attention, stream, bars);
  }
}

void time_element_bits(const Stream& stream, Bars& bars) {
  const Shape image{8, 12, 3136, 64}, text{1, 16, 8192, 64};
  std::vector<BitsCase> cases = {
      {"neighborhood", stock::neighborhood(56, 5), image},
      {"neighborhood_clamped", stock::neighborhood_clamped(56, 56, 5), image},
      {"causal", stock::causal(), text},
      {"window_1024", stock::sliding_window(1024), text},
      {"window_1000_two_sided", stock::sliding_window_two_sided(1000), text},
      {"dilated_1000_4", stock::dilated(1000, 4), text},
      {"window_and_sinks", mask_mod("q_idx >= kv_idx && (q_idx - kv_idx < 1024 || kv_idx < 64)"), text},
      {"strided_window", mask_mod("q_idx >= kv_idx && (q_idx - kv_idx < 256 || (q_idx - kv_idx) % 64 == 0)"), text},
      {"document", stock::document(), text, 512},
      {"document_causal", stock::document() & stock::causal(), text, 512},
  };
  for (std::size_t i = 0, count = cases.size(); i < count; ++i) {
    if (i == 1 || i == 2 || i == 4) continue;
    cases.push_back(cases[i]);
    cases.back().shape.head_dim = 128;
  }
  std::vector<std::future<std::unique_ptr<BitsRun>>> runs;
  for (const BitsCase& c : cases) {
    runs.push_back(std::async(std::launch::async, [&c] {
      const Stream own;
      return std::make_unique<BitsRun>(c, own);
    }));
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const BitsCase& c = cases[i];
    const std::unique_ptr<BitsRun> r = runs[i].get();
    const auto run = [&](const BlockMask* mask) { r->tensors.forward(r->attention, mask, r->buffers, stream); };
    for (int warm = 0; warm < 2; ++warm) run(nullptr), run(&r->plain), run(&r->with_bits);
    const std::vector<Times> times = device_times(
        stream, 51, [&] { run(nullptr); }, [&] { run(&r->plain); }, [&] { run(&r->with_bits); },
        [&] {
          r->plain.rebuild({stream.get(), {}, r->buffers});
        },
        [&] {
          r->with_bits.rebuild({stream.get(), {}, r->buffers});
        });
    const ir::Program program = passes::canonicalize(ir::lower({}, c.mask_mod));
    cuda::KernelRequest request;
    request.block_table = true;
    request.target = cuda::device_info(0).target;
    const cuda::ModsTraits traits = cuda::make_kernel_source(program, request, false).traits;
    attnc::print(stdout,
                 "bits {:<21} {:<18} keep_cost {:>2}{}: no table {}, table {}, with bits {} ({:.3f}); rebuild {}, with "
                 "bits {}; {}\n",
                 c.name, c.shape.text(), traits.keep_cost,
                 traits.mask_kind == cuda::MaskKind::band ? ", a run of keys per row" : "", times[0].text(),
                 times[1].text(), times[2].text(), times[2].median / times[1].median, times[3].text(), times[4].text(),
                 cuda::is_dear_to_evaluate(program, request.target) ? "kept" : "not kept");
    std::fflush(stdout);
    if (c.name == "neighborhood" && c.shape.head_dim == 64) {
      const auto keeps = [](int q, int kv) { return std::abs(q / 56 - kv / 56) < 5 && std::abs(q % 56 - kv % 56) < 5; };
      const std::int64_t exact = blocks_with_elements(c.shape.tokens, keeps);
      const std::int64_t listed = r->plain.partial_blocks() + r->plain.full_blocks();
      bars.at_most("blocks listed beyond those that hold an element, neighborhood", static_cast<double>(listed - exact),
                   0, "blocks");
    }
  }
}

}  // namespace attnc::testing
