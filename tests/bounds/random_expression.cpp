// SPDX-License-Identifier: Apache-2.0
#include "tests/bounds/random_expression.h"

#include <limits>

#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/mods.h"

namespace attnc::testing {
namespace {

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  int pick(int count) { return static_cast<int>(random_() % static_cast<std::uint64_t>(count)); }

  /// Small, or at an end of its type.
  std::int64_t number() {
    switch (pick(12)) {
      case 0:
        return std::numeric_limits<std::int32_t>::max() - pick(3);
      case 1:
        return std::numeric_limits<std::int32_t>::min() + pick(3);
      case 2:
        return std::int64_t{1} << pick(31);
      case 3:
        return -(std::int64_t{1} << pick(31));
      case 4:
      case 5:
        return pick(3) - 1;
      default:
        return pick(300) - 60;
    }
  }

  Expr leaf() {
    switch (pick(11)) {
      case 0:
      case 1:
      case 2:
        return input(Input::q_idx);
      case 3:
      case 4:
      case 5:
        return input(Input::kv_idx);
      case 6:
        return input(pick(2) ? Input::b : Input::h);
      case 7:
        return input(pick(2) ? Input::q_len : Input::kv_len);
      case 8:
        return param("small", 7);
      case 9:
        return param(pick(2) ? "wild" : "wild2", 7);
      default:
        return literal(number(), Type::i32);
    }
  }

  Expr integer(int depth) {
    if (depth <= 0) return leaf();
    const Expr a = integer(depth - 1);
    auto b = [&] { return pick(3) ? literal(number(), Type::i32) : integer(depth - 1); };
    switch (pick(24)) {
      case 0:
      case 1:
        return a + b();
      case 2:
      case 3:
        return a - integer(depth - 1);
      case 4:
        return input(Input::q_idx) - input(Input::kv_idx) + b();
      case 5:
        return a * b();
      case 6:
        return a / b();
      case 7:
        return a % b();
      case 8:
        return a / (pick(70) + 1);
      case 9:
        return a % (pick(70) + 1);
      case 10:
        return -a;
      case 11:
        return abs(a);
      case 12:
        return pick(2) ? min(a, b()) : max(a, b());
      case 13:
        return where(boolean(depth - 1), a, integer(depth - 1));
      case 14:
        return pick(2) ? (a & b()) : (a & ((1 << pick(12)) - 1));
      case 15:
        return pick(2) ? (a | b()) : (a ^ b());
      case 16:
        return pick(2) ? (a << (pick(2) ? Expr(pick(40)) : b())) : (a >> (pick(2) ? Expr(pick(40)) : b()));
      case 17:
        return ~a + sign(a);
      case 18:
        return i32(i64(a) * i64(b()) + (std::int64_t{1} << pick(62)));
      case 19:
        return i32(real(depth - 1));
      case 20:
        return buffer("table", DType::i32, 1)[a];
      case 21:
        return buffer("bytes", DType::i8, 2)(input(Input::h), a);
      case 22:
        return clamp(a, -pick(50), pick(200));
      default:
        return a * 4 + (b() * 2);
    }
  }

