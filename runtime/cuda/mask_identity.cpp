// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/mask_identity.h"

#include <algorithm>
#include <utility>

namespace attnc::cuda {
namespace {

/// The number of a slot among those met so far.
std::int16_t number(std::vector<std::size_t>& slots, std::int16_t slot) {
  const auto found = std::find(slots.begin(), slots.end(), static_cast<std::size_t>(slot));
  const auto at = static_cast<std::int16_t>(found - slots.begin());
  if (found == slots.end()) slots.push_back(static_cast<std::size_t>(slot));
  return at;
}

}  // namespace

MaskIdentity::MaskIdentity(const ir::Program& program) {
  if (program.mask == ir::no_value) return;
  // Operands first, in their order: what else the program computes has no say in it.
  std::vector<ir::ValueId> ids(program.insts.size(), ir::no_value);
  std::vector<std::pair<ir::ValueId, int>> stack{{program.mask, 0}};
  while (!stack.empty()) {
    auto& [id, next] = stack.back();
    ir::Inst inst = program[id];
    if (ids[static_cast<std::size_t>(id)] != ir::no_value) {
      stack.pop_back();
    } else if (next < inst.operand_count) {
      const ir::ValueId operand = inst.operands[static_cast<std::size_t>(next++)];
      stack.emplace_back(operand, 0);
    } else {
      for (std::size_t i = 0; i < inst.operand_count; ++i)
        inst.operands[i] = ids[static_cast<std::size_t>(inst.operands[i])];
      if (inst.op == Op::param) inst.slot = number(param_slots_, inst.slot);
      if (inst.op == Op::load) inst.slot = number(buffer_slots_, inst.slot);
      ids[static_cast<std::size_t>(id)] = static_cast<ir::ValueId>(insts_.size());
      insts_.push_back(inst);
      stack.pop_back();
    }
  }
  for (const std::size_t slot : param_slots_) params_.push_back(program.params[slot]);
  for (const std::size_t slot : buffer_slots_) buffers_.push_back(program.buffers[slot]);
}

bool MaskIdentity::same(const ir::Bindings& bindings, const MaskIdentity& other,
                        const ir::Bindings& other_bindings) const {
  if (insts_ != other.insts_) return false;
  // Names are how a call binds, and no more: what is bound decides.
  for (std::size_t i = 0; i < params_.size(); ++i) {
    const ir::Bindings::Scalar &a = bindings.params[param_slots_[i]], &b = other_bindings.params[other.param_slots_[i]];
    if (params_[i].type != other.params_[i].type || a.real != b.real || a.integer != b.integer) return false;
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const ir::BoundBuffer &a = bindings.buffers[buffer_slots_[i]], &b = other_bindings.buffers[other.buffer_slots_[i]];
    if (a.data != b.data || a.dtype != b.dtype || a.shape != b.shape || a.stride_elems != b.stride_elems) return false;
  }
  return true;
}

}  // namespace attnc::cuda
