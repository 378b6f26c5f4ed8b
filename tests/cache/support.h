// SPDX-License-Identifier: Apache-2.0
// What the cache tests share: a directory of their own, a system that fails on command, and child processes.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cache/digest.h"
#include "runtime/cache/inventory.h"
#include "runtime/cache/kernel_cache.h"
#include "runtime/cache/system.h"

namespace attnc::cache_test {

namespace fs = std::filesystem;

/// A fresh directory, deleted at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (fs::temp_directory_path() / "attnc-cache-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const fs::path& path() const { return path_; }
  fs::path cache() const { return path_ / "cache"; }
  fs::path root() const { return cache() / "v1"; }

 private:
  fs::path path_;
};

/// The binary that every build of `signature` yields, so that any reader can tell right from wrong bytes.
inline std::string binary_of(const std::string& signature, size_t bytes = 200) {
  std::string binary;
  for (uint64_t i = 0; binary.size() < bytes; ++i) {
    const std::string piece = signature + std::to_string(i);
    const uint64_t word = cache::hash64(piece);
    binary.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  binary.resize(bytes);
  return binary;
}

inline std::string source_of(const std::string& signature) {
  return "// source of " + std::to_string(signature.size());
}

/// A system call as a policy sees it.
struct Call {
  std::string name;  // "open_at", ...
  std::string path;  // where there is one
  int index = 0;     // 1 for the first call of this object
};

/// Asks a policy before each call. Policy results: 0 go on; -errno fail; kShort transfer half of the bytes.
class ScriptedSystem : public cache::System {
 public:
  static constexpr int kShort = 1;
  using Policy = std::function<int(const Call&)>;

  explicit ScriptedSystem(Policy policy = {}) : policy_(std::move(policy)) {}

  int calls() const { return calls_; }
  bool sync_for_real = false;  // most tests write thousands of files and none of them cuts the power

  int open_at(int dir, const char* path, int flags, mode_t mode) override {
    const int fault = ask("open_at", path);
    return fault < 0 ? fault : System::open_at(dir, path, flags, mode);
  }
  int close(int fd) override {
    const int fault = ask("close");
    const int result = System::close(fd);  // a failed close has closed
    return fault < 0 ? fault : result;
  }
  ssize_t read(int fd, void* data, size_t bytes, uint64_t offset) override {
    const int fault = ask("read");
    if (fault < 0) return fault;
    return System::read(fd, data, fault == kShort ? (bytes + 1) / 2 : bytes, offset);
  }
  ssize_t write(int fd, const void* data, size_t bytes, uint64_t offset) override {
    const int fault = ask("write");
    if (fault < 0) return fault;
    return System::write(fd, data, fault == kShort ? (bytes + 1) / 2 : bytes, offset);
  }
  int sync(int fd) override {
    const int fault = ask("sync");
    return fault < 0 || !sync_for_real ? fault : System::sync(fd);
  }
  int stat_fd(int fd, struct stat* result) override {
    const int fault = ask("stat_fd");
    return fault < 0 ? fault : System::stat_fd(fd, result);
  }
  int stat_at(int dir, const char* name, struct stat* result) override {
    const int fault = ask("stat_at", name);
    return fault < 0 ? fault : System::stat_at(dir, name, result);
  }
  int rename_at(int dir, const char* from, const char* to) override {
    const int fault = ask("rename_at", from);
    return fault < 0 ? fault : System::rename_at(dir, from, to);
  }
  int unlink_at(int dir, const char* name) override {
    const int fault = ask("unlink_at", name);
    return fault < 0 ? fault : System::unlink_at(dir, name);
  }
  int make_dir_at(int dir, const char* path, mode_t mode) override {
    const int fault = ask("make_dir_at", path);
    return fault < 0 ? fault : System::make_dir_at(dir, path, mode);
  }
  int change_mode(int fd, mode_t mode) override {
    const int fault = ask("change_mode");
    return fault < 0 ? fault : System::change_mode(fd, mode);
  }
  int touch(int fd) override {
    const int fault = ask("touch");
    return fault < 0 ? fault : System::touch(fd);
  }
  int list(int dir, std::vector<std::string>* names) override {
    const int fault = ask("list");
    return fault < 0 ? fault : System::list(dir, names);
  }
  int try_lock(int fd, uint64_t offset) override {
    const int fault = ask("try_lock");
    return fault < 0 ? fault : System::try_lock(fd, offset);
  }
  int unlock(int fd, uint64_t offset) override {
    const int fault = ask("unlock");
    return fault < 0 ? fault : System::unlock(fd, offset);
  }

 private:
  int ask(const char* name, const char* path = "") {
    const int index = ++calls_;
    return policy_ ? policy_({name, path, index}) : 0;
  }

  Policy policy_;
  std::atomic<int> calls_{0};
};

/// Collects warnings.
class Warnings {
 public:
  void operator()(std::string_view message) {
    const std::lock_guard guard(mutex_);
    messages_.emplace_back(message);
  }
  size_t count() const { return messages_.size(); }
  std::string text() const {
    std::string all;
    for (const std::string& message : messages_) all += message + "\n";
    return all;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> messages_;
};

inline KernelCacheOptions options_for(const TemporaryDirectory& directory,
                                      std::shared_ptr<cache::System> system = std::make_shared<ScriptedSystem>(),
                                      Warnings* warnings = nullptr) {
  KernelCacheOptions options;
  options.directory = directory.cache().string();
  options.system = std::move(system);
  if (warnings != nullptr) options.on_warning = [warnings](std::string_view message) { (*warnings)(message); };
  return options;
}

/// Builds the one right kernel of a signature and counts.
struct Builder {
  std::atomic<int> count{0};
  size_t bytes = 200;
  BuildFunction of(const std::string& signature) {
    return [this, signature] {
      ++count;
      return BuiltKernel{binary_of(signature, bytes), source_of(signature)};
    };
  }
};

/// Whether a new process (as far as the cache can tell) gets the right kernel; adds to `builder.count` if it had to
/// build.
inline ::testing::AssertionResult serves(const KernelCacheOptions& options, const std::string& signature,
                                         Builder& builder) {
  KernelCache cache(options);
  const CachedKernelPtr kernel = cache.get_or_build(signature, builder.of(signature));
  if (kernel == nullptr) return ::testing::AssertionFailure() << "null";
  if (kernel->binary != binary_of(signature, builder.bytes)) return ::testing::AssertionFailure() << "wrong binary";
  if (kernel->source != source_of(signature)) return ::testing::AssertionFailure() << "wrong source";
  return ::testing::AssertionSuccess();
}

inline std::string entry_name(const std::string& signature) { return cache::to_hex(cache::digest128(signature)); }

inline std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory, error)) names.push_back(item.path().filename().string());
  return names;
}

