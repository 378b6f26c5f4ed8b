// SPDX-License-Identifier: Apache-2.0
// Named ranges for profilers (NVTX), off unless ATTNC_NVTX=1. Internal: not installed. docs/decisions/0006 says why so.
#pragma once

namespace attnc {

/// Whether this build can make ranges: it was built where <nvtx3/nvToolsExt.h> was found.
bool has_profile_ranges() noexcept;

/// From its construction to its destruction, a range of this name in NVTX's domain "attnc", on this thread. Ranges
/// nest. Does nothing without ATTNC_NVTX=1 (read once, at the first range) or without a profiler that listens: about a
/// nanosecond. `name` must live as long as the range.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name) noexcept {
    if (enabled()) push(name);
  }
  ~ProfileRange() {
    if (enabled()) pop();
  }
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  static bool enabled() noexcept;
  static void push(const char* name) noexcept;
  static void pop() noexcept;
};

}  // namespace attnc
