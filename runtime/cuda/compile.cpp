// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/compile.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>

#include "compiler/cuda/embedded_templates.h"
#include "dsl/error.h"
#include "dsl/format.h"
#include "runtime/cuda/nvtx.h"
#include "runtime/cuda/private_nvrtc.h"

namespace attnc::cuda {
namespace {

// nvrtcResult
constexpr nvrtcResult nvrtc_success = 0;
constexpr nvrtcResult nvrtc_out_of_memory = 1;
constexpr nvrtcResult nvrtc_compilation = 6;

/// A bare, fixed name: one with a directory would become a directory to search for includes.
constexpr const char* program_name = "attnc_forward.cu";

class Program {
 public:
  Program(const NvrtcApi& api, const std::string& source) : api_(api) {
    std::vector<const char*> texts, names;
    for (const EmbeddedTemplate& file : embedded_templates()) {
      names_.emplace_back(file.name);
      texts.push_back(file.text.data());
    }
    for (const std::string& name : names_) names.push_back(name.c_str());
    const nvrtcResult result = api.create_program(&program_, source.c_str(), program_name,
                                                  static_cast<int>(texts.size()), texts.data(), names.data());
    if (result != nvrtc_success) fail(result, "creating a program");
  }
  ~Program() { api_.destroy_program(&program_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  nvrtcResult compile(const std::vector<std::string>& options) {
    std::vector<const char*> texts;
    for (const std::string& option : options) texts.push_back(option.c_str());
    return api_.compile_program(program_, static_cast<int>(texts.size()), texts.data());
  }
  std::string log() { return text(api_.get_log_size, api_.get_log, true); }
  std::string cubin() { return text(api_.get_cubin_size, api_.get_cubin, false); }
  std::string ptx() { return text(api_.get_ptx_size, api_.get_ptx, true); }

  [[noreturn]] void fail(nvrtcResult result, std::string_view what) {
    if (result == nvrtc_out_of_memory)
      throw Error(ErrorCode::out_of_memory, "attnc: out of memory while compiling a kernel");
    throw Error(ErrorCode::internal,
                attnc::format("attnc: NVRTC failed while {}: {}", what, api_.get_error_string(result)));
  }

 private:
  template <class Size, class Get>
  std::string text(Size size, Get get, bool terminated) {
    std::size_t bytes = 0;
    if (size(program_, &bytes) != nvrtc_success || bytes == 0) return {};
    std::string result(bytes, '\0');
    if (get(program_, result.data()) != nvrtc_success) return {};
    if (terminated) result.resize(bytes - 1);
    return result;
  }

  const NvrtcApi& api_;
  nvrtcProgram program_ = nullptr;
  std::vector<std::string> names_;
};

template <class Visit>
void for_each_line(std::string_view text, Visit&& visit) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    visit(text.substr(at, end - at));
    at = end + 1;
  }
}

/// The number that stands before `unit`, as in "24 bytes stack frame".
int number_before(std::string_view line, std::string_view unit) {
  const std::size_t at = line.find(unit);
  if (at == std::string_view::npos || at == 0) return 0;
  std::size_t first = at;
  while (first > 0 && line[first - 1] >= '0' && line[first - 1] <= '9') --first;
  int value = 0;
  for (std::size_t i = first; i < at; ++i) value = value * 10 + (line[i] - '0');
  return value;
}

}  // namespace

std::vector<std::string> compile_options(const plan::Target& target) {
  std::vector<std::string> options = {"--gpu-architecture=" + target.name(), "--std=c++17",
                                      "--device-as-default-execution-space",
                                      // Registers and spills in the log; it does not change the code.
                                      "--ptxas-options=-v"};
  // NVRTC 13 keeps a cache of its own on disk, whose hits come without a log. attnc's does the job.
  if (nvrtc().major >= 13) options.push_back("--no-cache");
  return options;
}

CompiledSource compile(const std::string& source, const plan::Target& target, bool want_ptx) {
  const ProfileRange range("attnc compile");
  const NvrtcApi& api = private_nvrtc();
  if (!api.supported.empty() &&
      std::find(api.supported.begin(), api.supported.end(), target.arch) == api.supported.end()) {
    throw Error(ErrorCode::unsupported, attnc::format("attnc: NVRTC {} ({}) cannot compile for {}; install a newer one",
                                                      api.version_text(), api.path, target.name()));
  }
  const auto start = std::chrono::steady_clock::now();
  Program program(api, source);
  const nvrtcResult result = program.compile(compile_options(target));
  CompiledSource compiled;
  compiled.log = program.log();
  if (result == nvrtc_compilation) {
    throw Error(
        ErrorCode::internal,
        attnc::format("attnc: a generated kernel does not compile for {} with NVRTC {}. This is a bug of attnc; please "
                      "report it with the expression and this message (lines named \"mod\" are lines of `attnc explain "
                      "--emit ir`):\n{}",
                      target.name(), api.version_text(), compiled.log));
  }
  if (result != nvrtc_success) program.fail(result, "compiling a kernel");
  compiled.cubin = program.cubin();
  if (compiled.cubin.empty()) program.fail(result, "reading the cubin");
  if (want_ptx) compiled.ptx = program.ptx();
  compiled.usage = parse_usage(compiled.log);
  compiled.compile_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return compiled;
}

ResourceUsage CompiledSource::usage_of(std::string_view entry) const {
  for (const ResourceUsage& one : usage)
    if (one.entry == entry) return one;
  return {};
}

std::vector<ResourceUsage> parse_usage(std::string_view log) {
  std::vector<ResourceUsage> usage;
  for_each_line(log, [&](std::string_view line) {
    constexpr std::string_view compiling = "Compiling entry function '";
    if (const std::size_t at = line.find(compiling); at != std::string_view::npos) {
      const std::size_t first = at + compiling.size();
      usage.push_back({std::string(line.substr(first, line.find('\'', first) - first)), 0, 0, 0, 0, 0});
    }
    if (usage.empty()) return;
    ResourceUsage& current = usage.back();
    if (line.find("bytes stack frame") != std::string_view::npos) {
      current.stack_bytes = number_before(line, " bytes stack frame");
      current.spill_store_bytes = number_before(line, " bytes spill stores");
      current.spill_load_bytes = number_before(line, " bytes spill loads");
    }
    if (line.find("Used ") != std::string_view::npos) {
      current.registers = number_before(line, " registers");
      current.static_smem_bytes = number_before(line, " bytes smem");
    }
  });
  return usage;
}

std::vector<std::string> parse_warnings(std::string_view log) {
  std::vector<std::string> warnings;
  for_each_line(log, [&](std::string_view line) {
    const bool advisory = line.find("(C75") != std::string_view::npos ||
                          line.find("Potential Performance Loss") != std::string_view::npos;
    if (advisory || line.find("warning") != std::string_view::npos) warnings.emplace_back(line);
  });
  return warnings;
}

}  // namespace attnc::cuda
