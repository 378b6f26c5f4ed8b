// SPDX-License-Identifier: Apache-2.0
// A causal sliding window. The block mask made from it lets the kernel skip every block outside the window, so the work
// grows with S * window and no longer with S * S; inside, the mask itself decides.
#include <attnc/attnc.h>

#include <chrono>

#include "support.h"

using namespace attnc;

int main() {
  return example::run([] {
    constexpr int S = 2048, window = 256;
    const MaskMod mask = mask_mod([](Index, Index, Index q, Index kv) { return q >= kv && q - kv < window; });
    const Attention attention({.mask_mod = mask, .dtype = DType::f32, .head_dim = 64, .device = example::device()});
    const BlockMask blocks = BlockMask::create(mask, 1, 1, S, S, {.block_size = {64, 64}, .device = example::device()});

    example::Tensor q = example::random(1, 2, S, 64, 1);
    example::Tensor k = example::random(1, 2, S, 64, 2);
    example::Tensor v = example::random(1, 2, S, 64, 3);
    example::Tensor out(1, 2, S, 64);
    const Attention dense({.dtype = DType::f32, .head_dim = 64, .device = example::device()});

    const auto time_ms = [&](const Attention& variant, const BlockMask* block_mask) {
      double best_ms = INFINITY;
      for (int i = 0; i < 4; ++i) {  // the first also compiles
        const auto start = std::chrono::steady_clock::now();
        variant.forward(q.view(), k.view(), v.view(), out.view(), {.block_mask = block_mask});
        example::synchronize();
        const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
        best_ms = std::min(best_ms, time.count());
      }
      return best_ms;
    };
    const double dense_ms = time_ms(dense, nullptr);
    const double window_ms = time_ms(attention, &blocks);
    std::printf("%.1f%% of the blocks are skipped: %.2f ms, against %.2f ms for every key\n", blocks.sparsity(),
                window_ms, dense_ms);

    const double difference = example::difference_to_loop(
        q, k, v, out, [](float s, int, int, int, int) { return s; },
        [](int, int, int i, int j) { return i >= j && i - j < window; });
    return blocks.sparsity() > 80 ? example::verdict("sliding_window", difference) : 1;
  });
}
