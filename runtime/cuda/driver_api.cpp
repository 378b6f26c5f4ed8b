// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/driver_api.h"

#include <dlfcn.h>

#include <optional>
#include <string_view>

#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

/// What was found, or why nothing was.
struct Found {
  DriverApi api;
  std::string problem;  // "" when usable
};

Found find_driver() {
  Found found;
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    found.problem = attnc::format(
        "attnc: no NVIDIA driver on this machine (libcuda.so.1: {}). Use Device::cpu(), or install a driver",
        reason != nullptr ? reason : "not found");
    return found;
  }
  // An old driver lacks some symbols; its version says so better than their names do.
  *reinterpret_cast<void**>(&found.api.driver_get_version) = dlsym(library, "cuDriverGetVersion");
  if (found.api.driver_get_version == nullptr || found.api.driver_get_version(&found.api.version) != CUDA_SUCCESS) {
    found.problem = "attnc: libcuda.so.1 does not answer cuDriverGetVersion; reinstall the NVIDIA driver";
    return found;
  }
  if (found.api.version < oldest_driver_version) {
    found.problem = attnc::format(
        "attnc: the NVIDIA driver supports CUDA {}.{}; attnc needs one that supports CUDA {}.{} or newer. "
        "Update the driver",
        found.api.version / 1000, found.api.version % 1000 / 10, oldest_driver_version / 1000,
        oldest_driver_version % 1000 / 10);
    return found;
  }
  const char* missing = nullptr;
#define ATTNC_CUDA_LOAD(member, symbol, arguments)                       \
  *reinterpret_cast<void**>(&found.api.member) = dlsym(library, symbol); \
  if (found.api.member == nullptr && missing == nullptr) missing = symbol;
  ATTNC_CUDA_FUNCTIONS(ATTNC_CUDA_LOAD)
#undef ATTNC_CUDA_LOAD
  if (missing != nullptr) {
    found.problem = attnc::format("attnc: libcuda.so.1 has no {}; update the NVIDIA driver", missing);
    return found;
  }
  const CUresult result = found.api.init(0);
  int devices = 0;
  if (result == CUDA_SUCCESS) found.api.device_get_count(&devices);
  if (result == CUDA_ERROR_NO_DEVICE || (result == CUDA_SUCCESS && devices == 0)) {
    found.problem = "attnc: the NVIDIA driver finds no device (check nvidia-smi and CUDA_VISIBLE_DEVICES)";
  } else if (result != CUDA_SUCCESS) {
    const char* name = nullptr;
    found.api.get_error_name(result, &name);
    found.problem =
        attnc::format("attnc: cuInit failed with {} (check nvidia-smi)", name != nullptr ? name : "an unknown error");
  }
  return found;
}

const Found& the_driver() {
  static const Found found = find_driver();
  return found;
}

}  // namespace

const DriverApi& driver() {
  const Found& found = the_driver();
  if (!found.problem.empty()) throw Error(ErrorCode::no_device, found.problem);
  return found.api;
}

bool has_driver() noexcept {
  try {
    return the_driver().problem.empty();
  } catch (...) {
    return false;
  }
}

std::string describe(CUresult result) {
  const char* name = nullptr;
  const char* text = nullptr;
  const DriverApi& api = driver();
  api.get_error_name(result, &name);
  api.get_error_string(result, &text);
  return attnc::format("{} ({})", name != nullptr ? name : attnc::format("error {}", result).c_str(),
                       text != nullptr ? text : "no description");
}

void check(CUresult result, std::string_view what) {
  if (result == CUDA_SUCCESS) return;
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    throw Error(ErrorCode::out_of_memory, attnc::format("attnc: out of device memory while {}", what));
  }
  throw Error(ErrorCode::internal, attnc::format("attnc: the driver failed while {}: {}", what, describe(result)));
}

}  // namespace attnc::cuda
