// SPDX-License-Identifier: Apache-2.0
// What lies in the cache directory, and what to delete from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cache/system.h"

namespace attnc::cache {

/// Names in the directory. Anything else is not the cache's and is left alone.
enum class NameKind {
  entry,      // 32 hexadecimal digits
  temporary,  // <entry>.tmp.<16 hexadecimal digits>: being written, or left by a process that died
  set_aside,  // <entry>.bad: was found damaged, kept a while for a look
  other,
};
NameKind name_kind(std::string_view name);
std::string temporary_name(const std::string& entry, uint64_t unique);
std::string set_aside_name(const std::string& entry);

struct Limits {
  uint64_t max_bytes = 0;
  uint64_t max_entries = 0;
};

struct Item {
  std::string name;
  NameKind kind = NameKind::other;
  uint64_t bytes = 0;
  int64_t modified_ns = 0;  // since 1970; a disk hit refreshes it, so it orders by last use
};

struct Inventory {
  std::vector<Item> items;
  // Entries and those set aside; temporary files are in flight and do not count.
  uint64_t bytes = 0;
  uint64_t entries = 0;
};

struct Removed {
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint64_t temporaries = 0;
};

/// Temporary files and those set aside are swept once they are this old: far longer than any write takes.
inline constexpr int64_t kLeftoverAge_s = 600;

/// Lists the directory. Files that vanish meanwhile are left out.
Status take_inventory(System& system, int directory, Inventory* inventory);

/// Deletes old leftovers, then (those set aside first, then least recently used) entries until at most `keep` is left.
/// Updates `inventory`. What cannot be deleted stays counted.
Removed remove_down_to(System& system, int directory, const Limits& keep, Inventory* inventory);

}  // namespace attnc::cache