inline size_t count_kind(const fs::path& directory, cache::NameKind kind) {
  size_t count = 0;
  for (const std::string& name : names_in(directory)) count += cache::name_kind(name) == kind;
  return count;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const fs::path& path, const std::string& data, mode_t mode = 0600) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << data;
  out.close();
  ASSERT_TRUE(out.good()) << path;
  ASSERT_EQ(::chmod(path.c_str(), mode), 0);
}

inline void set_age(const fs::path& path, std::chrono::seconds age) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - age);
}

/// Runs `body` in a forked child; the child's exit status is what `body` returns.
inline pid_t start_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::alarm(60);  // a child that hangs must not outlive the test
  int status = 99;
  try {
    status = body();
  } catch (...) {
    status = 98;
  }
  ::_exit(status);
}

/// As waitpid: use WIFEXITED and so on.
inline int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

inline bool exited_with(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
inline bool killed_by(int status, int signal_number) {
  return WIFSIGNALED(status) && WTERMSIG(status) == signal_number;
}

/// Memory that children share with their parent.
template <class T>
class SharedMemory {
 public:
  SharedMemory() {
    void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    value_ = new (memory) T{};
  }
  ~SharedMemory() { ::munmap(value_, sizeof(T)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  T* operator->() { return value_; }
  T& operator*() { return *value_; }

 private:
  T* value_;
};

}  // namespace attnc::cache_test
