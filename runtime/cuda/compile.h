// SPDX-License-Identifier: Apache-2.0
// From source text to a cubin, through NVRTC. Needs no GPU and no driver.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/plan/target.h"

namespace attnc::cuda {

/// What ptxas reports of one entry point.
struct ResourceUsage {
  std::string entry;
  int registers = 0;
  int stack_bytes = 0;
  int spill_store_bytes = 0;
  int spill_load_bytes = 0;
  int static_smem_bytes = 0;
};

struct CompiledSource {
  std::string cubin;
  std::string ptx;  ///< only if asked for
  std::string log;  ///< warnings and ptxas' report
  std::vector<ResourceUsage> usage;
  double compile_ms = 0;

  /// The entry's usage; zeros if the log does not speak of it.
  ResourceUsage usage_of(std::string_view entry) const;
};

/// The options a target is compiled with, the target itself included. Part of every signature.
std::vector<std::string> compile_options(const plan::Target& target);

/// Compiles one translation unit against the embedded templates. Thread-safe.
/// Throws Error(no_device) without NVRTC; Error(unsupported) if this NVRTC does not know the target;
/// Error(out_of_memory); and Error(internal) with the compiler's messages otherwise: the source is ours, so that is a
/// bug.
CompiledSource compile(const std::string& source, const plan::Target& target, bool want_ptx = false);

/// ptxas' lines in a log. Exposed for its test.
std::vector<ResourceUsage> parse_usage(std::string_view log);
/// Lines of a log that are warnings about performance or correctness of the generated code (ptxas C75xx among them).
std::vector<std::string> parse_warnings(std::string_view log);

}  // namespace attnc::cuda
