// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/range_lock.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace attnc::cache {
namespace {

using std::chrono::milliseconds;

Fd open_lock_file(System& system, const AccessRule& rule, int directory) {
  // O_NONBLOCK: somebody may have put a FIFO there.
  Fd file(system,
          system.open_at(directory, kLockFileName, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, rule.file_mode()));
  if (!file.valid()) return file;
  struct stat info;
  if (system.stat_fd(file.get(), &info) < 0 || !S_ISREG(info.st_mode) || !rule.trusts(info)) return {};
  if (rule.shared && (info.st_mode & 0777) != rule.file_mode() && info.st_uid == rule.user) {
    system.change_mode(file.get(), rule.file_mode());
  }
  return file;
}

}  // namespace

RangeLock::RangeLock(System& system, Fd file, uint64_t offset, Outcome outcome)
    : system_(&system), file_(std::move(file)), offset_(offset), outcome_(outcome) {}

RangeLock::RangeLock(RangeLock&& other) noexcept
    : system_(other.system_), file_(std::move(other.file_)), offset_(other.offset_), outcome_(other.outcome_) {
  other.outcome_ = Outcome::unavailable;
}

RangeLock::~RangeLock() {
  // Closing is not enough: a child forked meanwhile shares the open file and would keep the lock.
  if (held()) system_->unlock(file_.get(), offset_);
}

RangeLock RangeLock::acquire(System& system, const AccessRule& rule, int directory, uint64_t offset,
                             milliseconds wait) {
  Fd file = open_lock_file(system, rule, directory);
  if (!file.valid()) return {system, {}, offset, Outcome::unavailable};

  constexpr milliseconds kLongestPause{20};
  milliseconds pause{1};
  const auto deadline = system.steady_now() + wait;
  for (;;) {
    const int result = system.try_lock(file.get(), offset);
    if (result >= 0) return {system, std::move(file), offset, Outcome::held};
    if (result != -EAGAIN) return {system, {}, offset, Outcome::unavailable};
    if (system.steady_now() >= deadline) return {system, {}, offset, Outcome::busy};
    system.sleep_for(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

}  // namespace attnc::cache
