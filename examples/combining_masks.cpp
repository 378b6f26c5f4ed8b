// SPDX-License-Identifier: Apache-2.0
// Masks are values: combine them with &, | and !. Here: a causal window, widened by a prefix that everybody sees, minus
// the keys past each sequence's end. The block masks of the parts show what each one saves.
#include <attnc/attnc.h>

#include "support.h"

using namespace attnc;

int main() {
  return example::run([] {
    constexpr int B = 2, S = 512, window = 96, prefix = 32;
    const int lengths[B] = {512, 201};

    const MaskMod recent = stock::sliding_window(window);
    const MaskMod start = mask_mod([](Index, Index, Index, Index kv) { return kv < prefix; });
    const MaskMod inside = mask_mod(
        [=](Index b, Index, Index, Index kv) { return kv < where(b == 0, Expr(lengths[0]), Expr(lengths[1])); });
    const MaskMod mask = (recent | start) & inside;

    const BlockMaskOptions options{.block_size = {32, 32}, .device = example::device()};
    const auto sparsity = [&](const MaskMod& m) { return BlockMask::create(m, B, 1, S, S, options).sparsity(); };
    const BlockMask blocks = BlockMask::create(mask, B, 1, S, S, options);
    std::printf("blocks skipped: window %.1f%%, with the prefix %.1f%%, without padding %.1f%%\n", sparsity(recent),
                sparsity(recent | start), blocks.sparsity());

    const Attention attention({.mask_mod = mask, .dtype = DType::f32, .head_dim = 64, .device = example::device()});
    example::Tensor q = example::random(B, 2, S, 64, 1);
    example::Tensor k = example::random(B, 2, S, 64, 2);
    example::Tensor v = example::random(B, 2, S, 64, 3);
    example::Tensor out(B, 2, S, 64);
    attention.forward(q.view(), k.view(), v.view(), out.view(), {.block_mask = &blocks});

    const double difference = example::difference_to_loop(
        q, k, v, out, [](float s, int, int, int, int) { return s; },
        [&](int b, int, int i, int j) { return ((i >= j && i - j < window) || j < prefix) && j < lengths[b]; });
    return example::verdict("combining_masks", difference);
  });
}
