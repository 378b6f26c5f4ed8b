// SPDX-License-Identifier: Apache-2.0
// Run-time values of the parameters and buffers a mod captures.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tensor.h"

namespace attnc {

/// What the library tells its embedder when asked: "compile" for compilations, "plan" for the layout of each CUDA
/// kernel it loads, "cache" for trouble with the kernel cache. Called from the thread that meets the event; must be
/// thread-safe and must not call back into the object it was given to.
using LogCallback = std::function<void(std::string_view category, std::string_view message)>;

/// Value of a run-time parameter. An integer value may bind a float parameter; not the reverse.
struct ParamValue {
  std::string name;
  double real = 0;
  std::int64_t integer = 0;
  bool is_integer = false;

  ParamValue(std::string n, double v) : name(std::move(n)), real(v) {}
  ParamValue(std::string n, float v) : name(std::move(n)), real(v) {}
  ParamValue(std::string n, int v) : name(std::move(n)), real(v), integer(v), is_integer(true) {}
  ParamValue(std::string n, long v) : name(std::move(n)), real(static_cast<double>(v)), integer(v), is_integer(true) {}
  ParamValue(std::string n, long long v)
      : name(std::move(n)), real(static_cast<double>(v)), integer(v), is_integer(true) {}
  ParamValue(std::string n, bool v) : name(std::move(n)), real(v), integer(v), is_integer(true) {}
};

/// Value of a captured buffer: a view of the declared dtype and rank, on the device that runs the work.
struct BufferValue {
  std::string name;
  TensorView view;
};

}  // namespace attnc
