// SPDX-License-Identifier: Apache-2.0
// One lock file for all keys: each key locks one byte of it. The file is never deleted (deleting lock files is how
// locks get lost) and never grows with the number of keys. Locked bytes may lie far beyond the end of the file.
#pragma once

#include <chrono>
#include <cstdint>

#include "runtime/cache/cache_directory.h"
#include "runtime/cache/system.h"

namespace attnc::cache {

inline constexpr const char* kLockFileName = "lock";

/// Keys use bytes below this offset; the usage record is guarded by the byte at it.
inline constexpr uint64_t kUsageLockOffset = uint64_t{1} << 62;

class RangeLock {
 public:
  enum class Outcome {
    held,
    busy,         // another process still held it when the wait was over
    unavailable,  // the lock file cannot be opened or trusted, or locks do not work on this file system
  };

  /// Waits at most `wait`, by polling: fcntl's own waiting cannot be bounded without signals, and a compile takes long
  /// compared with a poll.
  static RangeLock acquire(System& system, const AccessRule& rule, int directory, uint64_t offset,
                           std::chrono::milliseconds wait);
  RangeLock(RangeLock&&) noexcept;
  RangeLock& operator=(RangeLock&&) = delete;
  ~RangeLock();

  Outcome outcome() const { return outcome_; }
  bool held() const { return outcome_ == Outcome::held; }
  /// The lock file, valid if held.
  int fd() const { return file_.get(); }

 private:
  RangeLock(System& system, Fd file, uint64_t offset, Outcome outcome);

  System* system_;
  Fd file_;
  uint64_t offset_;
  Outcome outcome_;
};

}  // namespace attnc::cache
