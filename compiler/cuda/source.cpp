// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/source.h"

#include <cstdint>
#include <set>

#include "compiler/cuda/embedded_templates.h"
#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

using plan::KernelFamily;
using plan::TilePlan;

std::string_view root_template(const TilePlan& plan) {
  if (plan.family == KernelFamily::sm90) return "sm90/forward.cuh";
  return plan.packs_groups ? "sm80/group_forward.cuh" : "sm80/forward.cuh";
}

std::vector<std::string_view> roots(const TilePlan& plan) {
  std::vector<std::string_view> names{"mods_prelude.cuh", "contract.cuh", root_template(plan)};
  if (plan.family == KernelFamily::sm80) names.push_back("sm80/combine.cuh");
  return names;
}

const EmbeddedTemplate& find_template(std::string_view name) {
  for (const EmbeddedTemplate& file : embedded_templates())
    if (file.name == name) return file;
  throw Error(ErrorCode::internal, attnc::format("attnc: template {} is not embedded. Please report it.", name));
}

/// Names in `#include "..."` lines.
std::vector<std::string_view> includes_of(std::string_view text) {
  constexpr std::string_view directive = "#include \"";
  std::vector<std::string_view> names;
  for (std::size_t at = text.find(directive); at != std::string_view::npos; at = text.find(directive, at)) {
    at += directive.size();
    names.push_back(text.substr(at, text.find('"', at) - at));
  }
  return names;
}

std::string_view device_dtype(DType dtype) {
  return dtype == DType::f32 ? "DType::f32" : dtype == DType::f16 ? "DType::f16" : "DType::bf16";
}

std::string sm80_plan_struct(const TilePlan& plan) {
  return attnc::format(
      "struct Plan {{\n"
      "  static constexpr DType dtype = {};\n"
      "  static constexpr int head_dim_qk = {};\n"
      "  static constexpr int head_dim_v = {};\n"
      "  static constexpr int warps = {};\n"
      "  static constexpr int rows_per_warp = {};\n"
      "  static constexpr int tile_kv = {};\n"
      "  static constexpr int step_kv = {};\n"
      "  static constexpr int stages = {};\n"
      "  static constexpr int min_blocks = {};\n"
      "  static constexpr int vector_bytes = {};\n"
      "  static constexpr bool block_table = {};\n"
      "  static constexpr bool packs_groups = {};\n"
      "}};\n",
      device_dtype(plan.dtype), plan.head_dim_qk, plan.head_dim_v, plan.warps, plan.rows_per_warp, plan.tile_kv,
      plan.step_kv, plan.stages, plan.min_blocks, plan.vector_bytes, plan.block_table, plan.packs_groups);
}

std::string sm90_plan_struct(const TilePlan& plan) {
  const std::string_view source = plan.block_table ? "table" : plan.classify_tiles ? "classifier" : "dense";
  return attnc::format(
      "struct Plan {{\n"
      "  static constexpr bool is_bf16 = {};\n"
      "  static constexpr int head_dim_qk = {};\n"
      "  static constexpr int head_dim_v = {};\n"
      "  static constexpr int consumer_warpgroups = {};\n"
      "  static constexpr int tile_kv = {};\n"
      "  static constexpr int stages = {};\n"
      "  static constexpr int q_stages = {};\n"
      "  static constexpr int exp2_polynomial_eighths = {};\n"
      "  static constexpr bool speculative = {};\n"
      "  static constexpr bool ping_pong = {};\n"
      "  static constexpr int consumer_registers = {};\n"
      "  static constexpr int producer_registers = {};\n"
      "  static constexpr bool bit_mask = {};\n"
      "  static constexpr bool bias_product = {};\n"
      "  static constexpr sm90::TileSource source = sm90::TileSource::{};\n"
      "  static constexpr sm90::WorkOrder order = sm90::WorkOrder::{};\n"
      "}};\n",
      plan.dtype == DType::bf16, plan.head_dim_qk, plan.head_dim_v, plan.consumer_warpgroups, plan.tile_kv, plan.stages,
      plan.q_stages, plan.exp2_polynomial_eighths, plan.speculative, plan.ping_pong, plan.consumer_registers,
      plan.producer_registers, plan.bit_mask, plan.bias_product, source,
      plan.longest_first ? "last_q_first" : "first_q_first");
}

