// SPDX-License-Identifier: Apache-2.0
#include "random_tensor.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <unordered_set>

#include "compiler/ir/half.h"

namespace attnc::cli {
namespace {

constexpr std::int64_t runs_of_ids = 12;

/// Copies `pattern` over and over: drawing every element of a large tensor would take longer than timing it. The period
/// is a prime, so that no two rows are equal.
void fill_normal(HostTensor& tensor, unsigned seed) {
  constexpr std::size_t period = 1000003;
  const std::size_t element = size_bytes(tensor.dtype());
  const std::size_t elements = tensor.bytes().size() / element;
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<std::byte> pattern(std::min(period, elements) * element);
  for (std::size_t i = 0; i * element < pattern.size(); ++i) {
    const float value = normal(random);
    if (tensor.dtype() == DType::f32) {
      std::memcpy(&pattern[4 * i], &value, 4);
      continue;
    }
    const std::uint16_t half = tensor.dtype() == DType::f16 ? ir::float_to_f16(value) : ir::float_to_bf16(value);
    std::memcpy(&pattern[2 * i], &half, 2);
  }
  for (std::size_t at = 0; at < tensor.bytes().size(); at += pattern.size())
    std::memcpy(&tensor.bytes()[at], pattern.data(), std::min(pattern.size(), tensor.bytes().size() - at));
}

void put_integer(HostTensor& tensor, std::size_t index, std::int64_t value) {
  const std::size_t element = size_bytes(tensor.dtype());
  std::memcpy(&tensor.bytes()[index * element], &value, element);  // little endian, as everything attnc runs on
}

void fill_ids(HostTensor& tensor, unsigned seed) {
  if (tensor.bytes().empty()) return;
  const std::size_t elements = tensor.bytes().size() / size_bytes(tensor.dtype());
  const auto row = tensor.shape().empty() ? std::size_t{1} : static_cast<std::size_t>(tensor.shape().back());
  std::mt19937 random(seed);
  std::set<std::size_t> starts;
  std::uniform_int_distribution<std::size_t> position(0, row - 1);
  for (std::int64_t i = 1; i < runs_of_ids; ++i) starts.insert(position(random));
  std::int64_t id = 0;
  for (std::size_t i = 0; i < elements; ++i) {
    if (i % row == 0) id = 0;
    if (i % row > 0 && starts.count(i % row) > 0) ++id;
    put_integer(tensor, i, id);
  }
}

void fill_coins(HostTensor& tensor, unsigned seed) {
  std::mt19937 random(seed);
  for (std::byte& value : tensor.bytes()) value = static_cast<std::byte>(random() & 1);
}

/// Calls `visit` for every node that the mods are made of.
void for_each_node(const BoundMods& mods, const std::function<void(const Node&)>& visit) {
  std::unordered_set<const Node*> seen;
  std::vector<NodePtr> pending;
  if (!mods.score_mod.is_identity()) pending.push_back(mods.score_mod.result().ptr());
  if (!mods.mask_mod.is_everything()) pending.push_back(mods.mask_mod.result().ptr());
  while (!pending.empty()) {
    const NodePtr node = pending.back();
    pending.pop_back();
    if (!seen.insert(node.get()).second) continue;
    visit(*node);
    for (const NodePtr& operand : node->operands) pending.push_back(operand);
  }
}

std::set<Input> inputs_of(const NodePtr& root) {
  std::set<Input> inputs;
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> pending{root.get()};
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    if (!seen.insert(node).second) continue;
    if (node->op == Op::input) inputs.insert(node->input);
    for (const NodePtr& operand : node->operands) pending.push_back(operand.get());
  }
  return inputs;
}

}  // namespace

HostTensor random_tensor(DType dtype, std::vector<std::int64_t> shape, unsigned seed) {
  HostTensor tensor(dtype, std::move(shape));
  switch (dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      fill_normal(tensor, seed);
      break;
    case DType::boolean:
      fill_coins(tensor, seed);
      break;
    default:
      fill_ids(tensor, seed);
  }
  return tensor;
}

std::vector<std::int64_t> shape_for(const BoundMods& mods, const BufferDecl& buffer, const Extents& extents) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(buffer.rank), 1);
  for_each_node(mods, [&](const Node& node) {
    if (node.op != Op::load || node.buffer->name != buffer.name) return;
    for (std::size_t axis = 0; axis < shape.size() && axis < node.operands.size(); ++axis) {
      const std::set<Input> inputs = inputs_of(node.operands[axis]);
      std::int64_t positions = 0;
      if (inputs.count(Input::q_idx) > 0) positions += extents.q_len;
      if (inputs.count(Input::kv_idx) > 0) positions += extents.kv_len;
      std::int64_t extent = std::max<std::int64_t>(positions, 1);
      if (inputs.count(Input::b) > 0) extent = std::max<std::int64_t>(extent, extents.batch);
      if (inputs.count(Input::h) > 0) extent = std::max<std::int64_t>(extent, extents.heads);
      shape[axis] = std::max(shape[axis], extent);
    }
  });
  return shape;
}

}  // namespace attnc::cli
