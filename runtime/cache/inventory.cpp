// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/inventory.h"

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "runtime/cache/digest.h"

namespace attnc::cache {
namespace {

constexpr size_t kEntryDigits = 32;
constexpr size_t kUniqueDigits = 16;
constexpr std::string_view kTemporary = ".tmp.";
constexpr std::string_view kSetAside = ".bad";

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }

int64_t modified_ns(const struct stat& info) {
#ifdef __APPLE__
  const timespec& time = info.st_mtimespec;
#else
  const timespec& time = info.st_mtim;
#endif
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// True if the file is gone, whoever deleted it.
bool unlink(System& system, int directory, const Item& item) {
  const int result = system.unlink_at(directory, item.name.c_str());
  return result >= 0 || result == -ENOENT;
}

}  // namespace

NameKind name_kind(std::string_view name) {
  if (name.size() < kEntryDigits || !is_hex(name.substr(0, kEntryDigits))) return NameKind::other;
  const std::string_view rest = name.substr(kEntryDigits);
  if (rest.empty()) return NameKind::entry;
  if (rest == kSetAside) return NameKind::set_aside;
  if (rest.size() == kTemporary.size() + kUniqueDigits && rest.substr(0, kTemporary.size()) == kTemporary &&
      is_hex(rest.substr(kTemporary.size()))) {
    return NameKind::temporary;
  }
  return NameKind::other;
}

std::string temporary_name(const std::string& entry, uint64_t unique) {
  return entry + std::string(kTemporary) + to_hex(unique);
}

std::string set_aside_name(const std::string& entry) { return entry + std::string(kSetAside); }

Status take_inventory(System& system, int directory, Inventory* inventory) {
  std::vector<std::string> names;
  if (const int result = system.list(directory, &names); result < 0) return {-result, "list the cache directory"};
  for (std::string& name : names) {
    const NameKind kind = name_kind(name);
    if (kind == NameKind::other) continue;
    struct stat info;
    const int result = system.stat_at(directory, name.c_str(), &info);
    if (result == -ENOENT) continue;
    if (result < 0) return {-result, "inspect " + name};
    const uint64_t bytes = S_ISREG(info.st_mode) ? static_cast<uint64_t>(info.st_size) : 0;
    if (kind != NameKind::temporary) {
      inventory->bytes += bytes;
      ++inventory->entries;
    }
    inventory->items.push_back({std::move(name), kind, bytes, modified_ns(info)});
  }
  return {};
}

Removed remove_down_to(System& system, int directory, const Limits& keep, Inventory* inventory) {
  Removed removed;
  const int64_t leftover_ns = (system.now_s() - kLeftoverAge_s) * 1'000'000'000;
  std::sort(inventory->items.begin(), inventory->items.end(), [](const Item& a, const Item& b) {
    return std::tuple(a.kind == NameKind::entry, a.modified_ns) < std::tuple(b.kind == NameKind::entry, b.modified_ns);
  });
  std::erase_if(inventory->items, [&](const Item& item) {
    if (item.kind == NameKind::temporary) {
      if (item.modified_ns > leftover_ns || !unlink(system, directory, item)) return false;
      ++removed.temporaries;
      return true;
    }
    const bool over = inventory->bytes > keep.max_bytes || inventory->entries > keep.max_entries;
    const bool old_leftover = item.kind == NameKind::set_aside && item.modified_ns <= leftover_ns;
    if (!(over || old_leftover) || !unlink(system, directory, item)) return false;
    inventory->bytes -= item.bytes;
    --inventory->entries;
    removed.bytes += item.bytes;
    ++removed.entries;
    return true;
  });
  return removed;
}

}  // namespace attnc::cache
