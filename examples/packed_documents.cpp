// SPDX-License-Identifier: Apache-2.0
// Documents of different lengths, packed one after another into one sequence: a token sees the earlier tokens of its
// own document. The document ids are a captured buffer, so another packing runs the same kernel.
#include <attnc/attnc.h>

#include "support.h"

using namespace attnc;

int main() {
  return example::run([] {
    const int lengths[] = {300, 17, 1, 511, 195};
    example::Array<std::int32_t> ids;
    for (int document = 0; document < 5; ++document) ids.insert(ids.end(), lengths[document], document);
    const int S = static_cast<int>(ids.size());

    const Buffer doc = buffer("doc", DType::i32);
    const MaskMod same = mask_mod([=](Index, Index, Index q, Index kv) { return doc[q] == doc[kv] && q >= kv; });
    const Attention attention({.mask_mod = same, .dtype = DType::f32, .head_dim = 64, .device = example::device()});
    const BufferValue buffers[] = {{"doc", {ids.data(), DType::i32, {S}}}};

    const BlockMask blocks =
        BlockMask::create(same, 1, 1, S, S, {.block_size = {64, 64}, .device = example::device(), .buffers = buffers});
    std::printf("%d documents in %d tokens: %.1f%% of the blocks are skipped\n", 5, S, blocks.sparsity());

    example::Tensor q = example::random(1, 2, S, 64, 1);
    example::Tensor k = example::random(1, 2, S, 64, 2);
    example::Tensor v = example::random(1, 2, S, 64, 3);
    example::Tensor out(1, 2, S, 64);
    attention.forward(q.view(), k.view(), v.view(), out.view(), {.buffers = buffers, .block_mask = &blocks});

    const double difference = example::difference_to_loop(
        q, k, v, out, [](float s, int, int, int, int) { return s; },
        [&](int, int, int i, int j) { return ids[i] == ids[j] && i >= j; });
    return example::verdict("packed_documents", difference);
  });
}
