// SPDX-License-Identifier: Apache-2.0
// What is made when it is first needed.
#pragma once

#include <atomic>
#include <mutex>

namespace attnc {

/// Runs something once, whichever thread comes first; the others wait for it. Thread-safe; not to be run from within
/// itself. std::call_once does the same, but an exception that leaves it aborts a program linked with GCC's
/// -static-libgcc, and ours leave it: no such device, no compiler found.
class Once {
 public:
  /// Calls `make` unless an earlier call of it has returned. If it throws, so does this, and the next call tries again.
  template <class F>
  void run(F&& make) {
    if (done_.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(making_);
    if (done_.load(std::memory_order_relaxed)) return;
    make();
    done_.store(true, std::memory_order_release);
  }

 private:
  std::atomic<bool> done_{false};
  std::mutex making_;
};

}  // namespace attnc
