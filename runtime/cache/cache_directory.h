// SPDX-License-Identifier: Apache-2.0
// Where the disk cache lives, and whether that place may be trusted.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "runtime/cache/system.h"

namespace attnc::cache {

/// Who may own and write what the cache reads. A cache entry is code that this process will run, so by default only
/// files and directories of the effective user that nobody else can write are trusted. `shared` waives both conditions
/// for a directory whose other writers are trusted explicitly.
struct AccessRule {
  uid_t user = 0;
  bool shared = false;

  mode_t directory_mode() const { return shared ? 0770 : 0700; }
  mode_t file_mode() const { return shared ? 0660 : 0600; }
  bool trusts(const struct stat& info) const;
};

/// The directories to try, in order. `chosen` (an option) and ATTNC_CACHE_DIR are explicit: the first of them that is
/// set is the only candidate. Otherwise $XDG_CACHE_HOME/attnc, $HOME/.cache/attnc and ~/.cache/attnc by the password
/// database, as far as they are absolute paths; possibly none.
std::vector<std::string> candidate_directories(System& system, const std::string& chosen);

/// Thread-safe. Keeps no descriptor open: each operation opens the directory anew, so that a directory deleted under a
/// running process heals, and a program that closes all descriptors (a daemon) breaks nothing.
class CacheDirectory {
 public:
  CacheDirectory(System& system, const std::string& chosen, bool shared);

  /// Opens the versioned sub-directory of the first candidate that works, creating it (mode 0700) if `create`; from
  /// then on always that candidate. On failure the result is invalid and `status` names the first problem; without
  /// `create` a directory that does not exist is ENOENT.
  Fd open(bool create, Status* status);

  /// The versioned sub-directory in use, or the one that would be tried first; "" without a candidate.
  std::string path() const;

  AccessRule rule() const;

 private:
  Fd open_candidate(const std::string& path, bool create, Status* status);
  Fd open_trusted(int parent, const std::string& path, const std::string& shown, bool create, Status* status);

  System& system_;
  const bool shared_;
  const std::vector<std::string> candidates_;
  std::atomic<int> in_use_{-1};  // index of the candidate that worked
};

}  // namespace attnc::cache