std::string entries(const TilePlan& plan) {
  if (plan.family == KernelFamily::sm80) {
    return attnc::format(
        "static_assert(attnc::sm80::Shape<attnc::mods::Plan, attnc::mods::Mods>::smem_bytes == {0},\n"
        "              \"the plan and the kernel disagree on shared memory\");\n\n"
        "extern \"C\" __global__ void __launch_bounds__({1}, {2}) {3}(\n"
        "    const __grid_constant__ attnc::ForwardArguments args, const __grid_constant__ attnc::mods::Mods::Params "
        "params) {{\n"
        "  attnc::{5}<attnc::mods::Plan, attnc::mods::Mods>(args, params);\n}}\n\n"
        "extern \"C\" __global__ void {6}{4}(const __grid_constant__ attnc::ForwardArguments args) {{\n"
        "  attnc::{7}<attnc::mods::Plan>(args);\n}}\n{8}",
        plan.smem_bytes, plan.threads, plan.min_blocks, forward_entry, combine_entry,
        plan.packs_groups ? "forward_groups_sm80" : "forward_sm80",
        plan.packs_groups ? attnc::format("__launch_bounds__({}) ", combine_group_threads) : "",
        plan.packs_groups ? "combine_groups_sm80" : "combine_sm80",
        plan.packs_groups ? attnc::format("\nstatic_assert(attnc::combine_group_warps * 32 == {},\n"
                                          "              \"the launch and the kernel disagree on its blocks\");\n",
                                          combine_group_threads)
                          : "");
  }
  return attnc::format(
      "static_assert(attnc::sm90::SharedLayout<attnc::mods::Plan, attnc::mods::Mods>::launch_bytes == {0},\n"
      "              \"the plan and the kernel disagree on shared memory\");\n\n"
      "extern \"C\" __global__ void __launch_bounds__({1}, 1) {2}(\n"
      "    const __grid_constant__ attnc::sm90::TensorMaps maps, const __grid_constant__ attnc::ForwardArguments "
      "args,\n"
      "    const __grid_constant__ attnc::mods::Mods::Params params) {{\n"
      "  attnc::sm90::forward<attnc::mods::Plan, attnc::mods::Mods>(maps, args, params);\n}}\n",
      plan.smem_bytes, plan.threads, forward_entry);
}

std::string commented(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    result += attnc::format("//   {}\n", text.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

}  // namespace

std::string print_plan_struct(const TilePlan& plan) {
  return plan.family == KernelFamily::sm80 ? sm80_plan_struct(plan) : sm90_plan_struct(plan);
}

std::string stitch(const PrintedMods& mods, const TilePlan& plan) {
  std::string text =
      "// Generated by attnc; templates/contract.cuh says what each member means. The program, in kernel form:\n";
  text += commented(mods.program_text);
  for (const std::string_view root : roots(plan)) text += attnc::format("#include \"{}\"\n", root);
  text += attnc::format("\nnamespace attnc::mods {{\n\n{}\n", mods.text);
  text += "#line 1 \"plan\"\n";
  text += attnc::format("// {}\n{}\n}}  // namespace attnc::mods\n\n{}", print(plan), print_plan_struct(plan),
                        entries(plan));
  return text;
}

std::vector<std::string_view> template_closure(const TilePlan& plan) {
  std::set<std::string_view> seen;
  std::vector<std::string_view> open = roots(plan);
  while (!open.empty()) {
    const std::string_view name = open.back();
    open.pop_back();
    if (!seen.insert(name).second) continue;
    for (const std::string_view included : includes_of(find_template(name).text)) open.push_back(included);
  }
  return {seen.begin(), seen.end()};
}

std::string templates_digest(const TilePlan& plan) {
  // FNV-1a over 64 bits: it tells our own texts apart, it does not defend against anybody.
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&hash](std::string_view bytes) {
    for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    hash = (hash ^ 0xff) * 0x100000001b3u;  // separates the pieces
  };
  for (const std::string_view name : template_closure(plan)) {
    mix(name);
    mix(find_template(name).text);
  }
  return attnc::format("{:016x}", hash);
}

}  // namespace attnc::cuda
