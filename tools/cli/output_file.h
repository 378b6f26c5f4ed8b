// SPDX-License-Identifier: Apache-2.0
// A file that appears whole or not at all.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace attnc::cli {

/// Checks in the constructor, before any work, that the path can be written: its folder exists and takes a new file,
/// and what stands at the path, if anything, is a regular file. `write` fills a temporary file beside it, syncs it and
/// renames it into place; on failure the temporary file is removed and what stood there before is untouched. Every
/// failure throws Error(io) naming the option, the path and the reason.
class OutputFile {
 public:
  OutputFile(std::string option, std::string path);

  using Sink = std::function<void(std::span<const std::byte>)>;
  /// Calls `fill` with a sink that appends to the file.
  void write(const std::function<void(const Sink&)>& fill) const;

  const std::string& path() const { return path_; }

 private:
  int create_temporary(std::string* temporary) const;
  [[noreturn]] void fail(const std::string& doing, int error) const;

  std::string option_;
  std::string path_;    // as given
  std::string target_;  // links resolved
};

}  // namespace attnc::cli
