// SPDX-License-Identifier: Apache-2.0
#include "runtime/block_mask_exact.h"

#include <algorithm>
#include <array>

namespace attnc {
namespace {

class InterpretedMask final : public MaskElements {
 public:
  InterpretedMask(const ir::Program& program, const ir::Bindings& bindings, int q_len, int kv_len)
      : interpreter_(program, bindings) {
    context_.q_len = q_len;
    context_.kv_len = kv_len;
  }
  void points(int b, int h, int count, const std::int32_t* q_idx, const std::int32_t* kv_idx,
              std::uint8_t* out) override {
    context_.b = b;
    context_.h = h;
    interpreter_.run(context_, count, q_idx, kv_idx, nullptr, nullptr, out);
  }

 private:
  ir::Interpreter interpreter_;
  ir::LaneContext context_;
};

}  // namespace

std::unique_ptr<MaskElements> interpret_mask(const ir::Program& program, const ir::Bindings& bindings, int q_len,
                                             int kv_len) {
  return std::make_unique<InterpretedMask>(program, bindings, q_len, kv_len);
}

namespace {

/// Decides one block, until both values have been seen.
class Exact {
 public:
  Exact(MaskElements& elements, bounds::Evaluator& evaluator) : elements_(elements), evaluator_(evaluator) {}

  /// The corners, then places spread by steps coprime to any block: neighbours, both parities, both ends.
  void sample(const bounds::Box& box) {
    const int height = box.q_last - box.q_first + 1, width = box.kv_last - box.kv_first + 1;
    constexpr int samples = 16;
    for (int i = 0; i < samples; ++i) {
      const int y = i < 4 ? (i / 2) * (height - 1) : (i * 37 + 1) % height;
      const int x = i < 4 ? (i % 2) * (width - 1) : (i * 53 + (i & 1)) % width;
      add(i, box.q_first + y, box.kv_first + x);
    }
    look(box, samples);
  }

  /// `undecided`: the evaluator has been asked about this very box.
  void split(const bounds::Box& box, bool undecided) {
    if (!undecided) {
      const bounds::Verdict verdict = evaluator_.classify(box);
      if (verdict == bounds::Verdict::full) kept_ = true;
      if (verdict == bounds::Verdict::empty) dropped_ = true;
      if (verdict != bounds::Verdict::partial) return;
    }
    const int height = box.q_last - box.q_first + 1, width = box.kv_last - box.kv_first + 1;
    if (height * width <= lanes) return every(box);
    bounds::Box first = box, second = box;
    if (height >= width) {
      first.q_last = box.q_first + height / 2 - 1;
      second.q_first = first.q_last + 1;
    } else {
      first.kv_last = box.kv_first + width / 2 - 1;
      second.kv_first = first.kv_last + 1;
    }
    split(first, false);
    if (!both()) split(second, false);
  }

  bool both() const { return kept_ && dropped_; }
  bounds::Verdict verdict() const {
    if (both()) return bounds::Verdict::partial;
    return kept_ ? bounds::Verdict::full : bounds::Verdict::empty;
  }

 private:
  static constexpr int lanes = 64;  // a run of the interpreter costs about as much as classifying a box

  void every(const bounds::Box& box) {
    int count = 0;
    for (int q = box.q_first; q <= box.q_last; ++q)
      for (int kv = box.kv_first; kv <= box.kv_last; ++kv) add(count++, q, kv);
    look(box, count);
  }
  void add(int lane, int q, int kv) {
    q_[static_cast<std::size_t>(lane)] = q;
    kv_[static_cast<std::size_t>(lane)] = kv;
  }
  void look(const bounds::Box& box, int count) {
    elements_.points(box.b_first, box.h_first, count, q_.data(), kv_.data(), mask_.data());
    for (int i = 0; i < count; ++i) (mask_[static_cast<std::size_t>(i)] ? kept_ : dropped_) = true;
  }

  MaskElements& elements_;
  bounds::Evaluator& evaluator_;
  bool kept_ = false, dropped_ = false;
  std::array<std::int32_t, lanes> q_, kv_;
  std::array<std::uint8_t, lanes> mask_;
};

}  // namespace

bounds::Verdict evaluate_block(MaskElements& elements, bounds::Evaluator& evaluator, const bounds::Box& box) {
  Exact exact(elements, evaluator);
  exact.sample(box);
  if (!exact.both()) exact.split(box, true);
  return exact.verdict();
}

}  // namespace attnc
