// SPDX-License-Identifier: Apache-2.0
// The program that builds a BlockMask's tables on a device: a `Mask` struct printed for one mask_mod, and the kernels
// of templates/block_mask over it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/cuda/extrema.h"
#include "compiler/cuda/params.h"
#include "compiler/ir/program.h"
#include "compiler/plan/target.h"

namespace attnc::cuda {

/// A program is compiled where it is first needed: a mask of few blocks is built by one kernel, and never asks for
/// those of a large one.
enum class MaskPurpose {
  small,  ///< all of a mask of few blocks, in one launch
  large,  ///< deciding the blocks of any mask
  bits,   ///< the elements of partial blocks as bits
};
/// Programs that do not depend on the mask.
enum class TablePurpose {
  extrema,           ///< of captured buffers
  extrema_of_lines,  ///< of captured buffers that are all of rank 1 and int32: less code
  small_lists,       ///< of a mask of few blocks
  lists,             ///< of any mask
};

/// Entry points. A mask of few blocks is built by small and small_lists, a large one by classify, decide, count, scan
/// and fill, in this order.
inline constexpr std::string_view mask_small_entry = "attnc_mask_small";
inline constexpr std::string_view mask_small_lists_entry = "attnc_mask_small_lists";
inline constexpr std::string_view mask_classify_entry = "attnc_mask_classify";
inline constexpr std::string_view mask_decide_entry = "attnc_mask_decide";
inline constexpr std::string_view mask_bits_entry = "attnc_mask_bits";
inline constexpr std::string_view mask_extrema_entry = "attnc_mask_extrema";
inline constexpr std::string_view mask_count_entry = "attnc_mask_count";
inline constexpr std::string_view mask_scan_entry = "attnc_mask_scan";
inline constexpr std::string_view mask_fill_entry = "attnc_mask_fill";

struct BlockMaskSource {
  ParamLayout layout;  ///< the program's captures, then the tables of extrema
  std::string text;    ///< for NVRTC
};

/// Elements per run of extrema that suit blocks of a size: the largest power of two up to 64 that divides both sides.
int extrema_granule(int q_block, int kv_block);

/// `program` is canonical. Its score is ignored. Throws Error(internal).
BlockMaskSource make_block_mask_source(const ir::Program& program, int granule, MaskPurpose purpose,
                                       bool canonical_names = false, bool line_directives = true);

/// Whether kernels had better read the mask's elements as bits than evaluate them: the mask is no run of keys in each
/// row, and costs more to evaluate than to unpack, or, if it captures buffers, than to make bits of again and again.
bool is_dear_to_evaluate(const ir::Program& program, const plan::Target& target);

/// The program that takes the extremes of what a mask of `program` captures.
TablePurpose extrema_purpose(const ir::Program& program);

/// A program that is the same for every mask.
std::string make_block_table_source(TablePurpose purpose);

/// Everything that changes the binary, as text; see make_signature in kernel_source.h.
std::string make_block_table_signature(TablePurpose purpose, const plan::Target& target, std::string_view toolchain,
                                       const std::vector<std::string>& flags);
std::string make_block_mask_signature(const ir::Program& program, int granule, MaskPurpose purpose,
                                      const plan::Target& target, std::string_view toolchain,
                                      const std::vector<std::string>& flags);

}  // namespace attnc::cuda
