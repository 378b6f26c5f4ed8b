// SPDX-License-Identifier: Apache-2.0
// attnc tune: measure the plans a kernel could have, and remember the best.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "command.h"
#include "compiler/ir/half.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "progress.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/kernel_store.h"
#include "runtime/cuda/nvrtc_api.h"
#include "runtime/cuda/tuned_plans.h"
#include "timed_problem.h"

namespace attnc::cli {
namespace {

namespace fs = std::filesystem;
using cuda::KernelChoice;
using cuda::KernelRequest;

struct TuneArguments {
  ProblemArguments problem;
  bool dry_run = false, json = false;
};

/// A candidate has to be faster than the planner's plan by this factor: differences below it come and go between runs.
constexpr double least_gain = 1.02;
constexpr int passes = 2;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

/// A folder that is gone when the object is.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = (fs::temp_directory_path() / "attnc-tune-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr)
      throw Error(ErrorCode::io, attnc::format("cannot make a temporary folder {}", path_));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string cache(std::size_t index) const { return attnc::format("{}/{}", path_, index); }

 private:
  std::string path_;
};

VariantSpec variant_of(const ProblemSpec& spec) {
  return {passes::canonicalize(ir::lower(spec.mods.score_mod, spec.mods.mask_mod)),
          spec.dtype,
          spec.head_dim,
          spec.head_dim_v,
          spec.precise,
          spec.device,
          {},
          {}};
}

/// The requests that a call may turn into: for the Hopper kernel, for what replaces it if the compiler loses its stack,
/// for the portable one, or for few queries of grouped heads.
std::vector<KernelRequest> requests_of(const VariantSpec& variant, const ProblemSpec& spec,
                                       const cuda::DeviceInfo& device) {
  KernelChoice choice;
  if (spec.block_size) {
    choice.block_table = true;
    choice.kv_block = std::min(spec.block_size->kv & -spec.block_size->kv, 128);
  }
  std::vector<KernelRequest> requests{cuda::make_request(variant, choice, device.target)};
  requests.push_back(requests[0]);
  requests[1].small_tiles = true;
  if (cuda::why_no_groups(variant.program, requests[0]).empty()) {
    requests.push_back(requests[0]);
    requests.back().packs_groups = true;
  }
  choice.tensor_maps = false;
  requests.push_back(cuda::make_request(variant, choice, device.target));
  return requests;
}

/// An Attention with a kernel cache of its own, which says what plan it runs.
struct Contender {
  plan::TilePlan plan;
  std::unique_ptr<Attention> attention;
  std::string loaded;   ///< "TilePlan(...)", with ", tuned" when it came from a record
  std::string problem;  ///< why it is out of the race; "" if it is not
  double median_ms = INFINITY;
};

std::unique_ptr<Attention> make_attention(const ProblemSpec& spec, const std::string& cache_dir, std::string* loaded) {
  AttentionOptions options = spec.options();
  options.cache_dir = cache_dir;
  const auto mutex = std::make_shared<std::mutex>();
  options.log = [mutex, loaded](std::string_view category, std::string_view message) {
    const std::lock_guard lock(*mutex);
    if (category == "plan") *loaded = message;
  };
  return std::make_unique<Attention>(options);
}

/// The largest difference between two results, over the largest value of the first.
double relative_difference(const HostTensor& a, const HostTensor& b) {
  const auto value = [](const HostTensor& tensor, std::size_t i) {
    if (tensor.dtype() == DType::f32) return reinterpret_cast<const float*>(tensor.bytes().data())[i];
    const std::uint16_t bits = reinterpret_cast<const std::uint16_t*>(tensor.bytes().data())[i];
    return tensor.dtype() == DType::f16 ? ir::f16_to_float(bits) : ir::bf16_to_float(bits);
  };
  float largest = 0, difference = 0;
  for (std::size_t i = 0; i < a.bytes().size() / size_bytes(a.dtype()); ++i) {
    const float x = value(a, i), y = value(b, i);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (!(std::fabs(x - y) <= difference)) difference = std::isnan(x - y) ? INFINITY : std::fabs(x - y);
    largest = std::max(largest, std::fabs(x));
  }
  return difference == 0 ? 0.0 : static_cast<double>(difference / largest);
}

/// Differences in the order of sums and in P's rounding; a kernel that is wrong is further off.
double tolerance(DType dtype) { return dtype == DType::f32 ? 1e-4 : dtype == DType::f16 ? 4e-3 : 3e-2; }

HostTensor result_of(TimedProblem& problem, const Attention& attention) {
  problem.forward(attention);
  const HostTensor& out = problem.fetch();
  HostTensor copy(out.dtype(), out.shape());
  std::copy(out.bytes().begin(), out.bytes().end(), copy.bytes().begin());
  return copy;
}

/// Compiles every contender's kernel, on several threads.
void compile_all(std::vector<Contender>& contenders, const TimedProblem& problem) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i; (i = next++) < contenders.size();) {
      try {
        problem.forward(*contenders[i].attention);
      } catch (const Error& error) {
        contenders[i].problem = error.what();
      }
    }
  };
  std::vector<std::thread> threads;
  const unsigned count = std::min(8u, std::max(1u, std::thread::hardware_concurrency()));
  for (unsigned i = 1; i < count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

struct Outcome {
  std::vector<Contender> contenders;  ///< the planner's first
  std::size_t winner = 0;
  bool remembered = false;
};

void print_json(const Outcome& outcome, const cuda::DeviceInfo& device) {
  nlohmann::ordered_json out = {{"device_name", device.name}, {"candidates", nlohmann::ordered_json::array()}};
  for (const Contender& contender : outcome.contenders) {
    nlohmann::ordered_json row = {{"plan", plan::print(contender.plan)}};
    if (contender.problem.empty())
      row["median_ms"] = contender.median_ms;
    else
      row["problem"] = contender.problem;
    out["candidates"].push_back(std::move(row));
  }
  out["winner"] = outcome.winner;
  out["gain"] = outcome.contenders[0].median_ms / outcome.contenders[outcome.winner].median_ms;
  out["remembered"] = outcome.remembered;
  attnc::print(stdout, "{}\n", out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
}

void print_text(const Outcome& outcome, const cuda::DeviceInfo& device) {
  attnc::print(stdout, "{}, {} candidates; the first is the planner's own\n\n", device.name, outcome.contenders.size());
  for (std::size_t i = 0; i < outcome.contenders.size(); ++i) {
    const Contender& contender = outcome.contenders[i];
    const char* mark = i == outcome.winner ? "*" : " ";
    if (contender.problem.empty())
      attnc::print(stdout, "{} {:>10.4f} ms {:>6.3f} x  {}\n", mark, contender.median_ms,
                   outcome.contenders[0].median_ms / contender.median_ms, plan::print(contender.plan));
    else
      attnc::print(stdout, "{} {:>24}  {}\n", mark, contender.problem.substr(0, contender.problem.find('\n')),
                   plan::print(contender.plan));
  }
  attnc::print(stdout, "\n{}\n",
               !outcome.remembered   ? "not remembered (--dry-run)"
               : outcome.winner == 0 ? "the planner's own plan stays: no other is faster by 2 %"
                                     : "remembered in the kernel cache: the next Attention of this variant on "
                                       "such a device uses it");
}

void run(const TuneArguments& arguments) {
  ProblemSpec spec(arguments.problem);
  const Attention checked(spec.options());
  if (spec.device.kind == Device::Kind::cpu)
    refuse(
        "tune: the CPU backend has one plan for a variant and a processor, so there is nothing to choose; give "
        "--device cuda");
  if (spec.lengths.size() != 1) refuse("tune: one pair of lengths at a time; give one --q-len and one --kv-len");
  const cuda::DeviceInfo device = cuda::device_info(spec.device.index);
  const CudaMemory context(spec.device.index);
  const VariantSpec variant = variant_of(spec);
  TimedProblem problem(spec, spec.lengths[0]);
  const TemporaryFolder folder;

  // Which of the requests this call is: the one whose plan it loads.
  Outcome outcome;
  std::vector<Contender>& contenders = outcome.contenders;
  std::string planned;
  const auto first = make_attention(spec, folder.cache(0), &planned);
  {
    const Progress progress("compiling the planner's own plan");
    problem.forward(*first);
    problem.synchronize();
  }
  std::optional<KernelRequest> request;
  for (const KernelRequest& possible : requests_of(variant, spec, device)) {
    const auto plans = cuda::candidates({variant.program, possible, device.name, device.multiprocessors});
    if (request || plan::print(plans[0]) != planned) continue;
    request = possible;
    for (const plan::TilePlan& plan : plans) contenders.push_back({plan, nullptr, "", "", INFINITY});
  }
  if (!request) throw Error(ErrorCode::internal, "tune: no request gives the plan that ran: " + planned);
  const cuda::TunedVariant tuned{variant.program, *request, device.name, device.multiprocessors};
  const std::string signature = cuda::make_signature(variant.program, *request, cuda::nvrtc().version_text(),
                                                     cuda::compile_options(request->target));
  // Each contender takes the path of any Attention with a tuned plan, in a cache of its own.
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    KernelCacheOptions options;
    options.directory = folder.cache(i + 1);
    cuda::remember_tuned_plan(options, tuned, signature, contenders[i].plan);
    contenders[i].attention = make_attention(spec, options.directory, &contenders[i].loaded);
  }
  {
    const Progress progress(attnc::format("compiling {} candidates", contenders.size()));
    compile_all(contenders, problem);
    problem.synchronize();
  }
  {
    const Progress progress("comparing their results");
    const HostTensor expected = result_of(problem, *first);
    for (Contender& contender : contenders) {
      if (!contender.problem.empty()) continue;
      if (contender.loaded != plan::print(contender.plan) + ", tuned") {
        contender.problem = "another kernel ran in its place (ATTNC_LOG=compile says why)";
        continue;
      }
      const double difference = relative_difference(expected, result_of(problem, *contender.attention));
      if (!(difference <= tolerance(spec.dtype)))
        contender.problem = attnc::format("results differ by {:.1e}", difference);
    }
  }
  {
    const Progress progress("timing");
    DeviceTimer timer(l2_bytes(device));
    for (int pass = 0; pass < passes; ++pass)  // forth and back, so that a clock that drifts meets all
      for (std::size_t i = 0; i < contenders.size(); ++i) {
        Contender& contender = contenders[pass % 2 == 0 ? i : contenders.size() - 1 - i];
        if (!contender.problem.empty()) continue;
        contender.median_ms = std::min(contender.median_ms,
                                       problem.time(*contender.attention, arguments.problem.repeats, &timer).median());
      }
  }
  for (std::size_t i = 1; i < contenders.size(); ++i)
    if (contenders[i].problem.empty() && contenders[i].median_ms < contenders[outcome.winner].median_ms)
      outcome.winner = i;
  if (contenders[outcome.winner].median_ms * least_gain > contenders[0].median_ms) outcome.winner = 0;

  if (!arguments.dry_run) {
    cuda::remember_tuned_plan({}, tuned, signature, contenders[outcome.winner].plan);
    // Once the way a user's program goes, which also puts the kernel into the cache.
    std::string loaded;
    const auto attention = make_attention(spec, "", &loaded);
    problem.forward(*attention);
    problem.synchronize();
    if (loaded != plan::print(contenders[outcome.winner].plan) + ", tuned")
      throw Error(ErrorCode::internal, "tune: the remembered plan was not found again");
    outcome.remembered = true;
  }
  arguments.json ? print_json(outcome, device) : print_text(outcome, device);
}

Action declare(CLI::App& app) {
  auto arguments = std::make_shared<TuneArguments>();
  arguments->problem.device = "cuda";
  arguments->problem.repeats.time_ms = 100;
  declare_problem(app, arguments->problem);
  app.add_option("--device", arguments->problem.device, "cuda[:N]; the CPU backend has nothing to tune")
      ->type_name("DEVICE")
      ->capture_default_str();
  app.add_flag("--dry-run", arguments->dry_run, "Measure, and remember nothing");
  app.add_flag("--json", arguments->json, "Print the report as JSON");
  return [arguments] { run(*arguments); };
}

}  // namespace

