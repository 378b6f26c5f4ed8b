// SPDX-License-Identifier: Apache-2.0
// All that the compiler has to say about one kernel: its plan, its text, its name in the cache.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "compiler/cuda/params.h"
#include "compiler/cuda/source.h"
#include "compiler/plan/tile_plan.h"

namespace attnc::cuda {

/// What the kernel is for; nothing here is a shape, a stride or a scalar.
struct KernelRequest {
  DType dtype = DType::bf16;
  int head_dim_qk = 64;
  int head_dim_v = 64;
  bool precise = false;
  bool block_table = false;
  bool bit_mask = false;      ///< see plan::Problem; launches then pass ForwardArguments::mask_bits
  int kv_block = 128;         ///< see plan::Problem
  int vector_bytes = 16;      ///< see plan::Problem
  bool tensor_maps = true;    ///< see plan::Problem
  bool small_tiles = false;   ///< see plan::Problem
  bool packs_groups = false;  ///< see plan::Problem; only where why_no_groups() is empty
  plan::Target target;
  std::optional<plan::TilePlan> plan{};  ///< instead of the planner's own: one of plan::candidates
};

/// What the planner is asked for a request whose mods have these traits.
plan::Problem problem_of(const KernelRequest& request, const ModsTraits& mods);

struct KernelSource {
  plan::TilePlan plan;
  ModsTraits traits;
  ParamLayout layout;
  std::string text;  ///< for NVRTC; with the user's names
};

/// Why few queries of grouped heads are not packed for this request (without its packs_groups); empty if they can be.
std::string_view why_no_groups(const ir::Program& program, const KernelRequest& request);

/// `program` as VariantSpec holds it. Throws Error (unsupported, internal).
KernelSource make_kernel_source(const ir::Program& program, const KernelRequest& request, bool line_directives = true);

/// Canonical text of everything that changes the binary: schema, target, `toolchain` (NVRTC's version), `flags`, the
/// templates' digest, the plan and the mods. Equal meaning gives equal text; the user's names are not in it.
std::string make_signature(const ir::Program& program, const KernelRequest& request, std::string_view toolchain,
                           const std::vector<std::string>& flags);

}  // namespace attnc::cuda
