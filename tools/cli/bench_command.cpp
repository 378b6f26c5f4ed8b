// SPDX-License-Identifier: Apache-2.0
// attnc bench: how fast an attention runs, beside what the machine could do.

#include <cmath>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "command.h"
#include "dsl/format.h"
#include "progress.h"
#include "roof.h"
#include "timed_problem.h"

namespace attnc::cli {
namespace {

struct BenchArguments {
  ProblemArguments problem;
  bool no_roof = false, json = false;
};

/// One pair of lengths, measured.
struct Row {
  Lengths lengths;
  double first_ms = 0;  ///< the first forward: compiling or reading the cache, loading, running
  Times times{{0}};
  double dense_flop = 0, bytes = 0;
  KeptShare kept;
  std::string plan;                   ///< what ran, on a GPU
  nlohmann::ordered_json block_mask;  ///< its counts; null without one

  double tflops() const { return dense_flop / times.median() / 1e9; }
  double kept_tflops() const { return kept.share * tflops(); }
  double gbps() const { return bytes / times.median() / 1e6; }
};

struct Machine {
  std::string name;
  std::optional<cuda::DeviceInfo> cuda;
  std::optional<Roof> roof;
};

/// The last plan that the library said it loaded. Shared with a callback that may outlive the row.
struct PlanListener {
  std::mutex mutex;
  std::string text;
};

Row measure(ProblemSpec& spec, Lengths lengths, const Repeats& repeats, DeviceTimer* timer) {
  Row row;
  row.lengths = lengths;
  TimedProblem problem(spec, lengths);
  const auto listener = std::make_shared<PlanListener>();
  AttentionOptions options = spec.options();
  options.log = [listener](std::string_view category, std::string_view message) {
    if (category != "plan") return;
    const std::lock_guard lock(listener->mutex);
    listener->text = message;
  };
  const Attention attention(options);
  {
    const Progress progress("compiling");
    const Stopwatch watch;
    problem.forward(attention);
    problem.synchronize();
    row.first_ms = watch.ms();
  }
  {
    const Progress progress(attnc::format("timing {} x {}", lengths.q, lengths.kv));
    row.times = problem.time(attention, repeats, timer);
  }
  {
    const Progress progress("counting kept scores");
    row.kept = kept_share(spec, lengths);
  }
  row.dense_flop = problem.dense_flop();
  row.bytes = problem.bytes();
  if (const BlockMask& mask = problem.block_mask()) {
    row.block_mask = {{"block_size", {mask.block_size().q, mask.block_size().kv}},
                      {"sparsity", mask.sparsity()},
                      {"full_blocks", mask.full_blocks()},
                      {"partial_blocks", mask.partial_blocks()},
                      {"empty_blocks", mask.empty_blocks()},
                      {"build_ms", mask.stats().build_ms}};
  }
  const std::lock_guard lock(listener->mutex);
  row.plan = listener->text;
  return row;
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

nlohmann::ordered_json json_of(const Row& row, const Machine& machine) {
  nlohmann::ordered_json out = {
      {"q_len", row.lengths.q},
      {"kv_len", row.lengths.kv},
      {"first_ms", row.first_ms},
      {"median_ms", row.times.median()},
      {"p10_ms", row.times.percentile(10)},
      {"p90_ms", row.times.percentile(90)},
      {"best_ms", row.times.best()},
      {"runs", row.times.runs()},
      {"dense_flop", row.dense_flop},
      {"tflops", row.tflops()},
      {"kept_share", row.kept.share},
      {"kept_share_is_sampled", row.kept.sampled},
      {"kept_tflops", row.kept_tflops()},
      {"bytes", row.bytes},
      {"gbps", row.gbps()},
  };
  if (machine.roof) {
    out["roof_percent"] = percent(row.tflops(), machine.roof->tflops);
    out["kept_roof_percent"] = percent(row.kept_tflops(), machine.roof->tflops);
    if (machine.roof->copy_gbps > 0) out["copy_percent"] = percent(row.gbps(), machine.roof->copy_gbps);
  }
  if (!row.plan.empty()) out["plan"] = row.plan;
  if (!row.block_mask.is_null()) out["block_mask"] = row.block_mask;
  return out;
}

void print_json(const std::vector<Row>& rows, const Machine& machine, const ProblemSpec& spec,
                const BenchArguments& arguments) {
  nlohmann::ordered_json out = {
      {"attnc", ATTNC_VERSION},
      {"device", arguments.problem.device},
      {"device_name", machine.name},
      {"score_mod", arguments.problem.mods.score_mod},
      {"mask_mod", arguments.problem.mods.mask_mod},
      {"dtype", name(spec.dtype)},
      {"batch", spec.batch},
      {"heads", spec.heads},
      {"kv_heads", spec.kv_heads},
      {"head_dim", spec.head_dim},
      {"head_dim_v", spec.head_dim_v},
  };
  if (machine.cuda) out["target"] = machine.cuda->target.name();
  if (machine.roof) {
    out["roof"] = {{"what", machine.roof->what}, {"tflops", machine.roof->tflops}};
    if (machine.roof->copy_gbps > 0) out["roof"]["copy_gbps"] = machine.roof->copy_gbps;
  }
  out["rows"] = nlohmann::ordered_json::array();
  for (const Row& row : rows) out["rows"].push_back(json_of(row, machine));
  attnc::print(stdout, "{}\n", out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
}

void print_head(const Machine& machine, const ProblemSpec& spec, const BenchArguments& arguments) {
  attnc::print(stdout, "device      {}\n", machine.name);
  if (!arguments.problem.mods.score_mod.empty())
    attnc::print(stdout, "score_mod   {}\n", arguments.problem.mods.score_mod);
  if (!arguments.problem.mods.mask_mod.empty())
    attnc::print(stdout, "mask_mod    {}\n", arguments.problem.mods.mask_mod);
  attnc::print(stdout, "problem     {}, batch {}, heads {}{}, head dimension {}{}\n", name(spec.dtype), spec.batch,
               spec.heads, spec.kv_heads == spec.heads ? "" : attnc::format(" over {}", spec.kv_heads), spec.head_dim,
               spec.head_dim_v == spec.head_dim ? "" : attnc::format(" and {} of v", spec.head_dim_v));
  if (machine.roof) {
    attnc::print(stdout, "roof        {:.4g} TFLOP/s ({}){}\n", machine.roof->tflops, machine.roof->what,
                 machine.roof->copy_gbps > 0 ? attnc::format("; copying {:.0f} GB/s", machine.roof->copy_gbps) : "");
  }
  attnc::print(stdout, "\n{:>8} {:>8} {:>11} {:>22} {:>6} {:>9}{} {:>7} {:>9}{} {:>8} {:>10}\n", "q_len", "kv_len",
               "median ms", "p10 .. p90 ms", "runs", "TFLOP/s", machine.roof ? "  of roof" : "", "kept", "kept T/s",
               machine.roof ? "  of roof" : "", "GB/s", "first ms");
}

void print_row(const Row& row, const Machine& machine) {
  const auto of_roof = [&](double tflops) {
    return machine.roof ? attnc::format(" {:>6.1f} %", percent(tflops, machine.roof->tflops)) : "";
  };
  attnc::print(stdout, "{:>8} {:>8} {:>11.4f} {:>22} {:>6} {:>9.4g}{} {:>5.1f} % {:>8.4g}{} {:>8.0f} {:>10.1f}\n",
               row.lengths.q, row.lengths.kv, row.times.median(),
               attnc::format("{:.4f} .. {:.4f}", row.times.percentile(10), row.times.percentile(90)), row.times.runs(),
               row.tflops(), of_roof(row.tflops()), 100 * row.kept.share, row.kept_tflops(), of_roof(row.kept_tflops()),
               row.gbps(), row.first_ms);
  std::fflush(stdout);
}

Machine look_at_machine(const ProblemSpec& spec) {
  Machine machine;
  if (spec.device.kind == Device::Kind::cpu) {
    machine.name = attnc::format("cpu, {} threads", std::thread::hardware_concurrency());
    return machine;
  }
  machine.cuda = cuda::device_info(spec.device.index);
  machine.name = attnc::format("{} (cuda:{}, {}, {} multiprocessors)", machine.cuda->name, spec.device.index,
                               machine.cuda->target.name(), machine.cuda->multiprocessors);
  return machine;
}

void run(const BenchArguments& arguments) {
  ProblemSpec spec(arguments.problem);
  const Attention checked(spec.options());  // refuses what no kernel takes before anything is measured
  Machine machine = look_at_machine(spec);
  std::optional<CudaMemory> context;  // keeps the device's context current
  std::optional<DeviceTimer> timer;
  if (machine.cuda) {
    context.emplace(spec.device.index);
    timer.emplace(l2_bytes(*machine.cuda));
  }
  if (!arguments.no_roof) {
    const Progress progress("measuring what the machine can do");
    machine.roof = machine.cuda ? measure_device_roof(*machine.cuda, spec.dtype, *timer) : measure_host_roof();
  }
  std::vector<Row> rows;
  for (const Lengths& lengths : spec.lengths) {
    rows.push_back(measure(spec, lengths, arguments.problem.repeats, timer ? &*timer : nullptr));
    if (arguments.json) continue;
    if (rows.size() == 1) print_head(machine, spec, arguments);
    print_row(rows.back(), machine);
  }
  if (arguments.json) {
    print_json(rows, machine, spec, arguments);
  } else if (!rows.back().plan.empty()) {
    attnc::print(stdout, "\nplan        {}\n", rows.back().plan);
  }
}

Action declare(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  declare_problem(app, arguments->problem);
  app.add_option("--device", arguments->problem.device, "cpu or cuda[:N]")->type_name("DEVICE")->capture_default_str();
  app.add_flag("--no-roof", arguments->no_roof, "Do not measure what the machine could do");
  app.add_flag("--json", arguments->json, "Print the report as JSON");
  return [arguments] { run(*arguments); };
}

}  // namespace

const Subcommand bench_command = {
    "bench", "Time an attention, and set it against what the machine can do",
    "TFLOP/s counts 4 B H Sq Skv D whatever the mask drops; \"kept\" counts only the scores it keeps. The roof is "
    "measured\n"
    "in the same run: tensor cores at work on registers or shared memory (GPU), multiply-adds on all threads (CPU). On "
    "a\n"
    "GPU the L2 cache is flushed before each run. taskset -c 0-3 attnc bench ... limits the CPU's threads.\n"
    "Examples:\n"
    "  attnc bench --q-len 1024,4096\n"
    "  attnc bench --device cuda --b 2 --heads 16 --head-dim 128 --q-len 1024,8192 --score-mod '30 * tanh(score / "
    "30)'\n"
    "  attnc bench --mask-mod 'q_idx >= kv_idx' --q-len 2048 --block-size 128x128 --json\n"
    "  attnc bench --mask-mod 'doc[q_idx] == doc[kv_idx]' --buffer doc:i32/1 --q-len 4096 --block-size 128\n"
    "  attnc bench --score-mod 'score + bias[b, h, q_idx, kv_idx]' --buffer bias:f32/4 --repeats 20\n"
    "  attnc bench --device cuda --heads 32 --kv-heads 8 --head-dim 128 --b 32 --q-len 1 --kv-len 8192",
    declare};

}  // namespace attnc::cli