  Expr real(int depth) {
    if (depth <= 0) {
      switch (pick(5)) {
        case 0:
          return f32(integer(1));
        case 1:
          return param("real", 0.5f);
        case 2:
          return buffer("reals", DType::f32, 1)[integer(1)];
        default:
          return Expr(static_cast<float>(number()) * 0.125f);
      }
    }
    const Expr a = real(depth - 1);
    switch (pick(22)) {
      case 0:
        return a + real(depth - 1);
      case 1:
        return a - real(depth - 1);
      case 2:
        return a * real(depth - 1);
      case 3:
        return a * a;
      case 4:
        return a / real(depth - 1);
      case 5:
        return pick(2) ? min(a, real(depth - 1)) : max(a, real(depth - 1));
      case 6:
        return abs(a);
      case 7:
        return pick(3) == 0 ? floor(a) : pick(2) ? ceil(a) : round(a);
      case 8:
        return sign(a);
      case 9:
        return pick(2) ? exp(a) : exp2(a);
      case 10:
        return pick(2) ? log(a) : log2(abs(a));
      case 11:
        return pick(2) ? sqrt(a) : rsqrt(a);
      case 12:
        return tanh(a);
      case 13:
        return sigmoid(a);
      case 14:
        return pick(2) ? sin(a) : cos(a);
      case 15:
        return erf(a);
      case 16:
        return pow(pick(2) ? abs(a) : a, real(depth - 1));
      case 17:
        return where(boolean(depth - 1), a, real(depth - 1));
      case 18:
        return fma(a, real(depth - 1), a);
      case 19:
        return -a;
      case 20:
        return f32(integer(depth - 1));
      default:
        return a * 0.125f;
    }
  }

  Expr boolean(int depth) {
    auto compare = [&](const Expr& a, const Expr& b) {
      switch (pick(6)) {
        case 0:
          return a == b;
        case 1:
          return a != b;
        case 2:
          return a < b;
        case 3:
          return a <= b;
        case 4:
          return a > b;
        default:
          return a >= b;
      }
    };
    if (depth <= 0) return compare(leaf(), leaf());
    switch (pick(14)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return compare(integer(depth - 1), pick(2) ? literal(number(), Type::i32) : integer(depth - 1));
      case 4:
        return compare(real(depth - 1), real(depth - 1));
      case 5:
      case 6:
        return boolean(depth - 1) && boolean(depth - 1);
      case 7:
        return boolean(depth - 1) || boolean(depth - 1);
      case 8:
        return !boolean(depth - 1);
      case 9:
        return boolean(depth - 1) == boolean(depth - 1);
      case 10:
        return where(boolean(depth - 1), boolean(depth - 1), boolean(depth - 1));
      case 11:
        return buffer("flags", DType::boolean, 1)[integer(depth - 1)];
      case 12:
        return cast(pick(2) ? integer(depth - 1) : real(depth - 1), Type::boolean);
      default:
        return compare(i64(integer(depth - 1)) * 3, i64(integer(depth - 1)));
    }
  }

  std::mt19937_64 random_;
};

template <class T>
void bind(Sample& sample, const std::string& name, DType dtype, std::vector<std::int64_t> shape,
          std::vector<T> values) {
  for (std::size_t slot = 0; slot < sample.program.buffers.size(); ++slot) {
    if (sample.program.buffers[slot].name != name) continue;
    auto memory = std::make_shared<std::vector<T>>(std::move(values));
    ir::BoundBuffer& buffer = sample.bindings.buffers[slot];
    buffer.data = memory->data();
    buffer.dtype = dtype;
    buffer.shape = shape;
    buffer.stride_elems = shape.size() == 2 ? std::vector<std::int64_t>{shape[1], 1} : std::vector<std::int64_t>{1};
    sample.memory.push_back(memory);
    return;
  }
}

}  // namespace

