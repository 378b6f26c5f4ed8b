// SPDX-License-Identifier: Apache-2.0
// ALiBi: a bias that falls with distance, at a slope of its own for each head. The slopes are a captured table, and the
// mod is written in the text form, as a configuration file or another language would give it.
#include <attnc/attnc.h>

#include "support.h"

using namespace attnc;

int main() {
  return example::run([] {
    constexpr int H = 8, S = 384;
    example::Array<float> slopes(H);
    for (int h = 0; h < H; ++h) slopes[h] = std::exp2(-8.0f * (h + 1) / H);

    Captures captures;
    captures.buffers.push_back({.name = "slope", .dtype = DType::f32, .rank = 1});
    const Attention attention({.score_mod = score_mod("score + slope[h] * (kv_idx - q_idx)", captures),
                               .mask_mod = mask_mod("q_idx >= kv_idx"),
                               .dtype = DType::f32,
                               .head_dim = 64,
                               .device = example::device()});

    example::Tensor q = example::random(2, H, S, 64, 1);
    example::Tensor k = example::random(2, H, S, 64, 2);
    example::Tensor v = example::random(2, H, S, 64, 3);
    example::Tensor out(2, H, S, 64);
    const BufferValue buffers[] = {{"slope", {slopes.data(), DType::f32, {H}}}};
    attention.forward(q.view(), k.view(), v.view(), out.view(), {.buffers = buffers});

    const double difference = example::difference_to_loop(
        q, k, v, out, [&](float s, int, int h, int i, int j) { return s + slopes[h] * static_cast<float>(j - i); },
        [](int, int, int i, int j) { return i >= j; });
    return example::verdict("alibi_table", difference);
  });
}
