// SPDX-License-Identifier: Apache-2.0
// Block masks built on the device: equal to brute force and to those built on the host, list by list; rebuilt for new
// documents without compiling or waiting, under capture too.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>

#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "runtime/backend.h"
#include "runtime/block_mask_exact.h"
#include "runtime/cuda/device_mask.h"
#include "runtime/validate.h"
#include "tests/block_mask/brute_force.h"
#include "tests/gpu/gpu_runner.h"
#include "tests/support/random_mod.h"

namespace attnc::testing {
namespace {

using cuda::check;
using cuda::driver;

struct Shape {
  int q_len, kv_len;
  BlockSize size;
};

/// A problem that is only there for its captures.
Problem problem_for(const ModCase& mod, const Shape& shape, int B, int H) {
  ProblemSpec spec;
  spec.batch = B, spec.q_heads = H, spec.kv_heads = H, spec.q_len = shape.q_len, spec.kv_len = shape.kv_len;
  spec.head_dim = spec.head_dim_v = 16;
  Problem problem(spec);
  if (mod.bind) mod.bind(problem);
  return problem;
}

/// One side's lists on the device against the host's padded tables. The device keeps one copy of what the mask does not
/// tell apart.
void expect_lists(const BlockMask& mask, bool q_side, const std::string& what) {
  const cuda::DeviceMask& built = *BlockMaskAccess::built_on_device(mask);
  const cuda::DeviceMaskLists lists = built.download_lists(q_side);
  const int per_group = q_side ? mask.kv_blocks() : mask.q_blocks();
  const std::size_t rows = lists.counts.size() / 2;
  ASSERT_EQ(rows, static_cast<std::size_t>(built.spec().batch * built.spec().heads * per_group)) << what;
  std::int64_t entries = 0;
  for (int kind = 0; kind < 2; ++kind) {
    const auto counts = q_side ? (kind == 0 ? mask.q_num_blocks() : mask.full_q_num_blocks())
                               : (kind == 0 ? mask.kv_num_blocks() : mask.full_kv_num_blocks());
    const auto indices = q_side ? (kind == 0 ? mask.q_indices() : mask.full_q_indices())
                                : (kind == 0 ? mask.kv_indices() : mask.full_kv_indices());
    const auto width = counts.empty() ? 0 : indices.size() / counts.size();
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t group = row / static_cast<std::size_t>(per_group);
      const std::size_t b = group / static_cast<std::size_t>(built.spec().heads),
                        h = group % static_cast<std::size_t>(built.spec().heads);
      const std::size_t at = (b * static_cast<std::size_t>(mask.heads()) + h) * static_cast<std::size_t>(per_group) +
                             row % static_cast<std::size_t>(per_group);
      const std::size_t of_device = static_cast<std::size_t>(kind) * rows + row;
      ASSERT_EQ(lists.counts[of_device], counts[at]) << what << " kind " << kind << " row " << row;
      ASSERT_EQ(lists.offsets[of_device], entries) << what << " kind " << kind << " row " << row;
      for (int i = 0; i < counts[at]; ++i)
        ASSERT_EQ(lists.indices[static_cast<std::size_t>(entries + i)],
                  indices[at * width + static_cast<std::size_t>(i)])
            << what << " kind " << kind << " row " << row << " entry " << i;
      entries += counts[at];
    }
  }
}

void expect_order(const BlockMask& mask, const std::string& what) {
  const cuda::DeviceMask& built = *BlockMaskAccess::built_on_device(mask);
  const std::vector<std::int32_t> order = built.download_work_order();
  const auto rows = static_cast<std::size_t>(mask.q_blocks());
  for (std::size_t first = 0; first < order.size(); first += rows) {
    const std::size_t b = first / rows / static_cast<std::size_t>(built.spec().heads),
                      h = first / rows % static_cast<std::size_t>(built.spec().heads);
    const std::size_t base = (b * static_cast<std::size_t>(mask.heads()) + h) * rows;
    std::vector<std::int32_t> expected(rows);
    for (std::size_t i = 0; i < rows; ++i) expected[i] = static_cast<std::int32_t>(i);
    std::sort(expected.begin(), expected.end(), [&](std::int32_t x, std::int32_t y) {
      const auto place = [&](std::int32_t i) {
        const std::size_t at = base + static_cast<std::size_t>(i);
        return std::tuple(i / 512, mask.kv_num_blocks()[at] + mask.full_kv_num_blocks()[at], i);
      };
      return place(x) > place(y);
    });
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), order.begin() + static_cast<std::ptrdiff_t>(first)))
        << what;
  }
}

