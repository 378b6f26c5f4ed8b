// SPDX-License-Identifier: Apache-2.0
// A kernel of a test's own, compiled from its text.
#pragma once

#include <string>

#include "runtime/cuda/compile.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/enqueue.h"

namespace attnc::testing {

/// The entry `name` of `source`, for device 0. Needs a current context (GpuScope) while it is made and unmade.
class TestKernel {
 public:
  TestKernel(const std::string& source, const std::string& name) {
    const cuda::CompiledSource compiled = cuda::compile(source, cuda::device_info(0).target);
    cuda::check(
        cuda::driver().library_load_data(&library_, compiled.cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "loading a test's kernel");
    cuda::CUkernel kernel = nullptr;
    cuda::check(cuda::driver().library_get_kernel(&kernel, library_, name.c_str()), "looking up a test's kernel");
    cuda::check(cuda::driver().kernel_get_function(&function_, kernel), "looking up a test's kernel");
  }
  ~TestKernel() { cuda::driver().library_unload(library_); }
  TestKernel(const TestKernel&) = delete;
  TestKernel& operator=(const TestKernel&) = delete;

  /// One block of 32 threads.
  void launch(cuda::CUstream stream, void** arguments = nullptr, bool overlaps = false) const {
    cuda::enqueue_kernel(function_, {1, 1, 32, 0}, overlaps, stream, arguments, "launching a test's kernel");
  }

 private:
  cuda::CUlibrary library_ = nullptr;
  cuda::CUfunction function_ = nullptr;
};

}  // namespace attnc::testing
