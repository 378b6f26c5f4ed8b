// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/disk_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/cache/usage_record.h"

namespace attnc::cache {
namespace {

// A hit refreshes the file's time only if it is older than this: exact order within a minute is not worth a write.
constexpr int64_t kTouchInterval_s = 60;
// The usage record is held for microseconds, or for a count of the directory. A holder that is stopped must not stop
// us.
constexpr std::chrono::milliseconds kUsageWait{500};

bool fits(const Limits& limits, uint64_t bytes, uint64_t entries, uint64_t incoming_bytes) {
  return incoming_bytes <= limits.max_bytes && bytes <= limits.max_bytes - incoming_bytes &&
         entries < limits.max_entries;
}

}  // namespace

DiskStore::DiskStore(System& system, const std::string& directory, bool shared, Limits limits, DigestFunction digest)
    : system_(system), directory_(system, directory, shared), limits_(limits), digest_(std::move(digest)) {}

DiskStore::Loaded DiskStore::load(std::string_view signature, bool set_aside_damaged) {
  Loaded loaded;
  const Fd directory = directory_.open(/*create=*/true, &loaded.problem);
  if (!directory.valid()) return loaded;
  const std::string name = entry_name(signature);
  loaded = load_file(directory.get(), name);
  if (loaded.result == Loaded::Result::damaged && set_aside_damaged) set_aside(directory.get(), name);
  // Two signatures with one digest: the text decides, and the later one replaces the other's file.
  if (loaded.result == Loaded::Result::hit && loaded.entry.signature != signature) loaded.result = Loaded::Result::miss;
  return loaded;
}

DiskStore::Loaded DiskStore::load_file(int directory, const std::string& name) {
  Loaded loaded;
  const auto with = [&](Loaded::Result result) {
    loaded.result = result;
    return std::move(loaded);
  };
  const auto failed = [&](int result, const char* what) {
    loaded.problem = {-result, what + std::string(" ") + path() + "/" + name};
    return std::move(loaded);
  };

  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int fd = system_.open_at(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd == -ENOENT) return with(Loaded::Result::miss);
  if (fd == -ELOOP || fd == -EMLINK || fd == -ENXIO) return with(Loaded::Result::damaged);  // a link, a socket
  if (fd < 0) return failed(fd, "open");
  const Fd file(system_, fd);

  struct stat info;
  if (const int result = system_.stat_fd(fd, &info); result < 0) return failed(result, "inspect");
  if (!S_ISREG(info.st_mode) || !directory_.rule().trusts(info)) return with(Loaded::Result::damaged);

  const uint64_t file_bytes = static_cast<uint64_t>(info.st_size);
  std::string data;
  Status status = read_up_to(system_, fd, kHeaderBytes, 0, &data);
  if (!status.ok()) return failed(-status.error, "read");
  if (!plausible_header(data, file_bytes)) return with(Loaded::Result::damaged);
  status = read_up_to(system_, fd, file_bytes - kHeaderBytes, kHeaderBytes, &data);
  if (!status.ok()) return failed(-status.error, "read");

  switch (decode_entry(data, &loaded.entry)) {
    case DecodeStatus::damaged:
      return with(Loaded::Result::damaged);
    case DecodeStatus::other:
      return with(Loaded::Result::miss);
    case DecodeStatus::ok:
      break;
  }
  if (system_.now_s() - static_cast<int64_t>(info.st_mtime) > kTouchInterval_s) {
    system_.touch(fd);  // fails on a read-only file system, where nothing is evicted either
  }
  return with(Loaded::Result::hit);
}

void DiskStore::set_aside(int directory, const std::string& name) {
  if (system_.rename_at(directory, name.c_str(), set_aside_name(name).c_str()) < 0) {
    system_.unlink_at(directory, name.c_str());
  }
}

RangeLock DiskStore::lock(std::string_view signature, std::chrono::milliseconds wait) {
  Status ignored;  // publish() will meet the same problem and report it
  const Fd directory = directory_.open(/*create=*/true, &ignored);
  // openat with an invalid directory fails, and the lock is unavailable.
  const uint64_t offset = digest_(signature).low & (kUsageLockOffset - 1);
  return RangeLock::acquire(system_, directory_.rule(), directory.get(), offset, wait);
}

Status DiskStore::publish(std::string_view signature, std::string_view binary, std::string_view source) {
  const std::string name = entry_name(signature);
  const std::string file = encode_entry(signature, binary, source);
  if (file.size() > limits_.max_bytes || limits_.max_entries == 0) return {EFBIG, "store an entry within the limits"};
  Status status = publish_once(name, file);
  // The directory was deleted, or our temporary file swept, between two steps.
  if (status.error == ENOENT || status.error == ESTALE) status = publish_once(name, file);
  return status;
}

Status DiskStore::publish_once(const std::string& name, std::string_view file) {
  Status status;
  const Fd directory = directory_.open(/*create=*/true, &status);
  if (!directory.valid()) return status;
  std::string temporary;
  status = write_temporary(directory.get(), name, file, &temporary);
  if (status.ok()) status = move_in(directory.get(), temporary, name, file.size());
  if (!status.ok()) {
    if (!temporary.empty()) system_.unlink_at(directory.get(), temporary.c_str());
    status.what += " in " + path();
  }
  return status;
}

Status DiskStore::write_temporary(int directory, const std::string& name, std::string_view file,
                                  std::string* temporary) {
  Fd out;
  constexpr int kAttempts = 3;  // O_EXCL makes a collision harmless
  for (int attempt = 0; attempt < kAttempts && !out.valid(); ++attempt) {
    const uint64_t parts[] = {static_cast<uint64_t>(::getpid()), temporaries_.fetch_add(1),
                              static_cast<uint64_t>(system_.steady_now().time_since_epoch().count()),
                              reinterpret_cast<uintptr_t>(this)};
    const std::string candidate = temporary_name(name, hash64({reinterpret_cast<const char*>(parts), sizeof parts}));
    const AccessRule rule = directory_.rule();
    const int fd =
        system_.open_at(directory, candidate.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, rule.file_mode());
    if (fd == -EEXIST && attempt + 1 < kAttempts) continue;
    if (fd < 0) return {-fd, "create a file"};
    out = Fd(system_, fd);
    *temporary = candidate;
    if (rule.shared) system_.change_mode(fd, rule.file_mode());  // the umask may have taken the group's bits
  }
  Status status = write_all(system_, out.get(), file);
  if (!status.ok()) return status;
  if (const int result = system_.sync(out.get()); result < 0) return {-result, "sync a file"};
  if (const int result = out.close(); result < 0) return {-result, "close a file"};
  return {};
}

Status DiskStore::move_in(int directory, const std::string& temporary, const std::string& name, uint64_t bytes) {
  // Reserve, then rename, both under the lock: whoever counts the directory meanwhile sees either both or neither.
  // Without the lock nobody can keep a record, so every put counts: slower, and still bounded.
  const RangeLock lock = RangeLock::acquire(system_, directory_.rule(), directory, kUsageLockOffset, kUsageWait);
  std::optional<UsageRecord> usage;
  if (lock.held()) usage = read_usage(system_, lock.fd());
  if (!usage || usage->stale(system_.now_s()) || !fits(limits_, usage->bytes, usage->entries, bytes)) {
    usage = UsageRecord{};
    usage->counted_at_s = system_.now_s();
    Status status = count_and_make_room(directory, bytes, &usage->bytes, &usage->entries);
    if (!status.ok()) return status;
  }
  if (lock.held()) {
    usage->bytes += bytes;
    ++usage->entries;
    ++usage->puts_since_count;
    Status status = write_usage(system_, lock.fd(), *usage);
    if (!status.ok()) return status;
  }
  const int result = system_.rename_at(directory, temporary.c_str(), name.c_str());
  if (result < 0) return {-result, "rename a file"};
  return {};
}

Status DiskStore::count_and_make_room(int directory, uint64_t incoming_bytes, uint64_t* bytes, uint64_t* entries) {
  Inventory inventory;
  Status status = take_inventory(system_, directory, &inventory);
  if (!status.ok()) return status;
  Limits keep{limits_.max_bytes - incoming_bytes, limits_.max_entries - 1};
  if (!fits(limits_, inventory.bytes, inventory.entries, incoming_bytes)) {
    // A tenth more than needed, so that the next count is a tenth of the cache away and a put costs the same on average
    // however large the cache is.
    keep.max_bytes = std::min(keep.max_bytes, limits_.max_bytes - limits_.max_bytes / 10);
    keep.max_entries = std::min(keep.max_entries, limits_.max_entries - limits_.max_entries / 10);
  }
  remove_down_to(system_, directory, keep, &inventory);
  if (!fits(limits_, inventory.bytes, inventory.entries, incoming_bytes)) return {ENOSPC, "make room by deleting"};
  *bytes = inventory.bytes;
  *entries = inventory.entries;
  return {};
}

Status DiskStore::remove(std::string_view signature) {
  Status status;
  const Fd directory = directory_.open(/*create=*/false, &status);
  if (!directory.valid()) return status;
  const int result = system_.unlink_at(directory.get(), entry_name(signature).c_str());
  if (result < 0 && result != -ENOENT) return {-result, "delete an entry"};
  return {};
}

DiskStore::Census DiskStore::census() {
  Census census;
  const Fd directory = directory_.open(/*create=*/false, &census.problem);
  if (!directory.valid()) return census;
  Inventory inventory;
  census.problem = take_inventory(system_, directory.get(), &inventory);
  for (const Item& item : inventory.items) {
    census.temporaries += item.kind == NameKind::temporary;
    census.set_aside += item.kind == NameKind::set_aside;
    census.entries += item.kind == NameKind::entry;
    census.bytes += item.bytes;
  }
  return census;
}

DiskStore::Verified DiskStore::verify() {
  Verified verified;
  const Fd directory = directory_.open(/*create=*/false, &verified.problem);
  if (!directory.valid()) return verified;
  Inventory inventory;
  verified.problem = take_inventory(system_, directory.get(), &inventory);
  for (const Item& item : inventory.items) {
    if (item.kind != NameKind::entry) continue;
    const Loaded loaded = load_file(directory.get(), item.name);
    if (!loaded.problem.ok()) {
      verified.problem = loaded.problem;
    } else if (loaded.result == Loaded::Result::hit && entry_name(loaded.entry.signature) == item.name) {
      ++verified.good;
    } else if (loaded.result != Loaded::Result::miss) {  // a miss: deleted meanwhile
      ++verified.damaged;
      set_aside(directory.get(), item.name);
    }
  }
  return verified;
}

Status DiskStore::prune(const Limits& keep, Removed* removed) {
  Status status;
  const Fd directory = directory_.open(/*create=*/false, &status);
  if (!directory.valid()) return status;
  Inventory inventory;
  status = take_inventory(system_, directory.get(), &inventory);
  if (!status.ok()) return status;
  *removed = remove_down_to(system_, directory.get(), keep, &inventory);
  forget_usage(directory.get());
  return {};
}

Status DiskStore::clear(Removed* removed) {
  Status status;
  const Fd directory = directory_.open(/*create=*/false, &status);
  if (!directory.valid()) return status;
  Inventory inventory;
  status = take_inventory(system_, directory.get(), &inventory);
  if (!status.ok()) return status;
  // Fresh temporary files too: their writers find them gone and write again.
  for (Item& item : inventory.items) item.modified_ns = 0;
  *removed = remove_down_to(system_, directory.get(), Limits{0, 0}, &inventory);
  forget_usage(directory.get());
  if (!inventory.items.empty()) return {EACCES, "delete " + inventory.items.front().name + " in " + path()};
  return {};
}

void DiskStore::forget_usage(int directory) {
  // An invalid record: the next put counts. Without the lock there is no record worth forgetting, only one too high.
  const RangeLock lock = RangeLock::acquire(system_, directory_.rule(), directory, kUsageLockOffset, kUsageWait);
  if (!lock.held()) return;
  UsageRecord stale;
  write_usage(system_, lock.fd(), stale);  // counted in 1970
}

}  // namespace attnc::cache
