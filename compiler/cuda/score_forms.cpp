// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/score_forms.h"

#include <utility>

#include "dsl/format.h"

namespace attnc::cuda {
namespace {

using ir::Level;
using Kind = DeviceValue::Kind;

int add(DeviceProgram& program, std::string name, Level level, std::string text, std::vector<int> operands) {
  DeviceValue value;
  value.type = Type::f32;
  value.level = level;
  value.name = std::move(name);
  value.text = std::move(text);
  value.operands = std::move(operands);
  value.line = 1;
  program.values.push_back(std::move(value));
  return static_cast<int>(program.values.size()) - 1;
}

bool is_op(const DeviceProgram& program, int id, Op op) {
  return program[id].kind == Kind::computed && program[id].op == op && program[id].type == Type::f32;
}

/// +1 or -1 if the value is delta or its negative, else 0.
int delta_sign(const DeviceProgram& program, int id) {
  const DeviceValue& value = program[id];
  if (value.kind == Kind::delta) return 1;
  if (value.kind != Kind::computed || value.operands.size() != 1 || program[value.operands[0]].kind != Kind::delta)
    return 0;
  return value.text == "$0" ? 1 : value.text == "-$0" ? -1 : 0;
}

/// Whether the value depends on the dot product.
bool reads_dot(const DeviceProgram& program, int id) {
  std::vector<bool> seen(program.values.size(), false);
  std::vector<int> open{id};
  while (!open.empty()) {
    const int top = open.back();
    open.pop_back();
    if (seen[static_cast<std::size_t>(top)]) continue;
    seen[static_cast<std::size_t>(top)] = true;
    const DeviceValue& value = program[top];
    if (value.kind == Kind::input && value.input == Input::dot) return true;
    for (const int operand : value.operands) open.push_back(operand);
  }
  return false;
}

/// Builds sums of products onto `shift` as nested multiply-adds.
class Shifter {
 public:
  explicit Shifter(DeviceProgram& program) : program_(program) {}

  /// `sign` * value + inner, where inner < 0 stands for the parameter `shift`.
  int fold(int id, int sign, int inner) {
    const DeviceValue value = program_[id];
    // What an outer level computes is added whole: taken apart, it would be computed here.
    if (!computed_per_element(value)) {
      return make(attnc::format("{} {} $0", inner < 0 ? "shift" : "$1", sign < 0 ? "-" : "+"), {id}, inner);
    }
    if (is_op(program_, id, Op::add) || is_op(program_, id, Op::sub)) {
      const int second_sign = value.op == Op::sub ? -sign : sign;
      // What reads the dot product goes outside, so that the rest is added before the product arrives.
      if (reads_dot(program_, value.operands[0]))
        return fold(value.operands[0], sign, fold(value.operands[1], second_sign, inner));
      return fold(value.operands[1], second_sign, fold(value.operands[0], sign, inner));
    }
    if (is_op(program_, id, Op::mul)) {
      folded_ = true;
      const std::string minus = sign < 0 ? "-" : "";
      for (const int side : {0, 1}) {
        const int direction = delta_sign(program_, value.operands[static_cast<std::size_t>(side)]);
        const int factor = value.operands[static_cast<std::size_t>(1 - side)];
        if (direction == 0 || computed_per_element(program_[factor])) continue;
        const std::string slope = direction * sign < 0 ? "-$0" : "$0";
        const int per_row =
            make(attnc::format("fmaf({}, e.delta_row, {})", slope, inner < 0 ? "shift" : "$1"), {factor}, inner);
        return make(attnc::format("fmaf({}, e.delta_column, $1)", slope), {factor}, per_row);
      }
      return make(attnc::format("fmaf({}$0, $1, {})", minus, inner < 0 ? "shift" : "$2"), value.operands, inner);
    }
    return make(attnc::format("{} {} $0", inner < 0 ? "shift" : "$1", sign < 0 ? "-" : "+"), {id}, inner);
  }
  bool folded() const { return folded_; }

