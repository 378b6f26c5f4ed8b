// SPDX-License-Identifier: Apache-2.0
// The classifier as code: run by the interpreter, it is never wrong, and on the stock masks it decides the blocks that
// the host's classifier decides.
#include <gtest/gtest.h>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/lower.h"
#include "compiler/ir/print.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "tests/bounds/random_expression.h"

namespace attnc::testing {
namespace {

using bounds::Box;
using bounds::ClassifierProgram;
using bounds::Verdict;

/// Minima or maxima of one buffer as the classifier wants them, computed the plain way.
ir::BoundBuffer extrema_table(const ClassifierProgram& classifier, const ClassifierProgram::Extrema& extrema,
                              const ir::BoundBuffer& source, std::vector<std::shared_ptr<void>>& memory) {
  const auto dimension = static_cast<std::size_t>(extrema.dimension);
  ir::BoundBuffer table = source;
  table.dtype = classifier.program.buffers[static_cast<std::size_t>(extrema.buffer_slot)].dtype;
  const std::int64_t runs = (source.shape[dimension] + classifier.granule - 1) / classifier.granule;
  table.shape[dimension] = runs * ClassifierProgram::levels;
  std::int64_t elements = 1;
  for (std::size_t d = table.shape.size(); d-- > 0;) {
    table.stride_elems[d] = elements;
    elements *= table.shape[d];
  }
  auto read = [&](const std::vector<std::int64_t>& index) -> std::int64_t {
    std::int64_t offset = 0;
    for (std::size_t d = 0; d < index.size(); ++d) offset += index[d] * source.stride_elems[d];
    switch (source.dtype) {
      case DType::i32:
        return static_cast<const std::int32_t*>(source.data)[offset];
      case DType::i8:
        return static_cast<const std::int8_t*>(source.data)[offset];
      default:
        return static_cast<const std::uint8_t*>(source.data)[offset] != 0;
    }
  };
  auto values = std::make_shared<std::vector<std::int32_t>>(static_cast<std::size_t>(elements));
  auto flags = std::make_shared<std::vector<std::uint8_t>>(static_cast<std::size_t>(elements));
  std::vector<std::int64_t> at(table.shape.size(), 0);
  for (std::int64_t i = 0; i < elements; ++i) {
    std::vector<std::int64_t> index = at;
    const std::int64_t level = at[dimension] / runs, first = at[dimension] % runs * classifier.granule,
                       last = std::min(first + (classifier.granule << level), source.shape[dimension]);
    index[dimension] = first;
    std::int64_t value = read(index);
    for (std::int64_t j = first + 1; j < last; ++j) {
      index[dimension] = j;
      value = extrema.maximum ? std::max(value, read(index)) : std::min(value, read(index));
    }
    (*values)[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(value);
    (*flags)[static_cast<std::size_t>(i)] = value != 0;
    for (std::size_t d = at.size(); d-- > 0;) {
      if (++at[d] < table.shape[d]) break;
      at[d] = 0;
    }
  }
  memory.push_back(values);
  memory.push_back(flags);
  table.data = table.dtype == DType::boolean ? static_cast<const void*>(flags->data()) : values->data();
  return table;
}

/// A classifier program with everything bound but the block.
class Bound {
 public:
  Bound(const ir::Program& program, const ir::Bindings& bindings, const bounds::ClassifierOptions& options)
      : classifier(bounds::make_classifier(program, options)), bindings_(bindings) {
    ir::verify(classifier.program, "make_classifier");
    bindings_.params.resize(classifier.program.params.size());
    bindings_.buffers.resize(classifier.program.buffers.size());
    for (const auto& extent : classifier.extents)
      bindings_.params[static_cast<std::size_t>(extent.param)].integer =
          bindings.buffers[static_cast<std::size_t>(extent.source_slot)]
              .shape[static_cast<std::size_t>(extent.dimension)];
    for (const auto& extrema : classifier.extrema)
      bindings_.buffers[static_cast<std::size_t>(extrema.buffer_slot)] =
          extrema_table(classifier, extrema, bindings.buffers[static_cast<std::size_t>(extrema.source_slot)], memory_);
  }

  Verdict classify(const Box& box) {
    const std::int64_t ranges[] = {box.q_first, box.q_last, box.kv_first, box.kv_last};
    for (int i = 0; i < ClassifierProgram::range_param_count; ++i)
      bindings_.params[static_cast<std::size_t>(classifier.first_range_param + i)].integer = ranges[i];
    if (!run(classifier.may_be_false, box)) return Verdict::full;
    return run(classifier.may_be_true, box) ? Verdict::partial : Verdict::empty;
  }

  ClassifierProgram classifier;

 private:
  bool run(ir::ValueId root, const Box& box) {
    ir::Program asked = classifier.program;
    asked.mask = root;
    ir::LaneContext context;
    context.b = box.b_first, context.h = box.h_first, context.q_len = box.q_len_first,
    context.kv_len = box.kv_len_first;
    // The program may read neither coordinate: they are poisoned.
    const std::int32_t poison = -12345;
    std::uint8_t result = 0;
    ir::Interpreter(asked, bindings_).run(context, 1, &poison, &poison, nullptr, nullptr, &result);
    return result != 0;
  }
  ir::Bindings bindings_;
  std::vector<std::shared_ptr<void>> memory_;
};

TEST(Classifier, NeverWrong) {
  int decided = 0, agreed = 0;
  for (std::uint64_t seed = 1; seed <= 8000; ++seed) {
    const Sample sample = random_sample(seed);
    if (sample.program.mask == ir::no_value) continue;
    bounds::ClassifierOptions options;
    options.granule = 16;
    options.use_extrema = seed % 2;
    Bound bound(sample.program, sample.bindings, options);
    const Verdict verdict = bound.classify(sample.box);
    if (verdict == Verdict::partial) continue;
    ++decided;
    const bounds::HostBufferRanges buffers(sample.program, sample.bindings);
    agreed += verdict == bounds::classify(sample.program, {&sample.bindings, &buffers}, sample.box);
    const Elements mask = evaluate_elements(sample.program, sample.bindings, sample.program.mask, sample.box, 2000);
    for (std::size_t i = 0; i < mask.value.size(); ++i)
      ASSERT_EQ(mask.value[i] != 0, verdict == Verdict::full)
          << "seed " << seed << " q " << mask.q_idx[i] << " kv " << mask.kv_idx[i] << '\n'
          << ir::print(sample.program) << ir::print(bound.classifier.program);
  }
  EXPECT_GT(decided, 4000);
  EXPECT_GT(agreed, decided * 99 / 100);
}

TEST(Classifier, AsPreciseAsTheHostOnStockMasks) {
  using namespace stock;
  const int length = 1000, block = 64;
  std::vector<std::int32_t> doc(length), window = {40, 80}, lengths = {900, 300};
  std::vector<std::uint8_t> global(length, 0);
  for (int i = 0; i < length; ++i)
    doc[static_cast<std::size_t>(i)] = i / 170, global[static_cast<std::size_t>(i)] = i % 331 == 5;

  struct Case {
    const char* name;
    MaskMod mask;
    std::size_t most_instructions;
  };
  const Case cases[] = {
      {"causal", causal(), 6},
      {"causal_lower_right", causal_lower_right(), 12},
      {"sliding_window", sliding_window(100), 16},
      {"sliding_window_param", sliding_window(param("window", 100)), 16},
      {"two_sided", sliding_window_two_sided(50), 24},
      {"dilated", dilated(60, 3), 48},
      {"prefix_lm", prefix_lm(40), 16},
      {"document", document(), 120},
      {"document_causal", document() & causal(), 124},
      {"neighborhood", neighborhood(56, 5), 80},
      {"neighborhood_clamped", neighborhood_clamped(18, 56, 5), 120},
      {"global_or_window", global_or_window(20), 120},
      {"padding", padding(), 12},
      {"window_per_head", window_per_head(), 20},
  };
  for (const Case& c : cases) {
    const ir::Program program = passes::canonicalize(ir::lower({}, c.mask));
    ir::Bindings bindings = ir::Bindings::defaults(program);
    for (std::size_t i = 0; i < program.buffers.size(); ++i) {
      const std::string& name = program.buffers[i].name;
      if (name == "doc") bindings.buffers[i] = {doc.data(), DType::i32, {length}, {1}};
      if (name == "global") bindings.buffers[i] = {global.data(), DType::boolean, {length}, {1}};
      if (name == "window") bindings.buffers[i] = {window.data(), DType::i32, {2}, {1}};
      if (name == "length") bindings.buffers[i] = {lengths.data(), DType::i32, {2}, {1}};
    }
    bounds::ClassifierOptions options;
    options.granule = block;
    options.use_extrema = true;
    Bound bound(program, bindings, options);
    EXPECT_LE(bound.classifier.program.insts.size(), c.most_instructions) << c.name << '\n'
                                                                          << ir::print(bound.classifier.program);
    const bounds::HostBufferRanges buffers(program, bindings);
    bounds::Evaluator host(program, {&bindings, &buffers});
    for (int b = 0; b < 2; ++b)
      for (int q = 0; q < length; q += block)
        for (int kv = 0; kv < length; kv += block) {
          Box box = Box::whole(1, 1, length, length);
          box.b_first = box.b_last = b;
          box.h_first = box.h_last = b;
          box.q_first = q, box.q_last = std::min(q + block, length) - 1;
          box.kv_first = kv, box.kv_last = std::min(kv + block, length) - 1;
          ASSERT_EQ(static_cast<int>(bound.classify(box)), static_cast<int>(host.classify(box)))
              << c.name << " block " << q << ", " << kv << '\n'
              << ir::print(bound.classifier.program);
        }
  }
}

TEST(Classifier, SaysWhenItIsUseless) {
  EXPECT_FALSE(bounds::make_classifier(passes::canonicalize(ir::lower({}, stock::document()))).useful);
  EXPECT_TRUE(bounds::make_classifier(passes::canonicalize(ir::lower({}, stock::document() & stock::causal()))).useful);
  EXPECT_TRUE(bounds::make_classifier(passes::canonicalize(ir::lower({}, {}))).useful);
}

}  // namespace
}  // namespace attnc::testing