/// Builds on the device; compares with brute force or, where that takes long, with the host.
void expect_exact(const ModCase& mod, const Shape& shape, int B, int H, bool against_brute_force) {
  Problem problem = problem_for(mod, shape, B, H);
  const ir::Program declared = ir::lower({}, mod.mask);
  const ir::Program program = passes::canonicalize(declared);
  const std::vector<BufferValue> host_buffers = problem.buffer_values(declared);
  const std::vector<ParamValue> params = problem.param_values(declared);
  const ModCase mask_only{mod.name, {}, mod.mask, mod.bind};
  const DeviceProblem device(problem, mask_only);
  const Stream stream;
  for (const bool separate : {true, false}) {
    BlockMaskOptions options;
    options.block_size = shape.size;
    options.params = params;
    options.buffers = host_buffers;
    options.separate_full_blocks = separate;
    const BlockMask host = BlockMask::create(mod.mask, B, H, shape.q_len, shape.kv_len, options);
    options.device = Device::cuda();
    options.stream = stream.get();
    options.buffers = device.buffers;
    const BlockMask mask = BlockMask::create(mod.mask, B, H, shape.q_len, shape.kv_len, options);
    const std::string what = attnc::format("{} {} x {} in {} x {}, separate {}", mod.name, shape.q_len, shape.kv_len,
                                           shape.size.q, shape.size.kv, separate);
    ASSERT_NE(BlockMaskAccess::built_on_device(mask), nullptr);
    ASSERT_EQ(mask.to_dense(), host.to_dense()) << what << "\ndevice\n"
                                                << mask.to_string() << "host\n"
                                                << host.to_string();
    if (against_brute_force && separate && program.mask != ir::no_value) {
      const ir::Bindings bindings = bind_captures(program, declared, params, host_buffers, "test");
      ASSERT_EQ(mask.to_dense(), brute_force(program, bindings, B, H, shape.q_len, shape.kv_len, shape.size)) << what;
    }
    EXPECT_EQ(mask.stats().proved_full + mask.stats().proved_empty + mask.stats().evaluated,
              static_cast<std::int64_t>(B) * H * mask.q_blocks() * mask.kv_blocks())
        << what;
    EXPECT_EQ(mask.stats().overflowing_rows, 0) << what;
    expect_lists(mask, false, what + " kv");
    expect_lists(mask, true, what + " q");
    expect_order(mask, what);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(DeviceMask, NamedMasks) {
  ATTNC_REQUIRE_GPU();
  const Shape shapes[] = {
      {1, 1, {16, 16}},       {63, 65, {16, 32}},     {257, 129, {32, 16}},  {243, 243, {128, 128}},
      {1000, 500, {64, 128}}, {300, 1025, {512, 48}}, {1100, 700, {16, 16}},
  };
  for (const ModCase& mod : mask_cases())
    for (const Shape& shape : shapes) {
      expect_exact(mod, shape, 2, 2, true);
      if (HasFatalFailure()) return;
    }
}

TEST(DeviceMask, NamedMasksOfLongSequences) {
  ATTNC_REQUIRE_GPU();
  for (const ModCase& mod : mask_cases()) {
    // Few blocks, which one launch decides and lists, and many.
    for (const Shape& shape : {Shape{3136, 3136, {128, 128}}, Shape{2500, 3136, {16, 16}}}) {
      expect_exact(mod, shape, 1, 1, false);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(DeviceMask, RandomMasks) {
  ATTNC_REQUIRE_GPU();
  int masks = 0;
  for (std::uint64_t seed = 1; masks < 200; ++seed) {
    const ModCase mod = random_mod(seed);
    if (mod.mask.is_everything()) continue;
    ++masks;
    const Shape shape{40 + static_cast<int>(seed * 7 % 100),
                      30 + static_cast<int>(seed * 13 % 120),
                      {16 * (1 + static_cast<int>(seed % 3)), 16 * (1 + static_cast<int>(seed / 3 % 3))}};
    expect_exact(mod, shape, 2, 3, false);
    if (HasFatalFailure()) return;
  }
}

/// Documents of random lengths.
std::vector<std::int32_t> cut(int tokens, int mean_length, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::int32_t> doc(static_cast<std::size_t>(tokens));
  std::int32_t id = 0;
  for (std::size_t at = 0; at < doc.size(); ++id) {
    const std::size_t length = 1 + random() % static_cast<std::uint64_t>(2 * mean_length);
    const std::size_t end = std::min(at + length, doc.size());
    std::fill(doc.begin() + static_cast<std::ptrdiff_t>(at), doc.begin() + static_cast<std::ptrdiff_t>(end), id);
    at = end;
  }
  return doc;
}

TEST(DeviceMask, AMillionTokens) {
  ATTNC_REQUIRE_GPU();
  const int tokens = 1 << 20;
  const std::vector<std::int32_t> doc = cut(tokens, 4096, 1);
  DeviceBytes memory(doc.size() * 4);
  memory.write(doc.data(), doc.size() * 4);
  const Stream stream;
  const MaskMod mask_mod = stock::document() & stock::causal();
  BlockMaskOptions options;
  const BufferValue on_host{"doc", TensorView(doc.data(), DType::i32, {tokens})};
  const BufferValue on_device{"doc", TensorView(static_cast<const void*>(memory.data()), DType::i32, {tokens})};
  options.buffers = {&on_host, 1};
  const BlockMask host = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
  options.buffers = {&on_device, 1};
  options.device = Device::cuda();
  options.stream = stream.get();
  const BlockMask mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
  EXPECT_LE(mask.device_bytes(), std::int64_t{64} << 20);
  EXPECT_EQ(mask.to_dense(), host.to_dense());
  EXPECT_EQ(mask.stats().overflowing_rows, 0);
  expect_lists(mask, false, "kv");
  expect_lists(mask, true, "q");
  expect_order(mask, "order");
}

TEST(DeviceMask, DocumentsCutAnewInAGraph) {
  ATTNC_REQUIRE_GPU();
  const int tokens = 3000;
  DeviceBytes memory(static_cast<std::size_t>(tokens) * 4);
  const BufferValue on_device{"doc", TensorView(static_cast<const void*>(memory.data()), DType::i32, {tokens})};
  const Stream stream;
  const MaskMod mask_mod = stock::document() & stock::causal();
  int compiles = 0;
  BlockMaskOptions options;
  options.buffers = {&on_device, 1};
  options.device = Device::cuda();
  options.stream = stream.get();
  options.block_size = {64, 64};
  options.log = [&](std::string_view category, std::string_view) { compiles += category == "compile"; };
  std::vector<std::int32_t> doc = cut(tokens, 200, 0);
  memory.write(doc.data(), doc.size() * 4);
  BlockMask mask = BlockMask::create(mask_mod, 1, 1, tokens, tokens, options);
  const int compiles_of_create = compiles;

  // A stream that is being captured cannot be waited for, and memory cannot be taken on it for good: the capture
  // would fail.
  cuda::CUgraph graph = nullptr;
  cuda::CUgraphExec exec = nullptr;
  {
    const GpuScope scope;
    check(driver().stream_begin_capture(stream.get(), cuda::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "capture");
    mask.rebuild({.stream = stream.get(), .buffers = {&on_device, 1}});
    EXPECT_THROW(BlockMask::create(mask_mod, 1, 1, tokens, tokens, options), Error);
    check(driver().stream_end_capture(stream.get(), &graph), "capture");
    check(driver().graph_instantiate(&exec, graph, 0), "instantiate");
  }
  const std::int64_t bytes = mask.device_bytes();
  for (std::uint64_t round = 1; round <= 100; ++round) {
    doc = cut(tokens, 20 + static_cast<int>(round) * 5, round);
    memory.write(doc.data(), doc.size() * 4);
    {
      const GpuScope scope;
      check(driver().graph_launch(exec, stream.get()), "launch");
    }
    stream.synchronize();
    if (round % 20 != 0) continue;
    const BufferValue on_host{"doc", TensorView(doc.data(), DType::i32, {tokens})};
    BlockMaskOptions host_options;
    host_options.buffers = {&on_host, 1};
    host_options.block_size = {64, 64};
    const BlockMask host = BlockMask::create(mask_mod, 1, 1, tokens, tokens, host_options);
    // Rebuilding outside the graph makes the host look again.
    mask.rebuild({.stream = stream.get(), .buffers = {&on_device, 1}});
    ASSERT_EQ(mask.to_dense(), host.to_dense()) << "round " << round;
    expect_lists(mask, false, attnc::format("round {}", round));
  }
  driver().graph_exec_destroy(exec);
  driver().graph_destroy(graph);
  EXPECT_EQ(mask.device_bytes(), bytes);
  EXPECT_EQ(compiles, compiles_of_create);
}

TEST(DeviceMask, ListsThatDoNotFitAreStillRight) {
  ATTNC_REQUIRE_GPU();
  const ModCase mod{"causal", {}, stock::causal(), {}};
  Problem problem({.dtype = DType::bf16, .q_len = 1000, .kv_len = 1000});
  DeviceProblem device(problem, mod);
  const Attention attention = make_attention(mod, problem.spec, Device::cuda());
  const Stream stream;
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.max_list_bytes = 64;
  const BlockMask mask = BlockMask::create(mod.mask, 1, 1, 1000, 1000, options);
  device.forward(attention, &mask, stream.get());
  stream.synchronize();
  device.download(problem);
  EXPECT_EQ(problem.check(mod.score, mod.mask), "");
  EXPECT_GT(mask.stats().overflowing_rows, 0);
  EXPECT_EQ(mask.full_blocks(), 28);
}

/// The bits of every partial block against the interpreter.
void expect_bits(const BlockMask& mask, const ir::Program& program, const ir::Bindings& bindings,
                 const std::string& what) {
  const cuda::DeviceMask& built = *BlockMaskAccess::built_on_device(mask);
  const std::vector<std::uint32_t> bits = built.download_bits();
  const cuda::DeviceMaskLists lists = built.download_lists(false);
  ASSERT_FALSE(bits.empty()) << what;
  const auto elements = interpret_mask(program, bindings, mask.q_len(), mask.kv_len());
  const int heads = built.spec().heads, q_blocks = mask.q_blocks();
  for (std::size_t row = 0; row < lists.counts.size() / 2; ++row)
    for (int i = 0; i < lists.counts[row]; ++i) {
      const int entry = lists.offsets[row] + i, kv_first = lists.indices[static_cast<std::size_t>(entry)] * 128;
      const int group = static_cast<int>(row) / q_blocks, q_first = static_cast<int>(row) % q_blocks * 128;
      for (int r = 0; r < 128; ++r) {
        const int keys = q_first + r < mask.q_len() ? std::min(mask.kv_len() - kv_first, 128) : 0;
        std::vector<std::int32_t> q_idx(static_cast<std::size_t>(keys), q_first + r), kv_idx(q_idx.size());
        for (std::size_t k = 0; k < kv_idx.size(); ++k) kv_idx[k] = kv_first + static_cast<int>(k);
        std::vector<std::uint8_t> kept(128, 0);
        if (keys > 0) elements->points(group / heads, group % heads, keys, q_idx.data(), kv_idx.data(), kept.data());
        for (std::size_t k = 0; k < 128; ++k) {
          const std::size_t word = (static_cast<std::size_t>(entry) * 128 + static_cast<std::size_t>(r)) * 4 + k / 32;
          ASSERT_EQ(bits[word] >> (k % 32) & 1, kept[k] != 0 ? 1u : 0u)
              << what << ", row " << row << " entry " << i << " element " << r << ", " << k;
        }
      }
    }
}

/// Forward calls that tell whether their kernel read bits.
AttentionOptions with_plan_log(const ModCase& mod, const ProblemSpec& spec, std::string& plan) {
  AttentionOptions options = counting_options(mod, spec, std::make_shared<std::atomic<int>>(0));
  options.log = [&plan](std::string_view category, std::string_view message) {
    if (category == "plan") plan = message;
  };
  return options;
}

bool is_hopper() { return cuda::device_info(0).target.arch == 90; }

/// One named mask each, so that shards compile side by side.
class MaskBits : public ::testing::TestWithParam<std::size_t> {};

TEST_P(MaskBits, EqualTheInterpreterAndServeAttention) {
  ATTNC_REQUIRE_GPU();
  if (!is_hopper()) GTEST_SKIP() << "no kernel of this device reads bits";
  const Stream stream;
  const ModCase mod = mask_cases()[GetParam()];
  for (const int head_dim : {64, 128}) {
    if (head_dim == 128 && mod.name != "neighborhood" && mod.name != "document_causal") continue;
    Problem problem({.dtype = DType::bf16,
                     .batch = 2,
                     .q_heads = 4,
                     .kv_heads = 2,
                     .q_len = 700,
                     .kv_len = 900,
                     .head_dim = head_dim,
                     .head_dim_v = head_dim});
    if (mod.bind) mod.bind(problem);
    DeviceProblem device(problem, mod);
    BlockMaskOptions options;
    options.device = Device::cuda();
    options.stream = stream.get();
    options.params = device.params;
    options.buffers = device.buffers;
    options.element_bits = ElementBits::always;
    const BlockMask mask = BlockMask::create(mod.mask, 2, 4, 700, 900, options);
    const ir::Program declared = ir::lower({}, mod.mask), program = passes::canonicalize(declared);
    if (program.mask != ir::no_value && head_dim == 64) {
      const std::vector<BufferValue> buffers = problem.buffer_values(declared);
      const std::vector<ParamValue> params = problem.param_values(declared);
      expect_bits(mask, program, bind_captures(program, declared, params, buffers, "test"), mod.name);
      if (HasFatalFailure()) return;
    }
    std::string plan;
    const Attention attention(with_plan_log(mod, problem.spec, plan));
    device.forward(attention, &mask, stream.get());
    stream.synchronize();
    device.download(problem);
    EXPECT_EQ(problem.check(mod.score, mod.mask), "") << mod.name;
    // A mask that is proved to keep everything is dropped from the attention, and its bits with it.
    const bool masks = program.mask != ir::no_value && mod.name != "everything";
    EXPECT_EQ(plan.find("bit_mask=true") != std::string::npos, masks) << mod.name << plan;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MaskBits, ::testing::Range(std::size_t{0}, mask_cases().size()),
                         [](const auto& info) { return mask_cases()[info.param].name; });

TEST(DeviceMask, BitsFollowARebuildAndServeTheirOwnMaskAlone) {
  ATTNC_REQUIRE_GPU();
  if (!is_hopper()) GTEST_SKIP() << "no kernel of this device reads bits";
  constexpr int tokens = 1000;
  const Stream stream;
  const ModCase mod{"document_causal", stock::soft_cap(30.0f), stock::document() & stock::causal(), {}};
  Problem problem({.dtype = DType::bf16, .batch = 1, .q_heads = 2, .kv_heads = 2, .q_len = tokens, .kv_len = tokens});
  auto* doc = static_cast<std::int32_t*>(
      problem.buffers.emplace("doc", GuardedTensor::create(DType::i32, {tokens})).first->second.view.data);
  std::fill(doc, doc + tokens, 0);
  DeviceProblem device(problem, mod);
  BlockMaskOptions options;
  options.device = Device::cuda();
  options.stream = stream.get();
  options.buffers = device.buffers;
  options.element_bits = ElementBits::always;
  BlockMask mask = BlockMask::create(mod.mask, 1, 1, tokens, tokens, options);
  std::string plan;
  const Attention attention(with_plan_log(mod, problem.spec, plan));
  const ir::Program declared = ir::lower({}, mod.mask), program = passes::canonicalize(declared);
  for (std::uint64_t round = 1; round <= 4; ++round) {
    const std::vector<std::int32_t> documents = cut(tokens, 100, round);
    std::copy(documents.begin(), documents.end(), doc);
    {
      const GpuScope scope;
      check(driver().memcpy_htod_async(reinterpret_cast<cuda::CUdeviceptr>(device.buffers.at(0).view.data), doc,
                                       tokens * sizeof(std::int32_t), stream.get()),
            "cutting documents anew");
    }
    stream.synchronize();
    mask.rebuild({.stream = stream.get(), .buffers = device.buffers});
    const std::vector<BufferValue> buffers = problem.buffer_values(declared);
    expect_bits(mask, program, bind_captures(program, declared, {}, buffers, "test"), attnc::format("round {}", round));
    if (HasFatalFailure()) return;
    device.forward(attention, &mask, stream.get());
    stream.synchronize();
    device.download(problem);
    EXPECT_EQ(problem.check(mod.score, mod.mask), "") << "round " << round;
    EXPECT_NE(plan.find("bit_mask=true"), std::string::npos) << plan;
  }
  // Bits of the documents, over the same blocks, are none of a narrower mask's.
  const ModCase narrower{"narrower", {}, mod.mask & stock::sliding_window(40), {}};
  const Attention other(with_plan_log(narrower, problem.spec, plan));
  device.forward(other, &mask, stream.get());
  stream.synchronize();
  device.download(problem);
  EXPECT_EQ(problem.check(narrower.score, narrower.mask), "");
  EXPECT_NE(plan.find("bit_mask=false"), std::string::npos) << plan;
}

TEST(DeviceMask, BitsAreKeptWhereTheyPay) {
  ATTNC_REQUIRE_GPU();
  if (!is_hopper()) GTEST_SKIP() << "no kernel of this device reads bits";
  const Stream stream;
  const auto keeps = [&](const MaskMod& mask_mod, BlockMaskOptions options) {
    options.device = Device::cuda();
    options.stream = stream.get();
    const BlockMask mask = BlockMask::create(mask_mod, 1, 1, 3136, 3136, options);
    return !BlockMaskAccess::built_on_device(mask)->download_bits().empty();
  };
  const MaskMod dear = stock::neighborhood(56, 5),
                strided = mask_mod("kv_idx <= q_idx && (q_idx - kv_idx < 256 || (q_idx - kv_idx) % 64 == 0)");
  EXPECT_TRUE(keeps(strided, {}));
  EXPECT_FALSE(keeps(stock::dilated(1000, 4), {}));
  EXPECT_TRUE(keeps(dear, {}));
  EXPECT_FALSE(keeps(stock::causal(), {}));
  EXPECT_TRUE(keeps(stock::causal(), {.element_bits = ElementBits::always}));
  EXPECT_FALSE(keeps(dear, {.element_bits = ElementBits::never}));
  EXPECT_FALSE(keeps(dear, {.max_bit_bytes = 25 * 25 * 2048 - 1}));
  EXPECT_FALSE(keeps(dear, {.block_size = {64, 64}, .element_bits = ElementBits::always}));
}

/// Attention over masks that came about in every way there is.
TEST(DeviceMask, AttentionTakesThem) {
  ATTNC_REQUIRE_GPU();
  const Stream stream;
  for (const BlockSize size : {BlockSize{128, 128}, BlockSize{64, 64}, BlockSize{16, 48}, BlockSize{512, 256}})
    for (const DType dtype : {DType::bf16, DType::f32}) {
      const ModCase mod{"window", {}, stock::sliding_window(200), {}};
      Problem problem({.dtype = dtype, .batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 1100, .kv_len = 900});
      DeviceProblem device(problem, mod);
      const Attention attention = make_attention(mod, problem.spec, Device::cuda());
      BlockMaskOptions options;
      options.device = Device::cuda();
      options.stream = stream.get();
      options.block_size = size;
      const auto create = [&](const MaskMod& m, int B, int H) {
        return BlockMask::create(m, B, H, 1100, 900, options);
      };
      const BlockMask whole = create(mod.mask, 1, 1);
      const BlockMask per_head = create(mod.mask, 2, 4);
      const BlockMask causal = create(stock::causal(), 1, 1);
      const BlockMask beyond = create(mask_mod([](Index, Index, Index q, Index kv) { return q - kv >= 200; }), 1, 1);
      const BlockMask loaded =
          BlockMask::from_kv_blocks(whole.kv_num_blocks(), whole.kv_indices(), whole.full_kv_num_blocks(),
                                    whole.full_kv_indices(), 1, 1, 1100, 900, size, Device::cuda());
      EXPECT_EQ(loaded, whole);
      EXPECT_EQ(per_head.slice(1, 2), whole);
      const std::pair<const char*, BlockMask> masks[] = {
          {"whole", whole},
          {"per head", per_head},
          {"and", causal & ~beyond},
          {"loaded", loaded},
          {"slice", per_head.slice(std::nullopt, 3)},
      };
      for (const auto& [name, mask] : masks) {
        device.poison(problem);
        device.forward(attention, &mask, stream.get());
        stream.synchronize();
        device.download(problem);
        EXPECT_EQ(problem.check(mod.score, mod.mask), "") << name << ' ' << size.q << " x " << size.kv;
      }
    }
}

}  // namespace
}  // namespace attnc::testing
