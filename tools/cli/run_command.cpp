// SPDX-License-Identifier: Apache-2.0
// attnc run: attention over tensors in a file.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "compiler/ir/lower.h"
#include "device_memory.h"
#include "dsl/format.h"
#include "dsl/text_source.h"
#include "mod_arguments.h"
#include "progress.h"
#include "runtime/attention.h"
#include "runtime/oracle/reference.h"
#include "runtime/validate.h"

namespace attnc::cli {
namespace {

struct RunArguments {
  ModArguments mods;
  std::string in, out, q = "q", k = "k", v = "v", device = "cpu", block_size, element_bits;
  std::optional<float> scale;
  std::optional<std::string> check;  ///< the number of rows, or ""
  bool lse = false, precise = false, timing = false, json = false;
};

constexpr int default_check_rows = 256;
/// --timing: repeats for about this long, at least and at most so often.
constexpr double timing_ms = 1000;
constexpr std::size_t least_runs = 5, most_runs = 200;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return attnc::format("[{}]", attnc::join(shape, ", "));
}

/// q, k and v as the header describes them: what can be refused before anything is read.
struct Inputs {
  DType dtype;
  std::vector<std::int64_t> q, k, v;
};

Inputs check_inputs(const SafetensorsFile& file, const RunArguments& arguments) {
  const auto dtype_of = [&](const char* option, const std::string& tensor) {
    const SafetensorsFile::Entry& entry = file.find(tensor, option);
    const DType dtype = file.dtype(tensor, option);
    const std::string what = attnc::format("{} {} of {}", option, text::in_quotes(tensor), file.path());
    if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16)
      refuse(attnc::format("{}: is {}; attention works on F32, F16 and BF16", what, entry.dtype));
    if (entry.shape.size() != 4)
      refuse(attnc::format("{}: has rank {} (shape {}); it must have rank 4: batch, heads, length, head dimension",
                           what, entry.shape.size(), shape_text(entry.shape)));
    return dtype;
  };
  const DType q_dtype = dtype_of("--q", arguments.q), k_dtype = dtype_of("--k", arguments.k);
  const DType v_dtype = dtype_of("--v", arguments.v);
  if (k_dtype != q_dtype || v_dtype != q_dtype)
    refuse(attnc::format("q, k and v are {}, {} and {}; they must have one dtype", name(q_dtype), name(k_dtype),
                         name(v_dtype)));
  const std::vector<std::int64_t>& q = file.find(arguments.q, "--q").shape;
  const std::vector<std::int64_t>& k = file.find(arguments.k, "--k").shape;
  const std::vector<std::int64_t>& v = file.find(arguments.v, "--v").shape;
  const auto disagree = [&](const char* rule) {
    refuse(attnc::format("q {}, k {} and v {} do not fit together: {}", shape_text(q), shape_text(k), shape_text(v),
                         rule));
  };
  if (k[0] != q[0] || v[0] != q[0]) disagree("their batches must be equal");
  if (v[1] != k[1]) disagree("k and v must have equally many heads");
  if (k[1] == 0 ? q[1] != 0 : q[1] % k[1] != 0) disagree("the heads of q must be a multiple of those of k and v");
  if (v[2] != k[2]) disagree("k and v must be equally long");
  if (k[3] != q[3]) disagree("q and k must have one head dimension");
  return {q_dtype, q, k, v};
}

/// What happened, for print_text and print_json.
struct Report {
  Inputs inputs;
  std::vector<std::int64_t> out_shape;
  BlockMask mask;
  double prepare_ms = 0, forward_ms = 0;
  std::vector<double> timed_ms;  ///< --timing: further runs, sorted
  struct Check {
    std::size_t rows = 0;
    oracle::Errors errors;
    std::string verdict;  ///< "" when the tolerance holds
  };
  std::optional<Check> check;
};

Report::Check check_result(const BoundMods& mods, const RunArguments& arguments, int rows, const HostTensor& q,
                           const HostTensor& k, const HostTensor& v, const HostTensor& out, const HostTensor* lse) {
  const Progress progress("checking against the fp64 reference");
  const ir::Program program = ir::lower(mods.score_mod, mods.mask_mod);
  const BoundMods::Values values = mods.all_values();
  oracle::ReferenceInputs inputs;
  inputs.q = q.view(), inputs.k = k.view(), inputs.v = v.view();
  inputs.scale = arguments.scale.value_or(1.0f / std::sqrt(static_cast<float>(q.shape()[3])));
  inputs.bindings = bind_captures(program, program, values.params, values.buffers, "the reference");
  const auto extent = [&](std::size_t d) { return static_cast<int>(q.shape()[d]); };
  const auto reference =
      oracle::reference_rows(program, inputs, oracle::choose_rows(extent(0), extent(1), extent(2), rows, 1));
  return {reference.size(), oracle::measure(reference, out.view()),
          oracle::judge(reference, out.view(), lse ? lse->view() : TensorView())};
}

