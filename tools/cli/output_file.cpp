// SPDX-License-Identifier: Apache-2.0
#include "output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <utility>

#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::cli {

OutputFile::OutputFile(std::string option, std::string path) : option_(std::move(option)), path_(std::move(path)) {
  if (path_.empty()) throw Error(ErrorCode::io, attnc::format("{}: the path is empty", option_));
  std::error_code ignored;
  const std::filesystem::path resolved =
      std::filesystem::canonical(path_, ignored);  // through links, to what they name
  target_ = ignored ? path_ : resolved.string();
  struct stat info {};
  if (stat(target_.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    throw Error(ErrorCode::io, attnc::format("{} {}: exists and is {}, not a file", option_, path_,
                                             S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe"));
  }
  std::string temporary;
  close(create_temporary(&temporary));
  unlink(temporary.c_str());
}

void OutputFile::fail(const std::string& doing, int error) const {
  throw Error(ErrorCode::io, attnc::format("{} {}: cannot {}: {}", option_, path_, doing, std::strerror(error)));
}

int OutputFile::create_temporary(std::string* temporary) const {
  std::random_device random;
  for (int attempt = 0; attempt < 10; ++attempt) {
    *temporary = attnc::format("{}.tmp.{:08x}", target_, random());
    const int file = open(temporary->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0) return file;
    if (errno != EEXIST) break;
  }
  fail("create a file there", errno);
}

void OutputFile::write(const std::function<void(const Sink&)>& fill) const {
  std::string temporary;
  int file = create_temporary(&temporary);
  try {
    fill([&](std::span<const std::byte> bytes) {
      while (!bytes.empty()) {
        const ssize_t written = ::write(file, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) fail("write", errno);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
      }
    });
    if (fsync(file) != 0 && errno != EINVAL && errno != ENOTSUP) fail("write", errno);
    if (close(std::exchange(file, -1)) != 0) fail("write", errno);
    if (rename(temporary.c_str(), target_.c_str()) != 0) fail("put the file in place", errno);
  } catch (...) {
    if (file >= 0) close(file);
    unlink(temporary.c_str());
    throw;
  }
}

}  // namespace attnc::cli
