// SPDX-License-Identifier: Apache-2.0
// Deciding every block of a mask on the host. Internal: not installed.
#pragma once

#include <chrono>
#include <string>

#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"
#include "runtime/block_mask_exact.h"
#include "runtime/block_mask_state.h"

namespace attnc {

struct BlockMaskRequest {
  const ir::Program& program;  ///< canonicalized; its mask decides
  const ir::Bindings& bindings;
  int batch = 1, heads = 1, q_len = 0, kv_len = 0;
  BlockSize block_size;
  bool separate_full_blocks = true;
  std::string cache_dir{};  ///< for the compiled mask; as AttentionOptions
  /// Elements are interpreted until that has taken so long, over all threads; then the mask is compiled, where there is
  /// a compiler. A small mask never waits for one.
  std::chrono::nanoseconds interpret_for = std::chrono::milliseconds(20);
  MaskCompiler compiler = host_mask_compiler();  ///< may be null
};

/// Rows of runs for [batch, heads, q_blocks]. Rectangles of blocks are classified by interval analysis and split in two
/// while undecided; a single undecided block is evaluated element by element. In parallel over strips of rows.
BlockRows build_block_rows(const BlockMaskRequest& request, BlockMaskStats& stats);

}  // namespace attnc