Sample random_sample(std::uint64_t seed) {
  Generator g(seed * 0x9e3779b97f4a7c15ull + 1);
  Sample sample;
  const int depth = 1 + g.pick(4);
  const bool with_score = g.pick(2);
  const MaskMod mask(g.boolean(depth));
  sample.program = passes::canonicalize(ir::lower(with_score ? ScoreMod(g.real(depth)) : ScoreMod(), mask));

  sample.bindings.buffers.resize(sample.program.buffers.size());
  for (const ParamDecl& decl : sample.program.params)
    sample.bindings.params.push_back({static_cast<double>(static_cast<float>(g.number()) * 0.25f),
                                      decl.name == "small" ? g.pick(40) - 4 : g.number()});
  const int kind = g.pick(3);  // of tables: arbitrary, sorted like documents, constant
  std::vector<std::int32_t> table(200);
  std::vector<std::int8_t> bytes(4 * 60);
  std::vector<float> reals(150);
  std::vector<std::uint8_t> flags(170);
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = kind == 0 ? static_cast<std::int32_t>(g.number()) : kind == 1 ? static_cast<std::int32_t>(i / 17) : 3;
  for (auto& x : bytes) x = static_cast<std::int8_t>(g.pick(256) - 128);
  for (auto& x : reals) x = static_cast<float>(g.number()) * 0.5f;
  if (g.pick(3) == 0)
    reals[static_cast<std::size_t>(g.pick(150))] =
        g.pick(2) ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < flags.size(); ++i) flags[i] = kind == 2 ? 1 : (i / 30) % 2;
  bind(sample, "table", DType::i32, {200}, std::move(table));
  bind(sample, "bytes", DType::i8, {4, 60}, std::move(bytes));
  bind(sample, "reals", DType::f32, {150}, std::move(reals));
  bind(sample, "flags", DType::boolean, {170}, std::move(flags));

  const int q_len = 1 + g.pick(g.pick(4) ? 300 : 100000000), kv_len = 1 + g.pick(g.pick(4) ? 300 : 100000000);
  sample.box = bounds::Box::whole(1, 1, q_len, kv_len);
  sample.box.b_first = sample.box.b_last = g.pick(3);
  sample.box.h_first = sample.box.h_last = g.pick(5);
  auto range = [&g](int length, std::int32_t& first, std::int32_t& last) {
    first = g.pick(length);
    last = std::min(length - 1, first + g.pick(g.pick(2) ? 6 : 40));
  };
  range(q_len, sample.box.q_first, sample.box.q_last);
  range(kv_len, sample.box.kv_first, sample.box.kv_last);
  return sample;
}

Elements evaluate_elements(const ir::Program& program, const ir::Bindings& bindings, ir::ValueId value,
                           const bounds::Box& box, int most) {
  Elements e;
  const std::int64_t height = box.q_last - box.q_first + 1, width = box.kv_last - box.kv_first + 1;
  auto add = [&](std::int64_t y, std::int64_t x) {
    e.q_idx.push_back(static_cast<std::int32_t>(box.q_first + y));
    e.kv_idx.push_back(static_cast<std::int32_t>(box.kv_first + x));
  };
  if (height * width <= most) {
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) add(y, x);
  } else {
    for (int i = 0; i < 4; ++i) add((i / 2) * (height - 1), (i % 2) * (width - 1));
    std::mt19937_64 random(static_cast<std::uint64_t>(value) * 977 + 5);
    while (static_cast<int>(e.q_idx.size()) < most)
      add(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(height)),
          static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(width)));
  }

  // The interpreter gives the score as a double: any value becomes one through a cast to f32, which fp64 does not
  // round.
  ir::Program asked = program;
  asked.mask = ir::no_value;
  asked.score = value;
  if (program[value].type == Type::boolean) {
    ir::Inst number;
    number.op = Op::cast;
    number.type = Type::i32;
    number.operand_count = 1;
    number.operands[0] = value;
    asked.score = asked.append(number);
  }
  if (asked[asked.score].type != Type::f32) {
    ir::Inst number;
    number.op = Op::cast;
    number.type = Type::f32;
    number.operand_count = 1;
    number.operands[0] = asked.score;
    asked.score = asked.append(number);
  }
  const auto count = e.q_idx.size();
  e.value.resize(count);
  std::vector<double> score(count, 0.0);
  for (std::size_t i = 0; i < count; ++i) score[i] = static_cast<double>(static_cast<int>(i * 7 % 41) - 20);
  ir::LaneContext context;
  context.b = box.b_first, context.h = box.h_first, context.q_len = box.q_len_first, context.kv_len = box.kv_len_first;
  ir::Interpreter(asked, bindings)
      .run(context, static_cast<int>(count), e.q_idx.data(), e.kv_idx.data(), score.data(), e.value.data(), nullptr);
  return e;
}

}  // namespace attnc::testing
