// SPDX-License-Identifier: Apache-2.0
// Two-dimensional neighborhood attention: the tokens are the patches of a W x W image in row-major order, and a patch
// sees those fewer than `radius` rows and columns away. Integer / and % round down, so they are the row and the column.
#include <attnc/attnc.h>

#include "support.h"

using namespace attnc;

int main() {
  return example::run([] {
    constexpr int W = 32, radius = 4, S = W * W;
    const MaskMod near = mask_mod(
        [](Index, Index, Index q, Index kv) { return abs(q / W - kv / W) < radius && abs(q % W - kv % W) < radius; });
    const Attention attention({.mask_mod = near, .dtype = DType::f32, .head_dim = 32, .device = example::device()});
    const BlockMask blocks = BlockMask::create(near, 1, 1, S, S, {.block_size = {32, 32}, .device = example::device()});
    std::printf("%s%.1f%% of the blocks are skipped; %lld were decided without looking at their elements\n",
                blocks.to_string().c_str(), blocks.sparsity(),
                static_cast<long long>(blocks.stats().proved_empty + blocks.stats().proved_full));

    example::Tensor q = example::random(1, 3, S, 32, 1);
    example::Tensor k = example::random(1, 3, S, 32, 2);
    example::Tensor v = example::random(1, 3, S, 32, 3);
    example::Tensor out(1, 3, S, 32);
    attention.forward(q.view(), k.view(), v.view(), out.view(), {.block_mask = &blocks});

    const double difference = example::difference_to_loop(
        q, k, v, out, [](float s, int, int, int, int) { return s; },
        [](int, int, int i, int j) { return std::abs(i / W - j / W) < radius && std::abs(i % W - j % W) < radius; });
    return example::verdict("neighborhood", difference);
  });
}
