// SPDX-License-Identifier: Apache-2.0
#include "stock.h"

#include "dsl/format.h"

namespace attnc::stock {
namespace {

struct Point {
  Expr row, column;
};
Point on_grid(const Expr& index, const Expr& width) { return {index / width, index % width}; }

/// Whether `key` lies in the 2 radius + 1 places nearest to `query` that exist on an axis of `length` places.
Expr in_clamped_window(const Expr& query, const Expr& key, const Expr& length, const Expr& radius) {
  const Expr size = 2 * radius + 1;
  const Expr first = max(min(query - radius, length - size), 0);
  return key >= first && key < first + size;
}

}  // namespace

ScoreMod soft_cap(const Expr& cap) {
  return score_mod([=](Score s, Index, Index, Index, Index) { return cap * tanh(s / cap); });
}

ScoreMod alibi() {
  const Buffer slope = buffer("slope", DType::f32);
  return score_mod([=](Score s, Index, Index h, Index q, Index kv) { return s + slope[h] * (kv - q); });
}

ScoreMod alibi_computed(int heads) {
  if (heads < 1) throw Error(ErrorCode::invalid_argument, attnc::format("alibi_computed: heads is {}, below 1", heads));
  const float log2_ratio = -8.0f / static_cast<float>(heads);
  return score_mod(
      [=](Score s, Index, Index h, Index q, Index kv) { return s + exp2(f32(h + 1) * log2_ratio) * (kv - q); });
}

ScoreMod relative_bias(const Expr& offset, DType dtype) {
  const Buffer bias = buffer("bias", dtype, 2);
  return score_mod([=](Score s, Index, Index h, Index q, Index kv) { return s + bias(h, q - kv + offset); });
}

ScoreMod absolute_bias(DType dtype) {
  const Buffer bias = buffer("bias", dtype, 4);
  return score_mod([=](Score s, Index b, Index h, Index q, Index kv) { return s + bias(b, h, q, kv); });
}

ScoreMod times_two() {
  return score_mod([](Score s, Index, Index, Index, Index) { return s * 2.0f; });
}

ScoreMod squared() {
  return score_mod([](Score s, Index, Index, Index, Index) { return s * s; });
}

ScoreMod distance_decay() {
  return score_mod([](Score s, Index, Index, Index q, Index kv) {
    const Expr distance = f32(q - kv);  // squared as a float: an i32 would wrap past 46340
    return s / (1.0f + 1e-4f * (distance * distance));
  });
}

ScoreMod head_gate() {
  const Buffer gate = buffer("gate", DType::f32);
  return score_mod([=](Score s, Index, Index h, Index, Index) { return s * sigmoid(gate[h]); });
}

ScoreMod log_kernel(const Expr& epsilon) {
  return score_mod([=](Score s, Index, Index, Index, Index) { return log(max(s, 0.0f) + epsilon); });
}

ScoreMod small_reduction() {
  const Buffer p = buffer("p", DType::f32, 2);
  return score_mod([=](Score s, Index, Index, Index q, Index kv) {
    Expr sum = s;
    for (int i = 0; i < 3; ++i) {
      const Expr difference = p(q, i) - p(kv, i);
      sum = sum - difference * difference;
    }
    return sum;
  });
}

MaskMod causal() {
  return mask_mod([](Index, Index, Index q, Index kv) { return q >= kv; });
}

MaskMod causal_lower_right() {
  return mask_mod([](Index, Index, Index q, Index kv) { return q + kv_len() - q_len() >= kv; });
}

MaskMod sliding_window(const Expr& window) {
  return mask_mod([=](Index, Index, Index q, Index kv) { return q >= kv && q - kv < window; });
}

MaskMod sliding_window_two_sided(const Expr& window) {
  return mask_mod([=](Index, Index, Index q, Index kv) { return abs(q - kv) <= window; });
}

MaskMod dilated(const Expr& window, const Expr& dilation) {
  return mask_mod([=](Index, Index, Index q, Index kv) { return abs(q - kv) <= window && (q - kv) % dilation == 0; });
}

MaskMod prefix_lm(const Expr& prefix) {
  return mask_mod([=](Index, Index, Index q, Index kv) { return kv < prefix || q >= kv; });
}

MaskMod document() {
  const Buffer doc = buffer("doc", DType::i32);
  return mask_mod([=](Index, Index, Index q, Index kv) { return doc[q] == doc[kv]; });
}

MaskMod neighborhood(const Expr& width, const Expr& radius) {
  return mask_mod([=](Index, Index, Index q, Index kv) {
    const Point query = on_grid(q, width);
    const Point key = on_grid(kv, width);
    return abs(query.row - key.row) < radius && abs(query.column - key.column) < radius;
  });
}

MaskMod neighborhood_clamped(const Expr& height, const Expr& width, const Expr& radius) {
  return mask_mod([=](Index, Index, Index q, Index kv) {
    const Point query = on_grid(q, width);
    const Point key = on_grid(kv, width);
    return in_clamped_window(query.row, key.row, height, radius) &&
           in_clamped_window(query.column, key.column, width, radius);
  });
}

MaskMod global_or_window(const Expr& window) {
  const Buffer global = buffer("global", DType::boolean);
  return mask_mod([=](Index, Index, Index q, Index kv) { return abs(q - kv) <= window || global[q] || global[kv]; });
}

MaskMod padding() {
  const Buffer length = buffer("length", DType::i32);
  return mask_mod([=](Index b, Index, Index, Index kv) { return kv < length[b]; });
}

MaskMod window_per_head() {
  const Buffer window = buffer("window", DType::i32);
  return mask_mod([=](Index, Index h, Index q, Index kv) { return q >= kv && q - kv < window[h]; });
}

MaskMod odd_keys_only() {
  return mask_mod([](Index, Index, Index, Index kv) { return kv % 2 == 1; });
}

MaskMod checkerboard() {
  return mask_mod([](Index, Index, Index q, Index kv) { return (q + kv) % 2 == 0; });
}

MaskMod nothing() {
  return mask_mod([](Index, Index, Index, Index) { return false; });
}

MaskMod everything() {
  return mask_mod([](Index, Index, Index, Index) { return true; });
}

}  // namespace attnc::stock
