// SPDX-License-Identifier: Apache-2.0
// One of two copies of the library in one process: a module with the cache linked in and hidden.
#include "tests/cache/cache_copy.h"

#include <chrono>
#include <string>
#include <thread>

#include "runtime/cache/kernel_cache.h"

extern "C" __attribute__((visibility("default"))) int attnc_cache_copy_get_or_build(const char* directory,
                                                                                    const char* signature,
                                                                                    std::atomic<int>* builds) {
  attnc::KernelCacheOptions options;
  options.directory = directory;
  attnc::KernelCache cache(options);
  const std::string binary = std::string("binary of ") + signature;
  const attnc::CachedKernelPtr kernel = cache.get_or_build(signature, [&] {
    ++*builds;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return attnc::BuiltKernel{binary, "source"};
  });
  return kernel->binary == binary;
}
