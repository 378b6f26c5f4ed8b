// SPDX-License-Identifier: Apache-2.0
// The cache on disk: one file an entry, named by the digest of its signature.
//
//   <cache directory>/v<schema>/<32 hexadecimal digits>              an entry (entry_format.h)
//                               <entry>.tmp.<16 hexadecimal digits>  an entry being written
//                               <entry>.bad                          an entry found damaged
//                               lock                                 byte-range locks, and the usage record
//
// Entries appear by rename only, complete and synced, so no reader ever sees half of one. Readers take no lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/cache/cache_directory.h"
#include "runtime/cache/digest.h"
#include "runtime/cache/entry_format.h"
#include "runtime/cache/inventory.h"
#include "runtime/cache/range_lock.h"
#include "runtime/cache/system.h"

namespace attnc::cache {

/// Thread-safe. No function throws except std::bad_alloc.
class DiskStore {
 public:
  using DigestFunction = std::function<Digest128(std::string_view)>;

  struct Loaded {
    enum class Result { hit, miss, damaged };
    Result result = Result::miss;
    DecodedEntry entry;  // if hit
    Status problem;      // why nothing could be read, if that is not simply a missing file
  };

  struct Census {
    Status problem;
    uint64_t entries = 0;
    uint64_t bytes = 0;
    uint64_t temporaries = 0;
    uint64_t set_aside = 0;
  };

  struct Verified {
    Status problem;
    uint64_t good = 0;
    uint64_t damaged = 0;  // set aside by the call
  };

  DiskStore(System& system, const std::string& directory, bool shared, Limits limits, DigestFunction digest);

  std::string path() const { return directory_.path(); }

  /// Reads and checks the entry; refreshes its time of last use. With `set_aside`, one that is damaged, a link, not a
  /// regular file or not trusted is renamed to *.bad: only do so under the key's lock, else a fresh one may be hit.
  Loaded load(std::string_view signature, bool set_aside);

  /// Locks the key against all other processes and threads, waiting at most `wait`.
  RangeLock lock(std::string_view signature, std::chrono::milliseconds wait);

  /// Writes the entry; makes room first. Afterwards the directory is within its limits.
  Status publish(std::string_view signature, std::string_view binary, std::string_view source);

  Status remove(std::string_view signature);

  Census census();
  /// Reads every entry in full and sets aside what is damaged or misnamed.
  Verified verify();
  /// Removes old leftovers, and least recently used entries down to `keep`.
  Status prune(const Limits& keep, Removed* removed);
  /// Removes everything the cache has written except the lock file.
  Status clear(Removed* removed);

 private:
  std::string entry_name(std::string_view signature) const { return to_hex(digest_(signature)); }
  Loaded load_file(int directory, const std::string& name);
  void set_aside(int directory, const std::string& name);
  Status publish_once(const std::string& name, std::string_view file);
  Status write_temporary(int directory, const std::string& name, std::string_view file, std::string* temporary);
  Status move_in(int directory, const std::string& temporary, const std::string& name, uint64_t bytes);
  Status count_and_make_room(int directory, uint64_t incoming_bytes, uint64_t* bytes, uint64_t* entries);
  void forget_usage(int directory);

  System& system_;
  CacheDirectory directory_;
  const Limits limits_;
  const DigestFunction digest_;
  std::atomic<uint64_t> temporaries_{0};
};

}  // namespace attnc::cache
