// SPDX-License-Identifier: Apache-2.0
#include "tests/support/random_mod.h"

#include <random>

#include "dsl/format.h"

namespace attnc::testing {
namespace {

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  ModCase make(std::uint64_t seed) {
    ModCase result;
    result.name = attnc::format("random_{}", seed);
    const int kind = pick(4);
    if (kind != 0) result.score = ScoreMod(bounded(real(3)));
    if (kind != 1)
      result.mask =
          MaskMod(pick(3) == 0 ? boolean(3) : Expr(input(Input::q_idx) >= input(Input::kv_idx)) || boolean(3));
    result.bind = [seed](Problem& problem) { bind(problem, seed); };
    return result;
  }

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<std::uint64_t>(count)); }
  Expr score() { return input(Input::score); }
  /// Within +-8 whatever x is.
  Expr bounded(const Expr& x) {
    switch (pick(4)) {
      case 0:
        return tanh(x * 0.25f) * 8.0f;
      case 1:
        return clamp(x, -8.0f, 8.0f);
      case 2:
        return sigmoid(x) * 6.0f - 3.0f;
      default:
        return score() + tanh(x) * 2.0f;
    }
  }

  Expr index_leaf() {
    switch (pick(9)) {
      case 0:
      case 1:
        return input(Input::q_idx);
      case 2:
      case 3:
        return input(Input::kv_idx);
      case 4:
        return input(Input::h);
      case 5:
        return input(Input::b);
      case 6:
        return pick(2) ? q_len() : kv_len();
      case 7:
        return param("ip", 7);
      default:
        return Expr(pick(40) - 8);
    }
  }

  Expr integer(int depth) {
    if (depth == 0) return index_leaf();
    const Expr a = integer(depth - 1);
    switch (pick(16)) {
      case 0:
        return a + integer(depth - 1);
      case 1:
        return a - integer(depth - 1);
      case 2:
        return a * integer(depth - 1);
      case 3:
        return a / (integer(depth - 1));
      case 4:
        return a % (integer(depth - 1));
      case 5:
        return a / (pick(20) + 1);
      case 6:
        return a % (pick(20) + 1);
      case 7:
        return pick(2) ? min(a, integer(depth - 1)) : max(a, integer(depth - 1));
      case 8:
        return abs(a);
      case 9:
        return where(boolean(depth - 1), a, integer(depth - 1));
      case 10:
        return pick(2) ? (a & 31) : (a ^ integer(depth - 1));
      case 11:
        return pick(2) ? (a >> pick(4)) : (a << pick(4));
      case 12:
        return buffer("itab", DType::i32, 1)[a];
      case 13:
        return buffer("i8tab", DType::i8, 2)(a, integer(depth - 1));
      case 14:
        return i32(i64(a) * 3 + 1);
      default:
        return -a + sign(a) + ~a + (a | 5);
    }
  }

  Expr boolean(int depth) {
    const Expr a = integer(depth > 1 ? depth - 1 : 1);
    switch (pick(8)) {
      case 0:
        return a >= integer(1);
      case 1:
        return a < integer(1) + 20;
      case 2:
        return a % (pick(5) + 2) != 0;
      case 3:
        return depth > 1 ? boolean(depth - 1) && boolean(depth - 1) : a == 3;
      case 4:
        return depth > 1 ? boolean(depth - 1) || boolean(depth - 1) : a <= 30;
      case 5:
        return depth > 1 ? !boolean(depth - 1) : a > 1;
      case 6:
        return buffer("flag", DType::boolean, 1)[integer(1)] || abs(input(Input::q_idx) - input(Input::kv_idx)) < 24;
      default:
        return abs(input(Input::q_idx) / (pick(9) + 1) - input(Input::kv_idx) / (pick(9) + 1)) < 5;
    }
  }

  /// Magnitude of a few units.
  Expr real_leaf() {
    switch (pick(8)) {
      case 0:
      case 1:
      case 2:
        return score();
      case 3:
        return param("fp", 0.75f);
      case 4:
        return buffer("ftab", DType::f32, 1)[integer(1)];
      case 5:
        return buffer("htab", DType::bf16, 2)(input(Input::h), integer(1));
      case 6:
        return f32(integer(1) % 16) * 0.125f;
      default:
        return Expr(static_cast<float>(pick(32) - 16) * 0.125f);
    }
  }

  Expr real(int depth) {
    if (depth == 0) return real_leaf();
    const Expr a = real(depth - 1);
    switch (pick(18)) {
      case 0:
        return a + real(depth - 1);
      case 1:
        return a - real(depth - 1);
      case 2:
        return tanh(a) * real(depth - 1);
      case 3:
        return a / (1.5f + abs(real(depth - 1)));
      case 4:
        return pick(2) ? min(a, real(depth - 1)) : max(a, real(depth - 1));
      case 5:
        return tanh(a);
      case 6:
        return sigmoid(a);
      case 7:
        return exp(clamp(a, -4.0f, 1.0f));
      case 8:
        return pick(2) ? log(1.0f + abs(a)) : log2(2.0f + abs(a));
      case 9:
        return pick(2) ? sqrt(1.0f + abs(a)) : rsqrt(1.0f + abs(a));
      case 10:
        return pick(2) ? sin(clamp(a, -3.0f, 3.0f)) : cos(clamp(a, -3.0f, 3.0f));
      case 11:
        return erf(a);
      case 12:
        return where(boolean(2), a, real(depth - 1));
      case 13:
        return pow(1.0f + sigmoid(a), 1.5f);
      case 14:
        return fma(tanh(a), 0.5f, real(depth - 1));
      case 15:
        return -abs(a);
      case 16:
        return exp2(clamp(a, -3.0f, 2.0f));
      default:
        return a * 0.5f;
    }
  }

  static void bind(Problem& problem, std::uint64_t seed) {
    std::mt19937_64 random(seed ^ 0x5bd1e995);
    auto integers = [&](const char* name, DType dtype, const std::vector<std::int64_t>& shape, int span, int low) {
      GuardedTensor& tensor = problem.buffers[name] = GuardedTensor::create(dtype, shape);
      const std::int64_t columns = shape.size() == 2 ? shape[1] : 1;
      for (std::int64_t i = 0; i < tensor.view.elements(); ++i) {
        const std::int64_t index[] = {i / columns, i % columns};
        write_element(tensor.view, index,
                      static_cast<double>(static_cast<int>(random() % static_cast<std::uint64_t>(span)) + low));
      }
    };
    integers("itab", DType::i32, {50}, 100, -20);
    integers("i8tab", DType::i8, {12, 9}, 60, -30);
    integers("flag", DType::boolean, {70}, 2, 0);
    (problem.buffers["ftab"] = GuardedTensor::create(DType::f32, {64})).fill_normal(seed + 1);
    (problem.buffers["htab"] = GuardedTensor::create(DType::bf16, {4, 30})).fill_normal(seed + 2);
    problem.params = {ParamValue("fp", 0.5f + static_cast<float>(seed % 7) * 0.25f),
                      ParamValue("ip", static_cast<int>(seed % 23) - 4)};
  }

  std::mt19937_64 random_;
};

}  // namespace

ModCase random_mod(std::uint64_t seed) { return Generator(seed * 0x9e3779b97f4a7c15ull + 12345).make(seed); }

}  // namespace attnc::testing
