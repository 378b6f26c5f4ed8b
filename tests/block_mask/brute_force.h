// SPDX-License-Identifier: Apache-2.0
// Every block of a mask decided by looking at every element: what BlockMask has to equal.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"
#include "runtime/block_mask.h"

namespace attnc::testing {

/// [B, H, q_blocks, kv_blocks] of 0 empty, 1 partial, 2 full.
inline std::vector<std::uint8_t> brute_force(const ir::Program& program, const ir::Bindings& bindings, int B, int H,
                                             int q_len, int kv_len, BlockSize size) {
  const int q_blocks = (q_len + size.q - 1) / size.q, kv_blocks = (kv_len + size.kv - 1) / size.kv;
  std::vector<std::uint8_t> dense;
  ir::Interpreter interpreter(program, bindings);
  ir::LaneContext context;
  context.q_len = q_len, context.kv_len = kv_len;
  std::vector<std::int32_t> q(static_cast<std::size_t>(kv_len)), kv(static_cast<std::size_t>(kv_len));
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(kv_len), 1);
  for (int k = 0; k < kv_len; ++k) kv[static_cast<std::size_t>(k)] = k;
  for (context.b = 0; context.b < B; ++context.b)
    for (context.h = 0; context.h < H; ++context.h)
      for (int i = 0; i < q_blocks; ++i) {
        std::vector<bool> kept(static_cast<std::size_t>(kv_blocks)), dropped(static_cast<std::size_t>(kv_blocks));
        for (int row = i * size.q; row < std::min((i + 1) * size.q, q_len); ++row) {
          std::fill(q.begin(), q.end(), row);
          if (kv_len > 0) interpreter.run(context, kv_len, q.data(), kv.data(), nullptr, nullptr, mask.data());
          for (int k = 0; k < kv_len; ++k)
            (mask[static_cast<std::size_t>(k)] ? kept : dropped)[static_cast<std::size_t>(k / size.kv)] = true;
        }
        for (std::size_t j = 0; j < static_cast<std::size_t>(kv_blocks); ++j)
          dense.push_back(!kept[j] ? 0 : dropped[j] ? 1 : 2);
      }
  return dense;
}

}  // namespace attnc::testing
