// SPDX-License-Identifier: Apache-2.0
// attnc explain: the stages of the compiler as text.

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "dsl/format.h"
#include "mod_arguments.h"
#include "runtime/attention.h"

namespace attnc::cli {
namespace {

struct ExplainArguments {
  ModArguments mods;
  std::string in, q = "q", v = "v", emit = "ir", target, device, dtype = "f32";
  int head_dim = 64;
  std::optional<int> head_dim_v;
  bool precise = false, json = false;
  // What run and mask take and explain has no use for.
  std::string ignored;
  bool ignored_flag = false;
};

bool is_cuda_stage(const std::string& stage) { return stage == "cuda" || stage == "ptx" || stage == "sass"; }

Device device_of(const ExplainArguments& arguments) {
  if (arguments.target == "cpu") return Device::cpu();
  if (arguments.target.rfind("sm_", 0) == 0) return Device::cuda();
  if (!arguments.target.empty()) {
    throw Error(ErrorCode::invalid_argument,
                attnc::format("--target '{}': targets are cpu and CUDA architectures, as in sm_90a or sm_80",
                              arguments.target));
  }
  if (!arguments.device.empty()) return parse_device(arguments.device);
  return is_cuda_stage(arguments.emit) ? Device::cuda() : Device::cpu();
}

void run(const ExplainArguments& arguments) {
  std::optional<SafetensorsFile> in;
  if (!arguments.in.empty()) in.emplace(arguments.in);
  const BoundMods mods(arguments.mods, in ? &*in : nullptr, true);
  AttentionOptions options;
  options.score_mod = mods.score_mod;
  options.mask_mod = mods.mask_mod;
  options.device = device_of(arguments);
  options.precise = arguments.precise;
  options.head_dim = arguments.head_dim;
  options.head_dim_v = arguments.head_dim_v.value_or(0);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    if (name(dtype) == arguments.dtype) options.dtype = dtype;
  if (in && in->entries().count(arguments.q) > 0) {  // as `run` would take it
    options.dtype = in->dtype(arguments.q, "--q");
    const auto& q = in->find(arguments.q, "--q").shape;
    if (!q.empty()) options.head_dim = static_cast<int>(std::min<std::int64_t>(q.back(), INT32_MAX));
    if (in->entries().count(arguments.v) > 0 && !arguments.head_dim_v) {
      const auto& v = in->find(arguments.v, "--v").shape;
      if (!v.empty()) options.head_dim_v = static_cast<int>(std::min<std::int64_t>(v.back(), INT32_MAX));
    }
  }
  // Only explicit targets are passed on: "" is the variant's own device.
  std::string target = arguments.target;
  if (target.empty() && arguments.device.empty() && is_cuda_stage(arguments.emit)) target = "sm_90a";
  const std::string text = Attention(options).explain(arguments.emit, target);
  if (arguments.json) {
    const nlohmann::ordered_json out = {{"emit", arguments.emit}, {"target", target}, {"text", text}};
    attnc::print(stdout, "{}\n", out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    attnc::print(stdout, "{}{}", text, text.empty() || text.back() == '\n' ? "" : "\n");
  }
}

Action declare(CLI::App& app) {
  auto arguments = std::make_shared<ExplainArguments>();
  declare_mods(app, arguments->mods, true);
  app.get_option("--buffer")
      ->description("A buffer, from the tensor of that name in --in, or declared: doc:i32, bias:f16/4 (rank 4)");
  app.get_option("--buffer")->type_name("NAME[=TENSOR|:DTYPE/RANK]");
  app.add_option("--emit", arguments->emit,
                 "ir: what was understood; placement: how often each value is computed; bounds: what intervals prove; "
                 "plan: tiles; "
                 "signature: what a kernel is cached by; cuda, ptx, sass, llvm: generated code")
      ->check(CLI::IsMember({"ir", "placement", "bounds", "plan", "signature", "cuda", "llvm", "ptx", "sass"}))
      ->type_name("STAGE")
      ->capture_default_str();
  app.add_option("--target", arguments->target, "cpu, sm_90a, sm_80, ...; needs no such device")->type_name("TARGET");
  app.add_option("--in", arguments->in, "safetensors file that gives dtype, head dimensions and buffers")
      ->type_name("FILE");
  app.add_option("--dtype", arguments->dtype, "Of q, k and v, without --in")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  app.add_option("--head-dim", arguments->head_dim, "Of q and k, without --in")->type_name("D")->capture_default_str();
  app.add_option("--head-dim-v", arguments->head_dim_v, "Of v; as --head-dim if left out")->type_name("D");
  app.add_flag("--precise", arguments->precise, "No approximate transcendental functions");
  app.add_flag("--json", arguments->json, "Print the text as a JSON string");
  app.add_option("--device", arguments->device, "As for run; --target names what has no device here")
      ->type_name("DEVICE");
  app.add_option("--q", arguments->q, "As for run")->type_name("TENSOR")->capture_default_str();
  app.add_option("--v", arguments->v, "As for run")->type_name("TENSOR")->capture_default_str();
  // So that "run" or "mask" of a command can be replaced by "explain". An empty group hides them from the help.
  for (const char* option : {"--out", "--k", "--scale", "--block-size", "--q-len", "--kv-len", "--batch", "--heads",
                             "--png", "--show-b", "--show-h"})
    app.add_option(option, arguments->ignored)->group("");
  app.add_option("--check", arguments->ignored)->expected(0, 1)->group("");
  app.add_flag("--lse", arguments->ignored_flag)->group("");
  app.add_flag("--timing", arguments->ignored_flag)->group("");
  return [arguments] { run(*arguments); };
}

}  // namespace

const Subcommand explain_command = {
    "explain", "Show what the compiler makes of an attention, stage by stage",
    "Examples:\n"
    "  attnc explain --score-mod '30 * tanh(score / 30)'\n"
    "  attnc explain --mask-mod 'abs(q_idx / 56 - kv_idx / 56) < 5' --emit placement\n"
    "  attnc explain --mask-mod 'doc[q_idx] == doc[kv_idx]' --buffer doc:i32 --emit bounds\n"
    "  attnc explain --score-mod 'score * 2' --dtype bf16 --head-dim 128 --emit cuda --target sm_90a\n"
    "  attnc explain --score-mod 'score * 2' --emit llvm --target cpu",
    declare};

}  // namespace attnc::cli
