// SPDX-License-Identifier: Apache-2.0
// Interval analysis on the host: the rules over the algebra that computes at once.
#include <unordered_map>

#include "compiler/bounds/bounds.h"
#include "compiler/bounds/concrete.h"
#include "compiler/bounds/evaluate.h"

namespace attnc::bounds {

Box Box::whole(int batch, int heads, int q_len, int kv_len) {
  Box box;
  box.b_last = batch - 1;
  box.h_last = heads - 1;
  box.q_last = q_len - 1;
  box.kv_last = kv_len - 1;
  box.q_len_first = box.q_len_last = q_len;
  box.kv_len_first = box.kv_len_last = kv_len;
  return box;
}

Box Box::anything() {
  constexpr auto longest = static_cast<std::int32_t>(max_length);
  Box box = whole(longest, longest, longest, longest);
  box.q_len_first = box.kv_len_first = 1;
  return box;
}

ValueRange ValueRange::unknown(Type type) {
  ValueRange r;
  r.type = type;
  r.lo = type_min(type);
  r.hi = type_max(type);
  r.real_lo = -std::numeric_limits<double>::infinity();
  r.real_hi = std::numeric_limits<double>::infinity();
  return r;
}

ValueRange ValueRange::unknown(DType element) {
  ValueRange r = unknown(loaded_type(element));
  if (element == DType::i8) r.lo = -128, r.hi = 127;
  if (element == DType::u8) r.lo = 0, r.hi = 255;
  return r;
}

Range<Concrete> to_range(Concrete& a, const ValueRange& value) {
  switch (value.type) {
    case Type::boolean:
      return truth<Concrete>(value.may_be_true, value.may_be_false);
    case Type::f32:
      return reals<Concrete>(value.real_lo, value.real_hi, value.may_be_nan);
    default:
      return integers(a, value.type, value.lo, value.hi);
  }
}

ValueRange to_value_range(const Range<Concrete>& range) {
  return {range.type,    range.lo,         range.hi,          range.real_lo,
          range.real_hi, range.may_be_nan, range.may_be_true, range.may_be_false};
}

Range<Concrete> Concrete::param(int slot, Type type) {
  if (knowledge_.bindings == nullptr) return anything(*this, type);
  const ir::Bindings::Scalar& value = knowledge_.bindings->params[static_cast<std::size_t>(slot)];
  switch (type) {
    case Type::boolean:
      return decided_truth(*this, value.integer != 0);
    case Type::f32: {
      const auto real = static_cast<double>(static_cast<float>(value.real));
      return std::isnan(real) ? any_real(*this) : reals<Concrete>(real, real, false);
    }
    default:
      return integers(*this, type, value.integer, value.integer);
  }
}

Range<Concrete> Concrete::load(const ir::Program& program, const ir::Inst& inst, const Range<Concrete>* values) {
  const DType dtype = program.buffers[static_cast<std::size_t>(inst.slot)].dtype;
  if (knowledge_.buffers == nullptr) return to_range(*this, ValueRange::unknown(dtype));
  std::array<Extent, ir::max_operands> index;
  for (std::size_t d = 0; d < inst.operand_count; ++d)
    index[d] = {values[inst.operands[d]].lo, values[inst.operands[d]].hi};
  return to_range(*this, knowledge_.buffers->range(inst.slot, std::span(index.data(), inst.operand_count)));
}

std::vector<ir::ValueId> cone(const ir::Program& program, ir::ValueId root) {
  std::vector<char> needed(static_cast<std::size_t>(root) + 1, 0);
  needed.back() = 1;
  std::vector<ir::ValueId> order;
  for (ir::ValueId id = root; id >= 0; --id) {
    if (!needed[static_cast<std::size_t>(id)]) continue;
    order.push_back(id);
    const ir::Inst& inst = program[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i) needed[static_cast<std::size_t>(inst.operands[i])] = 1;
  }
  std::reverse(order.begin(), order.end());
  return order;
}

struct Evaluator::State {
  State(const ir::Program& p, const Knowledge& knowledge) : program(p), algebra(knowledge), values(p.insts.size()) {}

  const Range<Concrete>& run(ir::ValueId root, const Box& box) {
    std::vector<ir::ValueId>& order = orders[root];
    if (order.empty()) order = cone(program, root);
    algebra.set_box(box);
    for (const ir::ValueId id : order)
      values[static_cast<std::size_t>(id)] = evaluate(algebra, program, id, values.data());
    return values[static_cast<std::size_t>(root)];
  }

  const ir::Program& program;
  Concrete algebra;
  std::vector<Range<Concrete>> values;
  std::unordered_map<ir::ValueId, std::vector<ir::ValueId>> orders;
};

Evaluator::Evaluator(const ir::Program& program, const Knowledge& knowledge)
    : state_(std::make_unique<State>(program, knowledge)) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

Verdict Evaluator::classify(const Box& box) {
  if (state_->program.mask == ir::no_value) return Verdict::full;
  const Range<Concrete>& mask = state_->run(state_->program.mask, box);
  if (!mask.may_be_false) return Verdict::full;
  return mask.may_be_true ? Verdict::partial : Verdict::empty;
}

ValueRange Evaluator::range(ir::ValueId value, const Box& box) { return to_value_range(state_->run(value, box)); }

Verdict classify(const ir::Program& program, const Knowledge& knowledge, const Box& box) {
  return Evaluator(program, knowledge).classify(box);
}

}  // namespace attnc::bounds