const Subcommand tune_command = {
    "tune", "Measure the plans a GPU kernel could have, and remember the best",
    "A plan is how a kernel is laid out: tiles, stages, warps (attnc explain --emit plan). The planner's choice is "
    "good for\n"
    "most variants; tune measures the others it knows, checks that their results agree, and writes the fastest to the\n"
    "kernel cache. From then on every Attention of this variant, dtype and head dimension on such a device uses it, "
    "for\n"
    "all calls of this kind (with a block table or without, few queries or many), so give the length that matters. "
    "attnc "
    "cache clear forgets it; so does any change of attnc, NVRTC "
    "or\n"
    "the expression. The CPU backend has no candidates.\n"
    "Examples:\n"
    "  attnc tune --b 2 --heads 16 --q-len 8192 --head-dim 128 --score-mod '30 * tanh(score / 30)'\n"
    "  attnc tune --q-len 4096 --mask-mod 'q_idx >= kv_idx' --dry-run\n"
    "  attnc tune --q-len 4096 --mask-mod 'doc[q_idx] == doc[kv_idx]' --buffer doc:i32/1 --block-size 128 --json\n"
    "  attnc bench --device cuda --b 2 --heads 16 --q-len 8192 --head-dim 128     # says which plan ran",
    declare};

}  // namespace attnc::cli
