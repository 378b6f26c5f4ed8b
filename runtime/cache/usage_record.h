// SPDX-License-Identifier: Apache-2.0
// How much the directory holds, so that a put need not list it. Kept in the lock file, read and written under its lock.
//
// The record may be too high: a process died after reserving, or a file was deleted by hand. That only means an early
// count. Too low it becomes when somebody puts without the lock (whose holder is stopped) or copies files in; counting
// anew now and then finds that.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/cache/system.h"

namespace attnc::cache {

struct UsageRecord {
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t puts_since_count = 0;
  int64_t counted_at_s = 0;  // seconds since 1970

  /// Whether the directory should be counted anew.
  bool stale(int64_t now_s) const;
};

/// nullopt: there is none, or it is torn.
std::optional<UsageRecord> read_usage(System& system, int lock_file);
Status write_usage(System& system, int lock_file, const UsageRecord& record);

}  // namespace attnc::cache
