// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

namespace attnc::cache {
namespace {

template <class Call>
auto retry(Call call) -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

#ifdef F_OFD_SETLK
int set_lock(int fd, uint64_t offset, short type) {
  struct flock lock;
  std::memset(&lock, 0, sizeof lock);  // l_pid must be 0 for OFD locks
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset);
  lock.l_len = 1;
  const int result = retry([&] { return ::fcntl(fd, F_OFD_SETLK, &lock); });
  return result == -EACCES ? -EAGAIN : result;  // POSIX allows either for "busy"
}
#endif

}  // namespace

int System::open_at(int dir, const char* path, int flags, mode_t mode) {
  return retry([&] { return ::openat(dir, path, flags | O_CLOEXEC, mode); });
}

int System::close(int fd) {
  // Not retried: on Linux the descriptor is gone even after EINTR, and a second close could hit somebody else's file.
  return ::close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

ssize_t System::read(int fd, void* data, size_t bytes, uint64_t offset) {
  return retry([&] { return ::pread(fd, data, bytes, static_cast<off_t>(offset)); });
}

ssize_t System::write(int fd, const void* data, size_t bytes, uint64_t offset) {
  rlimit largest{};  // a write that begins beyond it raises SIGXFSZ, which ends the process
  if (::getrlimit(RLIMIT_FSIZE, &largest) == 0 && offset >= largest.rlim_cur) return -EFBIG;
  return retry([&] { return ::pwrite(fd, data, bytes, static_cast<off_t>(offset)); });
}

int System::sync(int fd) {
  const int result = retry([&] { return ::fsync(fd); });
  return result == -EINVAL || result == -ENOTSUP || result == -ENOSYS ? 0 : result;
}

int System::stat_fd(int fd, struct stat* result) {
  return retry([&] { return ::fstat(fd, result); });
}

int System::stat_at(int dir, const char* name, struct stat* result) {
  return retry([&] { return ::fstatat(dir, name, result, AT_SYMLINK_NOFOLLOW); });
}

int System::rename_at(int dir, const char* from, const char* to) {
  return retry([&] { return ::renameat(dir, from, dir, to); });
}

int System::unlink_at(int dir, const char* name) {
  return retry([&] { return ::unlinkat(dir, name, 0); });
}

int System::make_dir_at(int dir, const char* path, mode_t mode) {
  return retry([&] { return ::mkdirat(dir, path, mode); });
}

int System::change_mode(int fd, mode_t mode) {
  return retry([&] { return ::fchmod(fd, mode); });
}

int System::touch(int fd) {
  return retry([&] { return ::futimens(fd, nullptr); });
}

int System::list(int dir, std::vector<std::string>* names) {
  // A description of its own, because reading a directory moves the offset.
  const int fd = System::open_at(dir, ".", O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return fd;
  std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), ::closedir);
  if (!stream) {
    const int error = errno;
    ::close(fd);
    return -error;
  }
  for (;;) {
    errno = 0;
    const dirent* item = ::readdir(stream.get());
    if (item == nullptr) return -errno;
    const std::string name = item->d_name;
    if (name != "." && name != "..") names->push_back(name);
  }
}

#ifdef F_OFD_SETLK
int System::try_lock(int fd, uint64_t offset) { return set_lock(fd, offset, F_WRLCK); }
int System::unlock(int fd, uint64_t offset) { return set_lock(fd, offset, F_UNLCK); }
#else
// POSIX record locks would be dropped by any close of the file anywhere in the process: worse than none.
int System::try_lock(int, uint64_t) { return -ENOTSUP; }
int System::unlock(int, uint64_t) { return -ENOTSUP; }
#endif

int64_t System::now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::chrono::steady_clock::time_point System::steady_now() { return std::chrono::steady_clock::now(); }

void System::sleep_for(std::chrono::milliseconds duration) { std::this_thread::sleep_for(duration); }

uid_t System::effective_uid() { return ::geteuid(); }

std::optional<std::string> System::environment(const char* name) {
#ifdef __GLIBC__
  const char* value = ::secure_getenv(name);
#else
  const char* value = ::getuid() == ::geteuid() && ::getgid() == ::getegid() ? std::getenv(name) : nullptr;
#endif
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

std::optional<std::string> System::passwd_home() {
  std::vector<char> buffer(1 << 14);
  struct passwd storage;
  struct passwd* found = nullptr;
  int error = 0;
  while ((error = ::getpwuid_r(::geteuid(), &storage, buffer.data(), buffer.size(), &found)) == ERANGE &&
         buffer.size() < (1 << 20)) {
    buffer.resize(buffer.size() * 2);
  }
  if (error != 0 || found == nullptr || found->pw_dir == nullptr) return std::nullopt;
  return std::string(found->pw_dir);
}

std::string Status::message() const { return ok() ? what : what + ": " + std::generic_category().message(error); }

Status read_up_to(System& system, int fd, uint64_t bytes, uint64_t offset, std::string* data) {
  const uint64_t start = data->size();
  data->resize(start + bytes);
  uint64_t done = 0;
  while (done < bytes) {
    const ssize_t count = system.read(fd, data->data() + start + done, bytes - done, offset + done);
    if (count < 0) return {static_cast<int>(-count), "read"};
    if (count == 0) break;
    done += static_cast<uint64_t>(count);
  }
  data->resize(start + done);
  return {};
}

Status write_all(System& system, int fd, std::string_view data) {
  uint64_t done = 0;
  while (done < data.size()) {
    const ssize_t count = system.write(fd, data.data() + done, data.size() - done, done);
    if (count < 0) return {static_cast<int>(-count), "write"};
    if (count == 0) return {ENOSPC, "write"};
    done += static_cast<uint64_t>(count);
  }
  return {};
}

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    close();
    system_ = other.system_;
    fd_ = other.fd_;
    other.fd_ = -1;
  }
  return *this;
}

int Fd::close() {
  if (fd_ < 0) return 0;
  const int fd = fd_;
  fd_ = -1;
  return system_->close(fd);
}

}  // namespace attnc::cache
