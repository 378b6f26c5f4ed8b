// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/scratch.h"

#include <cstdint>
#include <new>

namespace attnc::cpu {
namespace {

constexpr std::size_t alignment = 64;  // a cache line, and the widest vector

}  // namespace

void Scratch::Free::operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{alignment}); }

Scratch::Scratch(const CpuPlan& plan, const SlotCounts& slots) {
  struct Piece {
    void** pointer;
    std::size_t offset;
  };
  std::vector<Piece> pieces;
  auto carve = [&](auto*& pointer, std::size_t elements, std::size_t element_bytes) {
    pieces.push_back({reinterpret_cast<void**>(
                          const_cast<std::remove_const_t<std::remove_reference_t<decltype(*pointer)>>**>(&pointer)),
                      size_bytes_});
    size_bytes_ += (elements * element_bytes + alignment - 1) / alignment * alignment;
  };
  const auto count = [](int n) { return static_cast<std::size_t>(n); };
  const std::size_t lanes = count(plan.lanes), rows = count(plan.max_rows), keys = count(plan.max_keys);
  const std::size_t listed_keys = keys + count(plan.key_rows);  // register blocks read whole blocks of keys
  const std::size_t key_row = (count(plan.head_dim_qk) + lanes - 1) / lanes * lanes;
  std::int32_t* all_keys = nullptr;
  carve(pointers_.q_panels, rows * count(plan.head_dim_qk), 4);
  carve(pointers_.k_tile, listed_keys * key_row, 4);
  carve(pointers_.v_tile, keys * count(plan.head_dim_v_padded()), 4);
  carve(pointers_.scores, listed_keys * count(plan.panel_rows()), 4);
  carve(pointers_.out_acc, rows * count(plan.head_dim_v_padded()), 4);
  carve(pointers_.row_max, rows, 4);
  carve(pointers_.row_sum, rows, 4);
  carve(pointers_.correction, count(plan.panel_rows()), 4);
  carve(pointers_.row_staging, key_row + count(plan.head_dim_v_padded()), 4);
  carve(all_keys, listed_keys, 4);
  carve(pointers_.live_keys, listed_keys + 1, 4);
  carve(pointers_.keep_bits, (keys + 1) * count(plan.q_vectors), 2);
  carve(pointers_.uniform_slots, count(slots.uniform), 8);
  carve(pointers_.row_slots, count(slots.row) * rows, 8);
  carve(pointers_.column_slots, count(slots.column) * (keys + lanes), 8);

  memory_.reset(static_cast<std::byte*>(::operator new[](size_bytes_, std::align_val_t{alignment})));
  for (const Piece& piece : pieces) *piece.pointer = memory_.get() + piece.offset;
  for (std::size_t i = 0; i < listed_keys; ++i) all_keys[i] = static_cast<std::int32_t>(i);
  pointers_.all_keys = all_keys;
}

void Scratch::attach(TaskAbi& task) const {
  task.q_panels = pointers_.q_panels;
  task.k_tile = pointers_.k_tile;
  task.v_tile = pointers_.v_tile;
  task.scores = pointers_.scores;
  task.out_acc = pointers_.out_acc;
  task.row_max = pointers_.row_max;
  task.row_sum = pointers_.row_sum;
  task.correction = pointers_.correction;
  task.row_staging = pointers_.row_staging;
  task.all_keys = pointers_.all_keys;
  task.live_keys = pointers_.live_keys;
  task.keep_bits = pointers_.keep_bits;
  task.uniform_slots = pointers_.uniform_slots;
  task.row_slots = pointers_.row_slots;
  task.column_slots = pointers_.column_slots;
}

ScratchPool::Lease ScratchPool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(free_.back());
      free_.pop_back();
      return {*this, std::move(scratch)};
    }
  }
  return {*this, std::make_unique<Scratch>(plan_, slots_)};
}

void ScratchPool::give_back(std::unique_ptr<Scratch> scratch) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(scratch));
}

}  // namespace attnc::cpu
