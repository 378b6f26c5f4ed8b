// SPDX-License-Identifier: Apache-2.0
// A BlockMask as text.

#include <algorithm>

#include "dsl/format.h"
#include "runtime/block_mask_state.h"

namespace attnc {

std::string BlockMask::to_string(int b, int h, int columns) const {
  const State& s = *state_;
  if (b < 0 || b >= s.batch)
    throw Error(ErrorCode::invalid_argument,
                attnc::format("BlockMask::to_string: b is {}; it must be 0 to {}", b, s.batch - 1));
  if (h < 0 || h >= s.heads)
    throw Error(ErrorCode::invalid_argument,
                attnc::format("BlockMask::to_string: h is {}; it must be 0 to {}", h, s.heads - 1));
  if (columns < 1)
    throw Error(ErrorCode::invalid_argument,
                attnc::format("BlockMask::to_string: columns is {}; it must be at least 1", columns));

  // A character stands for step x step blocks: full or empty if all of them are.
  const int step = std::max(1, (s.kv_blocks() + columns - 1) / columns);
  const int width = (s.kv_blocks() + step - 1) / step;
  std::string picture;
  for (int top = 0; top < s.q_blocks(); top += step) {
    const int bottom = std::min(top + step, s.q_blocks());
    std::vector<std::int64_t> full(static_cast<std::size_t>(width), 0), present(static_cast<std::size_t>(width), 0);
    for (int row = top; row < bottom; ++row)
      for (const BlockRun& run : s.rows().row(s.row_index(b, h, row)))
        for (int cell = run.first / step; cell * step < run.last; ++cell) {
          const std::int64_t covered = std::min(run.last, (cell + 1) * step) - std::max(run.first, cell * step);
          present[static_cast<std::size_t>(cell)] += covered;
          if (run.full) full[static_cast<std::size_t>(cell)] += covered;
        }
    for (int cell = 0; cell < width; ++cell) {
      const std::int64_t blocks =
          static_cast<std::int64_t>(std::min((cell + 1) * step, s.kv_blocks()) - cell * step) * (bottom - top);
      const auto i = static_cast<std::size_t>(cell);
      picture += full[i] == blocks ? "█" : present[i] > 0 ? "░" : " ";
    }
    picture += '\n';
  }
  return picture;
}

}  // namespace attnc
