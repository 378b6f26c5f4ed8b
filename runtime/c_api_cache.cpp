// SPDX-License-Identifier: Apache-2.0
// The C API over the kernel cache's directory.
#include <cstddef>
#include <cstdlib>
#include <memory>

#include "runtime/c_api_support.h"
#include "runtime/cache/kernel_cache.h"

namespace attnc::c_api {
namespace {

constexpr std::size_t kOldestStats = offsetof(attnc_cache_stats, max_bytes) + sizeof(uint64_t);

/// A cache object of its own on the directory: it cooperates with those of the backends as another process would.
KernelCache open_cache(const char* directory) {
  KernelCacheOptions options;
  if (directory != nullptr) options.directory = directory;
  return KernelCache(std::move(options));
}

/// For a person who asked for maintenance a problem of the directory is an answer; for a kernel it is only a miss.
void check(const std::string& problem) {
  if (!problem.empty()) throw Error(ErrorCode::io, "kernel cache: " + problem);
}

void store(uint64_t* out, uint64_t value) {
  if (out != nullptr) *out = value;
}

}  // namespace
}  // namespace attnc::c_api

using namespace attnc::c_api;

extern "C" {

attnc_status attnc_cache_get_stats(const char* cache_dir, attnc_cache_stats* out, char** directory,
                                   attnc_error** error) {
  return guarded(error, [&] {
    const attnc::CacheStats stats = open_cache(cache_dir).stats();
    check(stats.problem);
    attnc_cache_stats result{};
    result.entries = stats.entries;
    result.bytes = stats.bytes;
    result.temporaries = stats.temporaries;
    result.set_aside = stats.set_aside;
    result.max_entries = stats.max_entries;
    result.max_bytes = stats.max_bytes;
    std::unique_ptr<char, decltype(&std::free)> text(directory == nullptr ? nullptr : copy_text(stats.directory),
                                                     &std::free);
    write_struct(out, result, kOldestStats, "attnc_cache_stats");
    if (directory != nullptr) *directory = text.release();
  });
}

attnc_status attnc_cache_verify(const char* cache_dir, uint64_t* good, uint64_t* damaged, attnc_error** error) {
  return guarded(error, [&] {
    const attnc::CacheVerified verified = open_cache(cache_dir).verify();
    check(verified.problem);
    store(good, verified.good);
    store(damaged, verified.damaged);
  });
}

attnc_status attnc_cache_prune(const char* cache_dir, uint64_t max_bytes, uint64_t max_entries,
                               uint64_t* removed_entries, uint64_t* removed_bytes, attnc_error** error) {
  return guarded(error, [&] {
    const attnc::CacheRemoved removed = open_cache(cache_dir).prune(max_bytes, max_entries);
    check(removed.problem);
    store(removed_entries, removed.entries);
    store(removed_bytes, removed.bytes);
  });
}

attnc_status attnc_cache_clear(const char* cache_dir, uint64_t* removed_entries, uint64_t* removed_bytes,
                               attnc_error** error) {
  return guarded(error, [&] {
    const attnc::CacheRemoved removed = open_cache(cache_dir).clear();
    check(removed.problem);
    store(removed_entries, removed.entries);
    store(removed_bytes, removed.bytes);
  });
}

}  // extern "C"
