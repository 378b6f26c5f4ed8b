// SPDX-License-Identifier: Apache-2.0
// Every call the disk cache makes to the operating system, in one replaceable table. Tests derive from it to fail the
// n-th call, to kill the process at the n-th call, or to pretend another user, clock or file system.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attnc::cache {

/// The base class is the real system. Calls return a value >= 0, or -errno; EINTR is retried inside and never seen.
/// Stateless and thread-safe; a derived class must be thread-safe too.
class System {
 public:
  virtual ~System() = default;

  /// openat(2). `dir` may be AT_FDCWD. O_CLOEXEC is always added.
  virtual int open_at(int dir, const char* path, int flags, mode_t mode);
  virtual int close(int fd);
  /// pread(2) and pwrite(2): may be short. Beyond the process's limit on file sizes: EFBIG, without the signal.
  virtual ssize_t read(int fd, void* data, size_t bytes, uint64_t offset);
  virtual ssize_t write(int fd, const void* data, size_t bytes, uint64_t offset);
  /// fsync(2), where a file system that does not know fsync (EINVAL, ENOTSUP, ENOSYS) counts as success.
  virtual int sync(int fd);
  virtual int stat_fd(int fd, struct stat* result);
  /// Never follows a link in the last component.
  virtual int stat_at(int dir, const char* name, struct stat* result);
  virtual int rename_at(int dir, const char* from, const char* to);
  virtual int unlink_at(int dir, const char* name);
  virtual int make_dir_at(int dir, const char* path, mode_t mode);
  virtual int change_mode(int fd, mode_t mode);
  /// Sets both times of the file to now.
  virtual int touch(int fd);
  /// All names of a directory except "." and "..", in no order.
  virtual int list(int dir, std::vector<std::string>* names);

  /// Write-locks the byte at `offset`, without waiting. -EAGAIN: another holds it. Anything else: locks do not work
  /// here. The lock belongs to the open file (OFD), so it also excludes threads and second copies of the library in one
  /// process, and the kernel drops it when the holder dies.
  virtual int try_lock(int fd, uint64_t offset);
  virtual int unlock(int fd, uint64_t offset);

  virtual int64_t now_s();  // seconds since 1970, the clock of file times
  virtual std::chrono::steady_clock::time_point steady_now();
  virtual void sleep_for(std::chrono::milliseconds duration);

  virtual uid_t effective_uid();
  /// Empty in a process with raised privileges (setuid), whose environment belongs to somebody else.
  virtual std::optional<std::string> environment(const char* name);
  /// Home directory of the effective user in the password database; nullopt without an entry.
  virtual std::optional<std::string> passwd_home();
};

/// Outcome of an operation on the disk cache. Never thrown: a problem of the cache is a miss.
struct Status {
  int error = 0;     // errno, 0 when all is well
  std::string what;  // what was tried, on which path

  bool ok() const { return error == 0; }
  /// "what: message of errno".
  std::string message() const;
};

/// Appends up to `bytes` bytes of the file to `data`; fewer only at the end of the file.
Status read_up_to(System& system, int fd, uint64_t bytes, uint64_t offset, std::string* data);
/// Writes all of `data` at the start of the file.
Status write_all(System& system, int fd, std::string_view data);

/// Owns a file descriptor opened through `System`.
class Fd {
 public:
  Fd() = default;
  Fd(System& system, int fd) : system_(&system), fd_(fd) {}
  Fd(Fd&& other) noexcept : system_(other.system_), fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { close(); }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  /// 0 or -errno; a network file system may report a failed write only here.
  int close();

 private:
  System* system_ = nullptr;
  int fd_ = -1;
};

}  // namespace attnc::cache
