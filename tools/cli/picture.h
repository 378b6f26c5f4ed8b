// SPDX-License-Identifier: Apache-2.0
// A mask as a picture: rows of q downwards, keys to the right, blocks full, partial and empty in colours of their own.
#pragma once

#include <string>

#include "canvas.h"
#include "mod_arguments.h"
#include "runtime/block_mask.h"

namespace attnc::cli {

/// Draws one (b, h) of the tables. Inside partial blocks the mask itself is asked, a few elements a pixel, so that what
/// they keep shows. `title` and `remark` stand above, cut to fit. Works for any lengths: a pixel then stands for many
/// blocks.
Canvas draw_mask(const BlockMask& tables, const MaskMod& mask, const BoundMods::Values& values, int b, int h,
                 const std::string& title, const std::string& remark);

}  // namespace attnc::cli
