// SPDX-License-Identifier: Apache-2.0
// attnc doctor: what this machine and this build can do, and why not more.

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "command.h"
#include "dsl/format.h"
#include "progress.h"
#include "runtime/attention.h"
#include "runtime/cache/kernel_cache.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/nvrtc_api.h"
#include "runtime/cuda/nvtx.h"
#ifdef ATTNC_CPU
#include "compiler/cpu/plan.h"
namespace attnc::cpu {
std::string llvm_version();  // of compiler/cpu/codegen.h, whose LLVM headers stay in the compiler
}
#endif

namespace attnc::cli {
namespace {

/// One line of the report. `fine` is false for what limits the user.
struct Finding {
  std::string name;
  bool fine = true;
  std::string text;
  nlohmann::ordered_json details = nullptr;  ///< further fields of the JSON report
};

template <class Look>
Finding look_at(const std::string& name, Look&& look) {
  try {
    return {name, true, look(), nullptr};
  } catch (const Error& error) {
    return {name, false, error.what(), nullptr};
  }
}

std::string compiler_text() {
#ifdef __clang__
  return attnc::format("Clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return attnc::format("GCC {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

#ifdef ATTNC_CPU
std::string cpu_text() {
  const cpu::CpuTarget host = cpu::CpuTarget::host();
  std::string features;
  for (const char* feature : {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512bf16", "amx-bf16", "neon", "sve"})
    if (("," + host.features + ",").find(attnc::format(",+{},", feature)) != std::string::npos)
      features += attnc::format(" {}", feature);
  return attnc::format("{} ({}), vectors of {} bits,{} {} threads", host.cpu, host.triple, host.vector_bits,
                       features.empty() ? "" : features + ",", std::thread::hardware_concurrency());
}

/// Compiles and runs a small attention whose result is known: with equal keys, out is the mean of the kept values.
std::string try_cpu() {
  constexpr int length = 8, dim = 16;
  std::vector<float> q(length * dim, 0.5f), k(length * dim, 0.25f), v(length * dim), out(length * dim, NAN);
  for (int row = 0; row < length; ++row)
    for (int d = 0; d < dim; ++d) v[static_cast<std::size_t>(row * dim + d)] = static_cast<float>(row + d);
  const Stopwatch watch;
  AttentionOptions options;
  options.score_mod = score_mod("30 * tanh(score / 30)");
  options.mask_mod = mask_mod("q_idx >= kv_idx");
  options.head_dim = dim;
  const Attention attention(options);
  const auto view = [](std::vector<float>& values) {
    return TensorView(values.data(), DType::f32, {1, 1, length, dim});
  };
  attention.forward(view(q), view(k), view(v), view(out));
  const double ms = watch.ms();
  for (int row = 0; row < length; ++row)
    for (int d = 0; d < dim; ++d)
      if (!(std::fabs(out[static_cast<std::size_t>(row * dim + d)] - static_cast<float>(row) / 2 -
                      static_cast<float>(d)) < 1e-4f))
        throw Error(ErrorCode::internal,
                    attnc::format("a small attention gave {} in row {}, column {}, not {}",
                                  out[static_cast<std::size_t>(row * dim + d)], row, d, row / 2.0 + d));
  return attnc::format("compiled and ran a capped causal attention in {:.1f} ms, result right", ms);
}
#endif

Finding look_at_cuda() {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  Finding finding = look_at("cuda", [&] {
    const cuda::DriverApi& driver = cuda::driver();
    int count = 0;
    cuda::check(driver.device_get_count(&count), "counting devices");
    std::string text = attnc::format("driver for CUDA {}.{}, {} device{}", driver.version / 1000,
                                     driver.version % 1000 / 10, count, count == 1 ? "" : "s");
    for (int i = 0; i < count; ++i) {
      cuda::CUdevice device = 0;
      char name[128] = "";
      int major = 0, minor = 0;
      cuda::check(driver.device_get(&device, i), "opening a device");
      cuda::check(driver.device_get_name(name, sizeof name, device), "reading a device's name");
      cuda::check(driver.device_get_attribute(&major, cuda::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
                  "reading a device");
      cuda::check(driver.device_get_attribute(&minor, cuda::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
                  "reading a device");
      text += attnc::format("; cuda:{} {} (sm_{}{})", i, name, major, minor);
      devices.push_back({{"index", i}, {"name", name}, {"target", attnc::format("sm_{}{}", major, minor)}});
    }
    return text;
  });
  finding.details = {{"devices", std::move(devices)}};
  return finding;
}

std::string cache_text() {
  const CacheStats stats = KernelCache().stats();
  if (!stats.problem.empty()) throw Error(ErrorCode::io, stats.problem);
  return attnc::format("{}: {} kernels, {:.1f} of at most {:.0f} MiB", stats.directory, stats.entries,
                       static_cast<double>(stats.bytes) / (1 << 20), static_cast<double>(stats.max_bytes) / (1 << 20));
}

std::vector<Finding> examine() {
  std::vector<Finding> findings;
  findings.push_back({"attnc",
                      true,
                      attnc::format("{}, built with {}", ATTNC_VERSION, compiler_text()),
                      {{"version", ATTNC_VERSION}}});
#ifdef ATTNC_CPU
  findings.push_back(look_at("cpu", cpu_text));
  findings.push_back(look_at("llvm", [] { return cpu::llvm_version(); }));
  findings.push_back(look_at("cpu_backend", try_cpu));
#else
  findings.push_back({"cpu_backend", false, "not in this build (ATTNC_CPU=OFF)", nullptr});
#endif
  findings.push_back(look_at_cuda());
  findings.push_back(
      look_at("nvrtc", [] { return attnc::format("{} ({})", cuda::nvrtc().version_text(), cuda::nvrtc().path); }));
  findings.push_back({"nvtx", has_profile_ranges(),
                      has_profile_ranges() ? "in this build; ATTNC_NVTX=1 turns ranges for profilers on"
                                           : "not in this build (no nvtx3/nvToolsExt.h was found)",
                      nullptr});
  findings.push_back(look_at("kernel_cache", cache_text));
  return findings;
}

void run(bool json) {
  const std::vector<Finding> findings = examine();
  if (json) {
    nlohmann::ordered_json out;
    for (const Finding& finding : findings) {
      out[finding.name] = {{"ok", finding.fine}, {"text", finding.text}};
      if (finding.details.is_object()) out[finding.name].update(finding.details);
    }
    attnc::print(stdout, "{}\n", out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  for (const Finding& finding : findings)
    attnc::print(stdout, "{:<14}{}{}\n", finding.name, finding.fine ? "" : "no: ", finding.text);
}

Action declare(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "Print as JSON");
  return [json] { run(*json); };
}

}  // namespace

const Subcommand doctor_command = {"doctor", "Show what this machine and this build can do",
                                   "Examples:\n"
                                   "  attnc doctor\n"
                                   "  attnc doctor --json",
                                   declare};

}  // namespace attnc::cli
