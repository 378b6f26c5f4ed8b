// SPDX-License-Identifier: Apache-2.0
// The text that is compiled: includes, Mods, Plan, and the instantiation of one template.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/cuda/mods.h"
#include "compiler/plan/tile_plan.h"

namespace attnc::cuda {

/// The kernel's entry points, as extern "C" names.
inline constexpr std::string_view forward_entry = "attnc_forward";
/// Merges the partial results of split keys; only in the sm80 family.
inline constexpr std::string_view combine_entry = "attnc_combine";
/// Threads of its blocks where groups are packed (a block a row); generated text asserts that the template agrees.
inline constexpr int combine_group_threads = 256;

/// One translation unit for NVRTC.
std::string stitch(const PrintedMods& mods, const plan::TilePlan& plan);

/// `struct Plan { ... };` as the family's kernel wants it.
std::string print_plan_struct(const plan::TilePlan& plan);

/// The templates a plan's kernel needs, transitively, by name; sorted.
std::vector<std::string_view> template_closure(const plan::TilePlan& plan);
/// A checksum over the names and texts of template_closure, as hexadecimal digits.
std::string templates_digest(const plan::TilePlan& plan);

}  // namespace attnc::cuda