 private:
  int make(std::string text, std::vector<int> operands, int inner) {
    if (inner >= 0) operands.push_back(inner);
    return add(program_, attnc::format("shifted_{}", count_++), Level::element, std::move(text), std::move(operands));
  }

  DeviceProgram& program_;
  int count_ = 0;
  bool folded_ = false;
};

bool is_uniform(const DeviceProgram& program, int id) {
  return program[id].kind != Kind::input ? program[id].level == Level::uniform : program[id].input == Input::scale;
}

/// Of a product, the operand that is uniform and the other one.
struct Scaled {
  int factor = -1, rest = -1;
};
Scaled split_product(const DeviceProgram& program, int id) {
  if (!is_op(program, id, Op::mul)) return {};
  const int a = program[id].operands[0], b = program[id].operands[1];
  if (is_uniform(program, b)) return {b, a};
  if (is_uniform(program, a)) return {a, b};
  return {};
}

/// c tanh(a dot) as dot (u^2 + constant) with u = dot^2 + cubic / 2: a multiply-add less than any odd polynomial of
/// degree 5, since the coefficient of dot^5 is 1. Scaling Q, and with it dot, by a power of two puts that coefficient,
/// in units of c x^5 with x = a dot, anywhere between 1/16 and 2, where the polynomial still grows with x. The two
/// others make the relative error least for x^2 <= range, within 2^-11: from tanh(x) / x = 1 - x^2 / 3 + 2 x^4 / 15 -
/// 17 x^6 / 315, and the best lines through x^4 and x^6 in x^2.
void add_scaled_score(DeviceProgram& program, NarrowScore& narrow, int a, int c, int a2, int dot) {
  const auto uniform = [&](std::string name, std::string text, std::vector<int> operands) {
    return add(program, std::move(name), Level::uniform, std::move(text), std::move(operands));
  };
  const int size = uniform("scaled_size", "log2f(fabsf($1)) + 5.0f * log2f(fabsf($0))", {a, c});
  const int exponent = uniform("scaled_exponent", "fminf(fmaxf(ceilf(fmaf(0.2f, $0, -0.8f)), -16.0f), 16.0f)", {size});
  narrow.query_factor =
      uniform("scaled_factor", "copysignf(from_bits(static_cast<uint32>(static_cast<int>($0) + 127) << 23), $1 * $2)",
              {exponent, a, c});
  const int k2 = uniform("scaled_k2", "1.0f / ($0 * $1 * $2 * $2)", {a, c, a2});
  const int excess = uniform("scaled_excess", "$0 - 0.133333333f", {k2});
  const int range = uniform("scaled_range", "fminf(0.2f, sqrtf(0.0032f / fabsf($0)))", {excess});
  const int k1 = uniform("scaled_k1", "-0.333333333f - $1 * fmaf(0.054f, $1, $0)", {excess, range});
  const int k0 = uniform("scaled_k0", "fmaf($1 * $1, fmaf(0.0104f, $1, 0.125f * $0), 1.0f)", {excess, range});
  const int half = uniform("scaled_half", "0.5f * $0 * $1 * $2 * $3", {a, c, a2, k1});
  const int constant = uniform("scaled_constant", "fmaf(-$3, $3, $0 * $1 * $2)", {a, c, k0, half});
  narrow.scaled_bound = uniform(
      "scaled_bound", "$0 >= 0.06f && $0 <= 2.1f ? fabsf($1) * sqrtf($2) * fmaf($2, fmaf($2, $0, $3), $4) : -1e30f",
      {k2, c, range, k1, k0});
  const int u = add(program, "scaled_u", Level::element, "fmaf($0, $0, $1)", {dot, half});
  narrow.scaled_score =
      add(program, "scaled_score", Level::element, "fmaf($0, fmaf($1, $1, $2), shift)", {dot, u, constant});
}

}  // namespace

int add_shifted_score(DeviceProgram& program, int score) {
  if (score < 0) return -1;
  Shifter shifter(program);
  const int shifted = shifter.fold(score, 1, -1);
  return shifter.folded() ? shifted : -1;
}

LinearScore find_linear_score(DeviceProgram& program, int score) {
  if (score < 0) return {};
  // The terms of a sum, each with its sign.
  std::vector<std::pair<int, int>> open{{score, 1}}, terms;
  while (!open.empty()) {
    const auto [id, sign] = open.back();
    open.pop_back();
    if (is_op(program, id, Op::add) || is_op(program, id, Op::sub)) {
      open.emplace_back(program[id].operands[0], sign);
      open.emplace_back(program[id].operands[1], program[id].op == Op::sub ? -sign : sign);
    } else {
      terms.emplace_back(id, sign);
    }
  }
  LinearScore linear;
  int slope = -1, slope_sign = 0;
  bool others = false;
  for (const auto& [id, sign] : terms) {
    const Scaled product = split_product(program, id);
    if (!reads_dot(program, id)) {
      const int direction = product.rest < 0 ? 0 : delta_sign(program, product.rest);
      others = others || direction == 0 || slope >= 0;
      slope = product.factor;
      slope_sign = direction * sign;
      continue;
    }
    const bool plain = product.rest >= 0 && program[product.rest].kind == Kind::input && sign > 0;
    if (!plain || linear.factor >= 0) return {};
    linear.factor = product.factor;
  }
  if (slope >= 0 && !others) {
    linear.slope = slope_sign > 0 ? slope : add(program, "negative_slope", Level::uniform, "-$0", {slope});
  }
  return linear;
}

int add_dropped_dot(DeviceProgram& program, const NarrowScore& narrow, const LinearScore& linear) {
  const int factor = narrow.score >= 0 ? narrow.factor : linear.factor;
  if (factor < 0) return -1;
  return add(program, "dropped_dot", Level::uniform, "$0 < 0.0f ? from_bits(0x7f800000u) : from_bits(0xff800000u)",
             {factor});
}

NarrowScore add_narrow_score(DeviceProgram& program, int score) {
  if (score < 0) return {};
  const Scaled outer = split_product(program, score);
  if (outer.rest < 0 || !is_op(program, outer.rest, Op::tanh)) return {};
  const Scaled inner = split_product(program, program[outer.rest].operands[0]);
  if (inner.rest < 0 || program[inner.rest].kind != Kind::input || program[inner.rest].input != Input::dot) return {};
  // tanh(x) = x (k0 + k1 x^2 + k2 x^4) for |tanh(x)| <= 0.6, least maximum relative error; it grows with x everywhere.
  const int a = inner.factor, c = outer.factor, dot = inner.rest;
  const int square = add(program, "narrow_a2", Level::uniform, "$0 * $0", {a});
  const int k0 = add(program, "narrow_k0", Level::uniform, "$0 * $1 * 0.999852167f", {a, c});
  const int k1 = add(program, "narrow_k1", Level::uniform, "$0 * $1 * $2 * -0.327790433f", {a, c, square});
  const int k2 = add(program, "narrow_k2", Level::uniform, "$0 * $1 * $2 * $2 * 0.101105042f", {a, c, square});
  NarrowScore narrow;
  narrow.factor = k0;
  narrow.bound = add(program, "narrow_bound", Level::uniform, "fabsf($0) * 0.6f", {c});
  const int dot2 = add(program, "narrow_dot2", Level::element, "$0 * $0", {dot});
  narrow.score = add(program, "narrow_score", Level::element, "fmaf($0, fmaf($1, fmaf($1, $2, $3), $4), shift)",
                     {dot, dot2, k2, k1, k0});
  add_scaled_score(program, narrow, a, c, square, dot);
  return narrow;
}

}  // namespace attnc::cuda
