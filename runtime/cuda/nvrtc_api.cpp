// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/nvrtc_api.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>

#include "dsl/error.h"
#include "dsl/format.h"
#include "runtime/cuda/driver_api.h"

namespace attnc::cuda {
namespace {

struct Found {
  NvrtcApi api;
  std::string problem;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::vector<std::string> files_matching(const std::string& pattern) {
  std::vector<std::string> files;
  glob_t matches{};
  if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
    for (std::size_t i = 0; i < matches.gl_pathc; ++i) files.emplace_back(matches.gl_pathv[i]);
  }
  globfree(&matches);
  return files;
}

std::vector<std::string> patterns() {
  std::vector<std::string> all = {"/usr/local/cuda*/lib64/libnvrtc.so.*", "/usr/lib/x86_64-linux-gnu/libnvrtc.so.*",
                                  "/usr/lib/aarch64-linux-gnu/libnvrtc.so.*"};
  std::vector<std::string> prefixes = {"/usr/local", "/usr"};
  if (const std::string home = environment("HOME"); !home.empty()) prefixes.push_back(home + "/.local");
  if (const std::string venv = environment("VIRTUAL_ENV"); !venv.empty()) prefixes.push_back(venv);
  if (const std::string conda = environment("CONDA_PREFIX"); !conda.empty()) {
    prefixes.push_back(conda);
    all.push_back(conda + "/lib/libnvrtc.so.*");
  }
  for (const std::string& prefix : prefixes) {
    for (const char* packages : {"site-packages", "dist-packages"}) {
      for (const char* wheel : {"cu13", "cuda_nvrtc"}) {
        all.push_back(attnc::format("{}/lib/python3*/{}/nvidia/{}/lib/libnvrtc.so.*", prefix, packages, wheel));
      }
    }
  }
  return all;
}

/// The digits after ".so." as far as they are there: {13, 0, 88} or {12}.
std::vector<int> version_in_name(std::string_view path) {
  std::vector<int> parts;
  std::size_t at = path.rfind(".so.");
  if (at == std::string_view::npos) return parts;
  at += 4;
  int value = -1;
  for (; at <= path.size(); ++at) {
    if (at < path.size() && path[at] >= '0' && path[at] <= '9') {
      value = std::max(value, 0) * 10 + (path[at] - '0');
    } else {
      if (value >= 0) parts.push_back(value);
      value = -1;
    }
  }
  return parts;
}

std::vector<std::string> candidates() {
  // Names first, so that what the embedder already loaded, or put on the loader's path, takes part.
  std::vector<std::string> all = {"libnvrtc.so.14", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  std::set<std::string> seen;
  for (const std::string& pattern : patterns()) {
    for (const std::string& file : files_matching(pattern)) {
      char* real = realpath(file.c_str(), nullptr);
      const std::string path = real != nullptr ? real : file;
      std::free(real);
      // The second build of a version is for compiling (private_nvrtc.cpp), not for choosing a version.
      if (path.find(".alt.") != std::string::npos || !seen.insert(path).second) continue;
      all.push_back(path);
    }
  }
  return all;
}

/// Gives one back that is not wanted: a hundred megabytes of address space.
void unload(const NvrtcApi& api) { dlclose(api.handle); }

bool is_better(const NvrtcApi& x, const NvrtcApi& y) {
  return std::tuple(x.major, x.minor, !x.shared) > std::tuple(y.major, y.minor, !y.shared);
}

Found find_nvrtc() {
  Found found;
  if (const std::string named = environment("ATTNC_NVRTC"); !named.empty()) {
    if (auto api = load_nvrtc(named)) {
      api->shared = false;  // as the user wants it
      found.api = *std::move(api);
    } else {
      found.problem = attnc::format("attnc: ATTNC_NVRTC={} cannot be loaded as NVRTC 12 or newer", named);
    }
    return found;
  }
  const int driver_major = has_driver() ? driver().version / 1000 : 0;
  const std::vector<std::string> all = candidates();
  std::optional<NvrtcApi> best, too_new;
  for (const std::string& path : all) {
    const auto named = version_in_name(path);
    // Loading is slow (a hundred megabytes): pass over what its name already shows to be no better.
    if (best && !named.empty() && path.front() == '/') {
      if (named[0] < best->major) continue;
      if (named[0] == best->major && named.size() > 1 && named[1] < best->minor + (best->shared ? 0 : 1)) continue;
    }
    auto api = load_nvrtc(path);
    if (!api) continue;
    auto& rank = driver_major != 0 && api->major > driver_major ? too_new : best;
    if (!rank || is_better(*api, *rank)) std::swap(rank, api);
    if (api) unload(*api);
  }
  if (best) {
    found.api = *std::move(best);
  } else if (too_new) {
    found.problem = attnc::format(
        "attnc: the only NVRTC found is {} ({}), too new for the installed driver (CUDA {}). Update the "
        "driver, or install NVRTC {}",
        too_new->version_text(), too_new->path, driver_major, driver_major);
  } else {
    found.problem = attnc::format(
        "attnc: no NVRTC 12 or newer found. It is part of the CUDA toolkit, and of the Python wheel "
        "nvidia-cuda-nvrtc. Set ATTNC_NVRTC to the file libnvrtc.so.*, or put it on the loader's path. "
        "Looked for libnvrtc.so.* on the loader's path and in {}",
        attnc::join(patterns(), ", "));
  }
  return found;
}

}  // namespace

std::optional<NvrtcApi> load_nvrtc(const std::string& path) {
  NvrtcApi api;
  if (void* loaded = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) {
    api.shared = true;
    dlclose(loaded);
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::nullopt;
  api.handle = library;
  bool complete = true;
#define ATTNC_NVRTC_LOAD(member, symbol, arguments)                \
  *reinterpret_cast<void**>(&api.member) = dlsym(library, symbol); \
  complete = complete && api.member != nullptr;
  ATTNC_NVRTC_FUNCTIONS(ATTNC_NVRTC_LOAD)
#undef ATTNC_NVRTC_LOAD
  *reinterpret_cast<void**>(&api.get_error_string) = dlsym(library, "nvrtcGetErrorString");
  if (!complete || api.get_error_string == nullptr || api.version(&api.major, &api.minor) != 0 || api.major < 12) {
    dlclose(library);
    return std::nullopt;
  }
  int count = 0;
  if (api.get_arch_count(&count) == 0 && count > 0) {
    api.supported.resize(static_cast<std::size_t>(count));
    api.get_archs(api.supported.data());
  }
  Dl_info where{};
  api.path =
      dladdr(reinterpret_cast<void*>(api.version), &where) != 0 && where.dli_fname != nullptr ? where.dli_fname : path;
  return api;
}

std::string NvrtcApi::version_text() const { return attnc::format("{}.{}", major, minor); }

const NvrtcApi& nvrtc() {
  static const Found found = find_nvrtc();
  if (!found.problem.empty()) throw Error(ErrorCode::no_device, found.problem);
  return found.api;
}

}  // namespace attnc::cuda
