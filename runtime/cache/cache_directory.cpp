// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/cache_directory.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "runtime/cache/entry_format.h"

namespace attnc::cache {
namespace {

std::string versioned_name() { return "v" + std::to_string(kSchemaVersion); }

bool is_absolute(const std::string& path) { return !path.empty() && path.front() == '/'; }

// A trailing slash would make the system follow a link in the last component.
std::string normalised(std::string path) {
  if (!is_absolute(path)) {
    std::error_code error;
    const std::filesystem::path absolute = std::filesystem::absolute(path, error);
    if (!error) path = absolute.string();
  }
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// mkdir -p. Returns 0 or -errno.
int make_dirs(System& system, int parent, const std::string& path, mode_t mode) {
  const int result = system.make_dir_at(parent, path.c_str(), mode);
  if (result != -ENOENT) return result == -EEXIST ? 0 : result;
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos || slash == 0) return result;
  // Parents are the user's own (~/.cache): never group-writable, even in shared mode.
  const int above = make_dirs(system, parent, path.substr(0, slash), 0700);
  if (above < 0) return above;
  const int again = system.make_dir_at(parent, path.c_str(), mode);
  return again == -EEXIST ? 0 : again;
}

}  // namespace

bool AccessRule::trusts(const struct stat& info) const {
  return shared || (info.st_uid == user && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0);
}

std::vector<std::string> candidate_directories(System& system, const std::string& chosen) {
  if (!chosen.empty()) return {normalised(chosen)};
  if (const auto path = system.environment("ATTNC_CACHE_DIR"); path && !path->empty()) return {normalised(*path)};

  std::vector<std::string> candidates;
  const auto add = [&](const std::optional<std::string>& base, const char* below) {
    // The XDG specification says that relative paths are to be ignored.
    if (!base || !is_absolute(*base)) return;
    const std::string path = normalised(normalised(*base) + below);
    if (std::find(candidates.begin(), candidates.end(), path) == candidates.end()) candidates.push_back(path);
  };
  add(system.environment("XDG_CACHE_HOME"), "/attnc");
  add(system.environment("HOME"), "/.cache/attnc");
  add(system.passwd_home(), "/.cache/attnc");
  return candidates;
}

CacheDirectory::CacheDirectory(System& system, const std::string& chosen, bool shared)
    : system_(system), shared_(shared), candidates_(candidate_directories(system, chosen)) {}

AccessRule CacheDirectory::rule() const { return {system_.effective_uid(), shared_}; }

std::string CacheDirectory::path() const {
  if (candidates_.empty()) return "";
  const int in_use = in_use_.load(std::memory_order_relaxed);
  return candidates_[static_cast<size_t>(std::max(in_use, 0))] + "/" + versioned_name();
}

Fd CacheDirectory::open(bool create, Status* status) {
  const int in_use = in_use_.load(std::memory_order_relaxed);
  if (in_use >= 0) return open_candidate(candidates_[static_cast<size_t>(in_use)], create, status);

  *status = {ENOENT, "no cache directory: ATTNC_CACHE_DIR, XDG_CACHE_HOME and HOME are unset"};
  for (size_t i = 0; i < candidates_.size(); ++i) {
    Status problem;
    Fd fd = open_candidate(candidates_[i], create, &problem);
    if (fd.valid()) {
      in_use_.store(static_cast<int>(i), std::memory_order_relaxed);
      *status = {};
      return fd;
    }
    if (i == 0) *status = problem;
  }
  return {};
}

Fd CacheDirectory::open_candidate(const std::string& path, bool create, Status* status) {
  const Fd base = open_trusted(AT_FDCWD, path, path, create, status);
  if (!base.valid()) return {};
  return open_trusted(base.get(), versioned_name(), path + "/" + versioned_name(), create, status);
}

Fd CacheDirectory::open_trusted(int parent, const std::string& path, const std::string& shown, bool create,
                                Status* status) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  bool created = false;
  int fd = system_.open_at(parent, path.c_str(), kFlags, 0);
  if (fd == -ENOENT && create) {
    if (const int result = make_dirs(system_, parent, path, rule().directory_mode()); result < 0) {
      *status = {-result, "create directory " + shown};
      return {};
    }
    created = true;
    fd = system_.open_at(parent, path.c_str(), kFlags, 0);
  }
  if (fd < 0) {
    *status = {-fd, "open directory " + shown + " (links are not followed)"};
    return {};
  }
  Fd directory(system_, fd);
  if (created && shared_)
    system_.change_mode(fd, rule().directory_mode());  // the umask may have taken the group's bits
  struct stat info;
  if (const int result = system_.stat_fd(fd, &info); result < 0) {
    *status = {-result, "inspect directory " + shown};
    return {};
  }
  if (!rule().trusts(info)) {
    *status = {EACCES, "refuse directory " + shown + ", owned by another user or writable by others"};
    return {};
  }
  return directory;
}

}  // namespace attnc::cache
