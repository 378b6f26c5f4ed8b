// SPDX-License-Identifier: Apache-2.0
// The kernel cache: compiled binaries by canonical signature, in memory and on disk. docs/cache.md says what it
// survives.
//
// The rule of all rules: a problem of the cache is a miss, never an error. Whatever happens to the disk, the caller
// gets its kernel, compiled anew if need be.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/cache/digest.h"
#include "runtime/cache/signature_map.h"

namespace attnc {

namespace cache {
class System;
}

/// What a compile produces and the cache keeps. Both are opaque bytes to the cache.
struct BuiltKernel {
  std::string binary;  // cubin or object file, with whatever else is needed to launch it
  std::string source;  // the text it was compiled from, kept for people
};

struct CachedKernel {
  enum class Origin { built, disk };
  std::string binary;
  std::string source;
  Origin origin = Origin::built;  // whether this process compiled it or read it
};
using CachedKernelPtr = std::shared_ptr<const CachedKernel>;

/// Compiles a kernel. May throw; runs on the thread that asked. Must depend on the signature alone.
using BuildFunction = std::function<BuiltKernel()>;

struct KernelCacheOptions {
  /// Cache directory; empty: ATTNC_CACHE_DIR, else $XDG_CACHE_HOME/attnc, else $HOME/.cache/attnc, else ~/.cache/attnc
  /// by the password database, else memory only. Environment is read once, when the cache is constructed.
  std::string directory;
  bool memory_only = false;
  /// Bounds of the directory. Least recently used entries go first.
  uint64_t max_bytes = uint64_t{1} << 30;
  uint64_t max_entries = 4096;
  /// Trust a directory and entries that other users own or can write: they can then make this process run their code.
  /// Off: such a directory is refused, and everything is created with mode 0700 / 0600.
  bool shared = false;
  /// How long to wait for another process that is compiling the same kernel, before compiling privately.
  std::chrono::milliseconds compile_wait{30'000};
  /// Told about the first problem with the disk, once per cache; the library itself prints nothing. May be called on
  /// any thread that uses the cache. Exceptions are swallowed.
  std::function<void(std::string_view message)> on_warning;

  // For tests.
  std::function<cache::Digest128(std::string_view)> digest;  // names files; default XXH3-128
  std::shared_ptr<cache::System> system;                     // default: the real one
};

/// The disk directory, and what this process did with it.
struct CacheStats {
  std::string directory;  // "" if memory only
  std::string problem;    // why the directory could not be inspected; "" if it could, or does not exist yet
  uint64_t entries = 0;
  uint64_t bytes = 0;  // all files below, entries or not
  uint64_t temporaries = 0;
  uint64_t set_aside = 0;
  uint64_t max_entries = 0;
  uint64_t max_bytes = 0;
  // Of this KernelCache object:
  uint64_t in_memory = 0;  // kernels
  uint64_t disk_hits = 0;
  uint64_t builds = 0;
  uint64_t damaged = 0;  // entries found damaged
  uint64_t publish_failures = 0;
  uint64_t lock_timeouts = 0;
};

struct CacheVerified {
  std::string problem;
  uint64_t good = 0;
  uint64_t damaged = 0;  // set aside by the call
};

struct CacheRemoved {
  std::string problem;
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint64_t temporaries = 0;
};

/// A handle; copies share one cache. Thread-safe. Usable in a child after fork(), whatever the parent was doing. Two
/// copies of the library in one process, or several KernelCache objects on one directory, cooperate like two processes
/// do.
///
/// The memory level keeps every kernel that was asked for until clear(); it is not bounded by max_bytes.
class KernelCache {
 public:
  explicit KernelCache(KernelCacheOptions options = {});

  /// The kernel of `signature` if it is in memory, else null. Never waits, takes no lock, touches no disk.
  CachedKernelPtr find(std::string_view signature) const;

  /// The kernel of `signature` if it is in memory or on disk, else null. Builds nothing, takes no lock; one read from
  /// disk is not kept in memory.
  CachedKernelPtr load(std::string_view signature) const;

  /// The kernel of `signature`: from memory, from disk, or compiled by `build`. Never null. Across threads and
  /// processes that share a directory each signature is compiled once, as long as locks work there and nobody waits
  /// longer than `compile_wait`. The only exceptions are those of `build` (also thrown to all threads that waited for
  /// it, and not remembered), std::bad_alloc, and std::logic_error if `build` asks for the signature it is building.
  CachedKernelPtr get_or_build(std::string_view signature, const BuildFunction& build);

  /// To be called when the driver refuses a binary although its checksum is right: `rejected` is dropped from memory
  /// and disk, and the kernel compiled anew. Null if `rejected` was compiled by this process, so that compiling again
  /// cannot help: the driver's error is then the answer. Throws like get_or_build.
  CachedKernelPtr replace_rejected(std::string_view signature, const CachedKernelPtr& rejected,
                                   const BuildFunction& build);

  /// For people (`attnc cache stats|verify|prune|clear`). They report problems in the result and throw only bad_alloc.
  CacheStats stats() const;
  /// Reads every entry in full; sets aside what is damaged.
  CacheVerified verify();
  /// Sweeps leftovers and shrinks the directory to the limits of the options, or to the smaller ones given.
  CacheRemoved prune(uint64_t max_bytes = UINT64_MAX, uint64_t max_entries = UINT64_MAX);
  /// Empties directory and memory. Kernels that are held stay usable.
  CacheRemoved clear();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace attnc
