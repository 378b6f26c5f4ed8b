// SPDX-License-Identifier: Apache-2.0
// The compiled mask's verdict on blocks against the interpreter, element by element.
#include "runtime/cpu/mask_evaluator.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/stock.h"

namespace attnc::cpu {
namespace {

bounds::Verdict interpreted(const ir::Program& program, const ir::Bindings& bindings, int b, int h, int q0, int q1,
                            int kv0, int kv1, int q_len, int kv_len) {
  ir::Interpreter interpreter(program, bindings);
  bool any = false, all = true;
  const auto keys = static_cast<std::size_t>(kv1 - kv0);
  for (int q = q0; q < q1; ++q) {
    const std::vector<std::int32_t> q_idx(keys, q);
    std::vector<std::int32_t> kv_idx(keys);
    for (std::size_t i = 0; i < keys; ++i) kv_idx[i] = kv0 + static_cast<std::int32_t>(i);
    std::vector<std::uint8_t> mask(keys);
    interpreter.run({b, h, q_len, kv_len, 1.0}, kv1 - kv0, q_idx.data(), kv_idx.data(), nullptr, nullptr, mask.data());
    for (const std::uint8_t kept : mask) any |= kept != 0, all &= kept != 0;
  }
  return all ? bounds::Verdict::full : any ? bounds::Verdict::partial : bounds::Verdict::empty;
}

void compare(const MaskMod& mask, int q_len, int kv_len, std::uint64_t seed) {
  const ir::Program program = passes::canonicalize(ir::lower({}, mask));
  ir::Bindings bindings = ir::Bindings::defaults(program);
  std::vector<std::int32_t> table(static_cast<std::size_t>(std::max(q_len, kv_len)));
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>(i / 97);
  for (ir::BoundBuffer& buffer : bindings.buffers)
    buffer = {table.data(), DType::i32, {static_cast<std::int64_t>(table.size())}, {1}};
  const MaskEvaluator evaluator(program);
  MaskEvaluator::Bound bound = evaluator.bind(bindings);
  std::mt19937_64 random(seed);
  auto pick = [&](int low, int high) {
    return low + static_cast<int>(random() % static_cast<std::uint64_t>(high - low));
  };
  int verdicts[3] = {};
  for (int i = 0; i < 300; ++i) {
    const int q0 = pick(0, q_len), kv0 = pick(0, kv_len);
    const int q1 = pick(q0 + 1, std::min(q0 + 600, q_len) + 1), kv1 = pick(kv0 + 1, std::min(kv0 + 70, kv_len) + 1);
    const int h = pick(0, 4);
    const auto want = interpreted(program, bindings, 0, h, q0, q1, kv0, kv1, q_len, kv_len);
    ASSERT_EQ(bound.evaluate(0, h, q0, q1, kv0, kv1, q_len, kv_len), want)
        << "rows " << q0 << ".." << q1 << ", keys " << kv0 << ".." << kv1;
    ++verdicts[static_cast<int>(want)];
  }
  EXPECT_GT(verdicts[0] + verdicts[1] + verdicts[2], 0);
}

TEST(MaskEvaluator, Causal) { compare(stock::causal(), 1000, 1000, 1); }
TEST(MaskEvaluator, LowerRight) { compare(stock::causal_lower_right(), 300, 1000, 2); }
TEST(MaskEvaluator, Neighborhood) { compare(stock::neighborhood(56, 5), 3136, 3136, 3); }
TEST(MaskEvaluator, Documents) { compare(stock::document(), 1000, 1000, 4); }
TEST(MaskEvaluator, RunTimeWindow) { compare(stock::sliding_window(param("window", 65)), 1000, 1000, 5); }
TEST(MaskEvaluator, ColumnsOnly) { compare(stock::odd_keys_only(), 700, 700, 6); }
TEST(MaskEvaluator, RowsOnly) { compare(mask_mod("q_idx % 300 < 200"), 700, 700, 7); }
TEST(MaskEvaluator, HeadsOnly) { compare(mask_mod("h % 2 == 0"), 700, 700, 8); }
TEST(MaskEvaluator, Constant) {
  compare(mask_mod("q_len > kv_len"), 500, 400, 9);
  compare(mask_mod("q_len > kv_len"), 400, 500, 10);
}

}  // namespace
}  // namespace attnc::cpu
