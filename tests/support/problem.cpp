// SPDX-License-Identifier: Apache-2.0
#include "tests/support/problem.h"

#include <cmath>
#include <limits>
#include <random>

#include "compiler/ir/lower.h"
#include "dsl/format.h"

namespace attnc::testing {
namespace {

constexpr std::size_t margin_bytes = 4096;
constexpr auto garbage = static_cast<std::byte>(0xFB);  // as bf16, f16 or f32: a large negative number or a NaN

template <class Visit>
void for_each_element(const TensorView& view, Visit&& visit) {
  std::int64_t index[TensorView::max_rank] = {};
  const std::int64_t total = view.elements();
  for (std::int64_t i = 0; i < total; ++i) {
    visit(static_cast<const std::int64_t*>(index));
    for (int d = view.rank - 1; d >= 0; --d) {
      if (++index[d] < view.shape[static_cast<std::size_t>(d)]) break;
      index[d] = 0;
    }
  }
}

}  // namespace

GuardedTensor& GuardedTensor::operator=(const GuardedTensor& other) {
  bytes = other.bytes;
  view = other.view;
  data_offset_bytes = other.data_offset_bytes;
  view.data = bytes.data() + data_offset_bytes;
  return *this;
}

GuardedTensor GuardedTensor::create(DType dtype, const std::vector<std::int64_t>& shape, Layout layout) {
  GuardedTensor tensor;
  TensorView& view = tensor.view;
  view.dtype = dtype;
  view.rank = static_cast<int>(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) view.shape[i] = shape[i];
  std::vector<std::int64_t> extent = shape;
  std::int64_t offset_elems = 0;
  if (layout == Layout::sliced && view.rank == 4) {
    extent[2] += 3;
    extent[3] += 8;
    offset_elems = extent[3] + 8;  // one row and eight columns in: 16-byte aligned for 16-bit types
  }
  std::vector<int> order(shape.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  if (layout == Layout::bshd && view.rank == 4) std::swap(order[1], order[2]);
  std::int64_t stride = 1;
  for (std::size_t i = order.size(); i-- > 0;) {
    view.stride_elems[static_cast<std::size_t>(order[i])] = stride;
    stride *= extent[static_cast<std::size_t>(order[i])];
  }
  tensor.bytes.assign(2 * margin_bytes + static_cast<std::size_t>(stride) * size_bytes(dtype), garbage);
  tensor.data_offset_bytes = margin_bytes + static_cast<std::size_t>(offset_elems) * size_bytes(dtype);
  view.data = tensor.bytes.data() + tensor.data_offset_bytes;
  return tensor;
}

void GuardedTensor::fill_normal(std::uint64_t seed, double deviation) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, deviation);
  for_each_element(view, [&](const std::int64_t* index) { write_element(view, index, normal(random)); });
}

void GuardedTensor::fill_nan() {
  for_each_element(
      view, [&](const std::int64_t* index) { write_element(view, index, std::numeric_limits<double>::quiet_NaN()); });
}

std::string GuardedTensor::check_guards(const char* name) const {
  std::vector<bool> element(bytes.size(), false);
  const std::size_t size = size_bytes(view.dtype);
  for_each_element(view, [&](const std::int64_t* index) {
    std::int64_t offset = static_cast<std::int64_t>(data_offset_bytes);
    for (int d = 0; d < view.rank; ++d)
      offset += index[d] * view.stride_elems[static_cast<std::size_t>(d)] * static_cast<std::int64_t>(size);
    for (std::size_t i = 0; i < size; ++i) element[static_cast<std::size_t>(offset) + i] = true;
  });
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (!element[i] && bytes[i] != garbage)
      return attnc::format("{}: a byte outside the tensor was overwritten ({} bytes from its start)", name,
                           static_cast<std::int64_t>(i) - static_cast<std::int64_t>(data_offset_bytes));
  return "";
}

std::string ProblemSpec::describe() const {
  return attnc::format("{} B={} Hq={} Hkv={} Sq={} Skv={} D={} Dv={} layout={} seed={}", name(dtype), batch, q_heads,
                       kv_heads, q_len, kv_len, head_dim, head_dim_v, static_cast<int>(layout), seed);
}

Problem::Problem(const ProblemSpec& s) : spec(s), scale(1.0f / std::sqrt(static_cast<float>(s.head_dim))) {
  q = GuardedTensor::create(s.dtype, {s.batch, s.q_heads, s.q_len, s.head_dim}, s.layout);
  k = GuardedTensor::create(s.dtype, {s.batch, s.kv_heads, s.kv_len, s.head_dim}, s.layout);
  v = GuardedTensor::create(s.dtype, {s.batch, s.kv_heads, s.kv_len, s.head_dim_v}, s.layout);
  out = GuardedTensor::create(s.dtype, {s.batch, s.q_heads, s.q_len, s.head_dim_v}, s.layout);
  lse = GuardedTensor::create(DType::f32, {s.batch, s.q_heads, s.q_len});
  q.fill_normal(s.seed * 4 + 1);
  k.fill_normal(s.seed * 4 + 2);
  v.fill_normal(s.seed * 4 + 3);
  out.fill_nan();
  lse.fill_nan();
}

std::vector<BufferValue> Problem::buffer_values(const ir::Program& program) const {
  std::vector<BufferValue> values;
  for (const BufferDecl& decl : program.buffers) values.push_back({decl.name, buffers.at(decl.name).view});
  return values;
}

std::vector<ParamValue> Problem::param_values(const ir::Program& program) const {
  std::vector<ParamValue> values;
  for (const ParamDecl& decl : program.params)
    for (const ParamValue& value : params)
      if (value.name == decl.name) values.push_back(value);
  return values;
}

ReferenceInputs Problem::reference_inputs(const ir::Program& program) const {
  ReferenceInputs inputs{q.view, k.view, v.view, scale, ir::Bindings::defaults(program)};
  for (std::size_t i = 0; i < program.params.size(); ++i)
    for (const ParamValue& value : params)
      if (value.name == program.params[i].name) inputs.bindings.params[i] = {value.real, value.integer};
  for (std::size_t i = 0; i < program.buffers.size(); ++i) {
    const TensorView& view = buffers.at(program.buffers[i].name).view;
    ir::BoundBuffer& bound = inputs.bindings.buffers[i];
    bound.data = view.data;
    bound.dtype = view.dtype;
    for (int d = 0; d < view.rank; ++d) {
      bound.shape.push_back(view.shape[static_cast<std::size_t>(d)]);
      bound.stride_elems.push_back(view.stride_elems[static_cast<std::size_t>(d)]);
    }
  }
  return inputs;
}

std::string Problem::check(const ScoreMod& score_mod, const MaskMod& mask_mod, int row_limit) const {
  for (const auto& [tensor, name] : {std::pair{&q, "q"}, {&k, "k"}, {&v, "v"}, {&out, "out"}, {&lse, "lse"}})
    if (std::string what = tensor->check_guards(name); !what.empty()) return what;
  for (const auto& [name, tensor] : buffers)
    if (std::string what = tensor.check_guards(name.c_str()); !what.empty()) return what;
  const ir::Program program = ir::lower(score_mod, mask_mod);
  const auto ids = choose_rows(spec.batch, spec.q_heads, spec.q_len, row_limit, spec.seed);
  return judge(reference_rows(program, reference_inputs(program), ids), out.view, lse.view);
}

}  // namespace attnc::testing
