// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/kernel_cache.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>

#include "runtime/cache/disk_store.h"
#include "runtime/cache/system.h"

namespace attnc {

using cache::DiskStore;
using cache::RangeLock;
using cache::Status;

struct KernelCache::State {
  explicit State(KernelCacheOptions given);

  CachedKernelPtr load_or_build(std::string_view signature, const BuildFunction& build, const CachedKernel* rejected);
  CachedKernelPtr load(std::string_view signature, bool set_aside);
  CachedKernelPtr build(const BuildFunction& build);
  void publish(std::string_view signature, const CachedKernel& kernel);
  void warn(const std::string& problem);

  const KernelCacheOptions options;
  const std::shared_ptr<cache::System> system;
  std::optional<DiskStore> disk;  // nullopt: memory only
  SignatureMap<const CachedKernel> memory;

  std::atomic<bool> warned{false};
  std::atomic<uint64_t> disk_hits{0};
  std::atomic<uint64_t> builds{0};
  std::atomic<uint64_t> damaged{0};
  std::atomic<uint64_t> publish_failures{0};
  std::atomic<uint64_t> lock_timeouts{0};
};

KernelCache::State::State(KernelCacheOptions given)
    : options(std::move(given)), system(options.system ? options.system : std::make_shared<cache::System>()) {
  if (options.memory_only) return;
  disk.emplace(*system, options.directory, options.shared, cache::Limits{options.max_bytes, options.max_entries},
               options.digest ? options.digest : DiskStore::DigestFunction(cache::digest128));
}

void KernelCache::State::warn(const std::string& problem) {
  if (!options.on_warning || warned.exchange(true)) return;
  try {
    options.on_warning("attnc kernel cache: " + problem + "; kernels are compiled anew or kept in memory only");
  } catch (...) {  // a problem of the cache is never an error, and neither is one of its log
  }
}

// The life of a cold key: load, lock, load again (somebody may have built it while we waited), build, publish.
CachedKernelPtr KernelCache::State::load_or_build(std::string_view signature, const BuildFunction& build_function,
                                                  const CachedKernel* rejected) {
  if (!disk) return build(build_function);
  if (rejected == nullptr) {
    if (CachedKernelPtr kernel = load(signature, /*set_aside=*/false)) return kernel;
  }
  const RangeLock lock = disk->lock(signature, options.compile_wait);
  if (lock.outcome() == RangeLock::Outcome::busy) {
    ++lock_timeouts;
    warn("another process held the lock of a kernel for longer than the limit");
  }
  if (CachedKernelPtr kernel = load(signature, /*set_aside=*/true)) {
    if (rejected == nullptr || kernel->binary != rejected->binary) return kernel;
    const Status status = disk->remove(signature);
    if (!status.ok()) warn(status.message());
  }
  CachedKernelPtr kernel = build(build_function);
  publish(signature, *kernel);
  // Our own bytes, never a second look at the disk: on some file systems a renamed file takes a while to be visible.
  return kernel;
}

CachedKernelPtr KernelCache::State::load(std::string_view signature, bool set_aside) try {
  DiskStore::Loaded loaded = disk->load(signature, set_aside);
  // Deleted under our feet: a plain miss. If there is more to it, publish() will meet it, too.
  const bool vanished = loaded.problem.error == ENOENT || loaded.problem.error == ESTALE;
  if (!loaded.problem.ok() && !vanished) warn(loaded.problem.message());
  if (loaded.result == DiskStore::Loaded::Result::damaged && set_aside) {
    ++damaged;
    warn("a damaged entry was set aside in " + disk->path());
  }
  if (loaded.result != DiskStore::Loaded::Result::hit) return nullptr;
  ++disk_hits;
  return std::make_shared<const CachedKernel>(
      CachedKernel{std::move(loaded.entry.binary), std::move(loaded.entry.source), CachedKernel::Origin::disk});
} catch (const std::exception& problem) {
  warn(problem.what());
  return nullptr;
}

CachedKernelPtr KernelCache::State::build(const BuildFunction& build_function) {
  BuiltKernel built = build_function();
  ++builds;
  return std::make_shared<const CachedKernel>(
      CachedKernel{std::move(built.binary), std::move(built.source), CachedKernel::Origin::built});
}

void KernelCache::State::publish(std::string_view signature, const CachedKernel& kernel) try {
  const Status status = disk->publish(signature, kernel.binary, kernel.source);
  if (status.ok()) return;
  ++publish_failures;
  warn(status.message());
} catch (const std::exception& problem) {
  ++publish_failures;
  warn(problem.what());
}

KernelCache::KernelCache(KernelCacheOptions options) : state_(std::make_shared<State>(std::move(options))) {}

CachedKernelPtr KernelCache::find(std::string_view signature) const { return state_->memory.find(signature); }

CachedKernelPtr KernelCache::load(std::string_view signature) const {
  if (CachedKernelPtr kernel = state_->memory.find(signature)) return kernel;
  return state_->disk ? state_->load(signature, /*set_aside=*/false) : nullptr;
}

CachedKernelPtr KernelCache::get_or_build(std::string_view signature, const BuildFunction& build) {
  return state_->memory.get_or_make(signature, [&] { return state_->load_or_build(signature, build, nullptr); });
}

CachedKernelPtr KernelCache::replace_rejected(std::string_view signature, const CachedKernelPtr& rejected,
                                              const BuildFunction& build) {
  state_->memory.erase(signature, rejected);
  if (rejected->origin == CachedKernel::Origin::built) {
    // It may have been published: nobody else should stumble over it.
    if (state_->disk) state_->disk->remove(signature);
    return nullptr;
  }
  // Of several threads that were refused, the first replaces the kernel and the others get its replacement.
  return state_->memory.get_or_make(signature, [&] { return state_->load_or_build(signature, build, rejected.get()); });
}

CacheStats KernelCache::stats() const {
  CacheStats stats;
  stats.in_memory = state_->memory.size();
  stats.disk_hits = state_->disk_hits;
  stats.builds = state_->builds;
  stats.damaged = state_->damaged;
  stats.publish_failures = state_->publish_failures;
  stats.lock_timeouts = state_->lock_timeouts;
  if (!state_->disk) return stats;
  const DiskStore::Census census = state_->disk->census();
  if (!census.problem.ok() && census.problem.error != ENOENT) stats.problem = census.problem.message();
  stats.directory = state_->disk->path();
  stats.entries = census.entries;
  stats.bytes = census.bytes;
  stats.temporaries = census.temporaries;
  stats.set_aside = census.set_aside;
  stats.max_entries = state_->options.max_entries;
  stats.max_bytes = state_->options.max_bytes;
  return stats;
}

CacheVerified KernelCache::verify() {
  if (!state_->disk) return {};
  const DiskStore::Verified verified = state_->disk->verify();
  const bool problem = !verified.problem.ok() && verified.problem.error != ENOENT;
  return {problem ? verified.problem.message() : "", verified.good, verified.damaged};
}

namespace {

CacheRemoved report(const Status& status, const cache::Removed& removed) {
  const bool problem = !status.ok() && status.error != ENOENT;  // no directory: nothing to remove
  return {problem ? status.message() : "", removed.entries, removed.bytes, removed.temporaries};
}

}  // namespace

CacheRemoved KernelCache::prune(uint64_t max_bytes, uint64_t max_entries) {
  if (!state_->disk) return {};
  cache::Removed removed;
  const cache::Limits keep{std::min(max_bytes, state_->options.max_bytes),
                           std::min(max_entries, state_->options.max_entries)};
  const Status status = state_->disk->prune(keep, &removed);
  return report(status, removed);
}

CacheRemoved KernelCache::clear() {
  state_->memory.clear();
  if (!state_->disk) return {};
  cache::Removed removed;
  const Status status = state_->disk->clear(&removed);
  return report(status, removed);
}

}  // namespace attnc
