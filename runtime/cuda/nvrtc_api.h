// SPDX-License-Identifier: Apache-2.0
// NVRTC, found at run time. No NVIDIA header is needed to build attnc.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace attnc::cuda {

using nvrtcProgram = struct _nvrtcProgram*;
using nvrtcResult = int;

#define ATTNC_NVRTC_FUNCTIONS(X)                                                                                  \
  X(version, "nvrtcVersion", (int* major, int* minor))                                                            \
  X(create_program, "nvrtcCreateProgram",                                                                         \
    (nvrtcProgram * program, const char* source, const char* name, int header_count, const char* const* headers,  \
     const char* const* include_names))                                                                           \
  X(destroy_program, "nvrtcDestroyProgram", (nvrtcProgram * program))                                             \
  X(compile_program, "nvrtcCompileProgram", (nvrtcProgram program, int option_count, const char* const* options)) \
  X(get_log_size, "nvrtcGetProgramLogSize", (nvrtcProgram program, std::size_t * bytes))                          \
  X(get_log, "nvrtcGetProgramLog", (nvrtcProgram program, char* log))                                             \
  X(get_cubin_size, "nvrtcGetCUBINSize", (nvrtcProgram program, std::size_t * bytes))                             \
  X(get_cubin, "nvrtcGetCUBIN", (nvrtcProgram program, char* cubin))                                              \
  X(get_ptx_size, "nvrtcGetPTXSize", (nvrtcProgram program, std::size_t * bytes))                                 \
  X(get_ptx, "nvrtcGetPTX", (nvrtcProgram program, char* ptx))                                                    \
  X(get_arch_count, "nvrtcGetNumSupportedArchs", (int* count))                                                    \
  X(get_archs, "nvrtcGetSupportedArchs", (int* archs))

/// One loaded NVRTC. Immutable once made; stays loaded for the life of the process.
struct NvrtcApi {
#define ATTNC_NVRTC_DECLARE(member, symbol, arguments) nvrtcResult(*member) arguments = nullptr;
  ATTNC_NVRTC_FUNCTIONS(ATTNC_NVRTC_DECLARE)
#undef ATTNC_NVRTC_DECLARE
  int major = 0, minor = 0;
  void* handle = nullptr;      ///< of dlopen
  bool shared = false;         ///< others in the process had loaded it before
  std::string path;            ///< as found
  std::vector<int> supported;  ///< architectures: 80, 86, ...
  const char* (*get_error_string)(nvrtcResult) = nullptr;

  /// "13.0"
  std::string version_text() const;
};

/// The NVRTC of this process, found once:
///   1. the file named by ATTNC_NVRTC, and nothing else, if that is set;
///   2. otherwise the newest of: libnvrtc.so.* by the loader's search path; /usr/local/cuda*/lib64;
///      /usr/lib/x86_64-linux-gnu and /usr/lib/aarch64-linux-gnu; $CONDA_PREFIX/lib; and the wheels nvidia/cu13 and
///      nvidia/cuda_nvrtc under the site-packages of $VIRTUAL_ENV, $CONDA_PREFIX, ~/.local, /usr/local and /usr.
///      Where there is a driver, an NVRTC of a newer major version than it supports is passed over, because the driver
///      would refuse its output. Of one version, a file that nobody else in the process has loaded comes first.
/// Throws Error(no_device) saying where it looked. Thread-safe. To compile with: private_nvrtc.h.
const NvrtcApi& nvrtc();

/// The NVRTC 12 or newer of a file, or of a name that the loader looks for; nothing if there is none.
std::optional<NvrtcApi> load_nvrtc(const std::string& path);

}  // namespace attnc::cuda