double median(const std::vector<double>& sorted) { return sorted[sorted.size() / 2]; }

void print_json(const Report& report, const RunArguments& arguments) {
  nlohmann::ordered_json out = {
      {"in", arguments.in},
      {"out", arguments.out},
      {"device", arguments.device},
      {"dtype", name(report.inputs.dtype)},
      {"q_shape", report.inputs.q},
      {"k_shape", report.inputs.k},
      {"v_shape", report.inputs.v},
      {"out_shape", report.out_shape},
      {"lse", arguments.lse},
      {"prepare_ms", report.prepare_ms},
      {"forward_ms", report.forward_ms},
  };
  if (!report.timed_ms.empty()) {
    out["timing"] = {{"runs", report.timed_ms.size()},
                     {"median_ms", median(report.timed_ms)},
                     {"best_ms", report.timed_ms.front()},
                     {"worst_ms", report.timed_ms.back()}};
  }
  if (report.mask) {
    out["block_mask"] = {{"block_size", {report.mask.block_size().q, report.mask.block_size().kv}},
                         {"full_blocks", report.mask.full_blocks()},
                         {"partial_blocks", report.mask.partial_blocks()},
                         {"empty_blocks", report.mask.empty_blocks()},
                         {"sparsity", report.mask.sparsity()},
                         {"build_ms", report.mask.stats().build_ms}};
  }
  if (report.check) {
    out["check"] = {{"rows", report.check->rows},
                    {"passed", report.check->verdict.empty()},
                    {"mean_error", report.check->errors.mean},
                    {"max_error", report.check->errors.max},
                    {"plain_mean_error", report.check->errors.plain_mean},
                    {"plain_max_error", report.check->errors.plain_max}};
  }
  attnc::print(stdout, "{}\n", out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
}

void print_text(const Report& report, const RunArguments& arguments) {
  attnc::print(stdout, "inputs      q {}  k {}  v {}  {}\n", shape_text(report.inputs.q), shape_text(report.inputs.k),
               shape_text(report.inputs.v), name(report.inputs.dtype));
  if (!arguments.mods.score_mod.empty()) attnc::print(stdout, "score_mod   {}\n", arguments.mods.score_mod);
  if (!arguments.mods.mask_mod.empty()) attnc::print(stdout, "mask_mod    {}\n", arguments.mods.mask_mod);
  if (report.mask) {
    attnc::print(
        stdout, "block mask  {:.1f} % of blocks skipped ({} full, {} partial, {} empty, {} x {}), built in {:.2f} ms\n",
        report.mask.sparsity(), report.mask.full_blocks(), report.mask.partial_blocks(), report.mask.empty_blocks(),
        report.mask.block_size().q, report.mask.block_size().kv, report.mask.stats().build_ms);
  }
  attnc::print(stdout, "compiled    in {:.1f} ms\n", report.prepare_ms);
  attnc::print(stdout, "attention   in {:.2f} ms on {}\n", report.forward_ms, arguments.device);
  if (!report.timed_ms.empty()) {
    attnc::print(stdout, "timing      {:.3f} ms, the median of {} more runs (best {:.3f}, worst {:.3f})\n",
                 median(report.timed_ms), report.timed_ms.size(), report.timed_ms.front(), report.timed_ms.back());
  }
  if (report.check) {
    const oracle::Errors& errors = report.check->errors;
    attnc::print(
        stdout,
        "check       {} rows against fp64: error mean {:.2e}, max {:.2e} (plain {}: mean {:.2e}, max {:.2e}): {}\n",
        report.check->rows, errors.mean, errors.max, name(report.inputs.dtype), errors.plain_mean, errors.plain_max,
        report.check->verdict.empty() ? "good" : "FAILED");
  }
  attnc::print(
      stdout, "wrote       {}: out {} {}{}\n", arguments.out, shape_text(report.out_shape), name(report.inputs.dtype),
      arguments.lse
          ? attnc::format(", lse {} f32", shape_text({report.out_shape[0], report.out_shape[1], report.out_shape[2]}))
          : "");
}

/// 0: no check.
int parse_check_rows(const RunArguments& arguments) {
  if (!arguments.check) return 0;
  if (arguments.check->empty()) return default_check_rows;
  int rows = 0;
  const char* end = arguments.check->data() + arguments.check->size();
  const auto [stop, status] = std::from_chars(arguments.check->data(), end, rows);
  if (status != std::errc() || stop != end || rows < 1)
    refuse(attnc::format("--check {}: it is a number of rows, at least 1", text::in_quotes(*arguments.check)));
  return rows;
}

/// Tables worth having: with them attention skips what the mask drops. `values`: on the device.
BlockMask build_mask(const BoundMods& mods, const BoundMods::Values& values, const RunArguments& arguments,
                     const Inputs& inputs, Device device) {
  if (mods.mask_mod.is_everything() || arguments.block_size == "none") return {};
  for (const std::vector<std::int64_t>* shape : {&inputs.q, &inputs.k})
    for (const std::int64_t extent : *shape)
      if (extent == 0) return {};
  const BoundMods::Values mask_values = mods.for_mask(values);
  BlockMaskOptions options;
  if (!arguments.block_size.empty()) options.block_size = parse_block_size(arguments.block_size);
  options.device = device;
  options.element_bits = parse_element_bits(arguments.element_bits);
  options.params = mask_values.params;
  options.buffers = mask_values.buffers;
  const Progress progress("deciding blocks");
  return BlockMask::create(mods.mask_mod, mods.mask_reads(Input::b) ? static_cast<int>(inputs.q[0]) : 1,
                           mods.mask_reads(Input::h) ? static_cast<int>(inputs.q[1]) : 1, static_cast<int>(inputs.q[2]),
                           static_cast<int>(inputs.k[2]), options);
}

void run(const RunArguments& arguments) {
  // Everything that can be refused without work comes first.
  const Device device = parse_device(arguments.device);
  if (!arguments.block_size.empty() && arguments.block_size != "none") parse_block_size(arguments.block_size);
  parse_element_bits(arguments.element_bits);
  if (!arguments.element_bits.empty() && arguments.block_size == "none")
    refuse("--element-bits: with --block-size none there are no blocks to keep them of");
  const int check_rows = parse_check_rows(arguments);
  const SafetensorsFile in(arguments.in);
  Report report{check_inputs(in, arguments), {}, {}, 0, 0, {}, {}};
  const BoundMods mods(arguments.mods, &in);
  const OutputFile out_file("--out", arguments.out);
  const Inputs& inputs = report.inputs;

  AttentionOptions options;
  options.score_mod = mods.score_mod;
  options.mask_mod = mods.mask_mod;
  options.dtype = inputs.dtype;
  options.head_dim = static_cast<int>(std::min<std::int64_t>(inputs.q[3], INT32_MAX));
  options.head_dim_v = static_cast<int>(std::min<std::int64_t>(inputs.v[3], INT32_MAX));
  options.device = device;
  options.precise = arguments.precise;
  const Attention attention(options);
  std::optional<CudaMemory> cuda;
  if (device.kind == Device::Kind::cuda) cuda.emplace(device.index);

  const HostTensor q = in.read(arguments.q, "--q"), k = in.read(arguments.k, "--k"), v = in.read(arguments.v, "--v");
  report.out_shape = {inputs.q[0], inputs.q[1], inputs.q[2], inputs.v[3]};
  HostTensor out(inputs.dtype, report.out_shape);
  std::optional<HostTensor> lse;
  if (arguments.lse) lse.emplace(DType::f32, std::vector{inputs.q[0], inputs.q[1], inputs.q[2]});

  BoundMods::Values values = mods.all_values();
  const auto placed = [&](const HostTensor& tensor, bool copy) {
    return cuda ? cuda->place(tensor, copy) : tensor.view();
  };
  for (BufferValue& buffer : values.buffers)
    for (const auto& [name, tensor] : mods.tensors())
      if (name == buffer.name) buffer.view = placed(tensor, true);
  report.mask = build_mask(mods, values, arguments, inputs, device);
  const TensorView q_view = placed(q, true), k_view = placed(k, true), v_view = placed(v, true),
                   out_view = placed(out, false);
  ForwardOptions forward;
  if (lse) forward.lse = placed(*lse, false);
  forward.scale = arguments.scale;
  forward.params = values.params;
  forward.buffers = values.buffers;
  if (report.mask) forward.block_mask = &report.mask;
  {
    const Progress progress("compiling");
    const Stopwatch watch;
    attention.prepare();
    report.prepare_ms = watch.ms();
  }
  {
    const Progress progress("attending");
    const auto attend_ms = [&] {
      const Stopwatch watch;
      attention.forward(q_view, k_view, v_view, out_view, forward);
      if (cuda) cuda->synchronize();
      return watch.ms();
    };
    report.forward_ms = attend_ms();
    if (arguments.timing) {
      const Stopwatch watch;
      while (report.timed_ms.size() < least_runs || (watch.ms() < timing_ms && report.timed_ms.size() < most_runs))
        report.timed_ms.push_back(attend_ms());
      std::sort(report.timed_ms.begin(), report.timed_ms.end());
    }
  }
  if (cuda) {
    cuda->fetch(out_view, out);
    if (lse) cuda->fetch(forward.lse, *lse);
  }
  if (check_rows > 0 && out.view().elements() > 0 && inputs.k[2] > 0)
    report.check = check_result(mods, arguments, check_rows, q, k, v, out, lse ? &*lse : nullptr);

  std::vector<std::pair<std::string, const HostTensor*>> tensors{{"out", &out}};
  if (lse) tensors.emplace_back("lse", &*lse);
  std::map<std::string, std::string> metadata{{"made_by", std::string("attnc ") + ATTNC_VERSION}};
  if (!arguments.mods.score_mod.empty()) metadata["score_mod"] = arguments.mods.score_mod;
  if (!arguments.mods.mask_mod.empty()) metadata["mask_mod"] = arguments.mods.mask_mod;
  write_safetensors(out_file, tensors, metadata);
  arguments.json ? print_json(report, arguments) : print_text(report, arguments);
  if (report.check && !report.check->verdict.empty())
    throw Error(ErrorCode::internal, "the result is outside the tolerance: " + report.check->verdict);
}

Action declare(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  app.add_option("--in", arguments->in, "safetensors file to read")->required()->type_name("FILE");
  app.add_option("--out", arguments->out, "safetensors file to write: out, in the dtype of q (and lse)")
      ->required()
      ->type_name("FILE");
  app.add_option("--q", arguments->q, "Queries, [batch, heads, length, head dimension], F32, F16 or BF16")
      ->type_name("TENSOR")
      ->capture_default_str();
  app.add_option("--k", arguments->k, "Keys; their heads divide those of q")
      ->type_name("TENSOR")
      ->capture_default_str();
  app.add_option("--v", arguments->v, "Values")->type_name("TENSOR")->capture_default_str();
  declare_mods(app, arguments->mods, true);
  app.add_option("--scale", arguments->scale, "Factor of q . k; 1/sqrt(head dimension) if left out")->type_name("X");
  app.add_option("--block-size", arguments->block_size,
                 "Blocks that the mask may skip, 128x128 if left out; none: skip nothing")
      ->type_name("QxKV");
  app.add_option("--element-bits", arguments->element_bits,
                 "GPU: keep the mask of partial blocks as bits; auto (where it is dear to evaluate), always or never")
      ->type_name("WHEN");
  app.add_flag("--lse", arguments->lse,
               "Also write lse, the log of each row's sum of exponentials, f32 [batch, heads, length]");
  app.add_option("--device", arguments->device, "cpu or cuda[:N]")->type_name("DEVICE")->capture_default_str();
  app.add_flag("--precise", arguments->precise, "No approximate transcendental functions");
  app.add_option(
         "--check", arguments->check,
         attnc::format("Compare with the fp64 reference, {} rows if not said; outside the tolerance is status 1",
                       default_check_rows))
      ->expected(0, 1)
      ->default_str("")
      ->type_name("[ROWS]");
  app.add_flag("--timing", arguments->timing, "Run it again for about a second, and report the median time");
  app.add_flag("--json", arguments->json, "Print the report as JSON");
  return [arguments] { run(*arguments); };
}

}  // namespace

const Subcommand run_command = {
    "run", "Compile an attention and run it over tensors in a file",
    "Examples:\n"
    "  attnc run --in qkv.safetensors --out capped.safetensors --score-mod 'cap * tanh(score / cap)' --param cap=30.0\n"
    "  attnc run --in qkv.safetensors --out causal.safetensors --mask-mod 'q_idx >= kv_idx && q_idx - kv_idx < 1024' "
    "--lse\n"
    "  attnc run --in packed.safetensors --out docs.safetensors --mask-mod 'doc[q_idx] == doc[kv_idx]' --buffer doc\n"
    "  attnc run --in qkv.safetensors --out alibi.safetensors --score-mod 'score + slope[h] * (kv_idx - q_idx)' "
    "--buffer slope=alibi_slopes\n"
    "  attnc run --in layer.safetensors --q query --k key --v value --out result.safetensors --device cuda --check 256 "
    "--json",
    declare};

}  // namespace attnc::cli
