// SPDX-License-Identifier: Apache-2.0
// The safetensors format: 8 bytes header length (little-endian), a JSON header, then the tensors' bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host_tensor.h"
#include "output_file.h"

namespace attnc::cli {

/// A file opened for reading. Its header was checked whole: sizes, dtypes, shapes, and that the tensors fill the data
/// exactly, without overlap, gap or excess. Every failure throws Error(io) or Error(invalid_argument) naming the file,
/// the tensor, the value and the rule.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::string path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  struct Entry {
    std::string dtype;  ///< as the file spells it: "BF16"
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0, end = 0;  ///< bytes, from the start of the data
  };

  const std::string& path() const { return path_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  /// `option` is what asked for the tensor: "--q". A missing one is reported with the names the file has.
  const Entry& find(const std::string& tensor, std::string_view option) const;
  /// The tensor's dtype for attnc; one that attnc has no type for is refused.
  DType dtype(const std::string& tensor, std::string_view option) const;
  /// Reads one tensor. `tensor` as in find().
  HostTensor read(const std::string& tensor, std::string_view option) const;

 private:
  void read_header();
  void check_layout(std::uint64_t data_bytes) const;
  void read_bytes(std::span<std::byte> bytes, std::uint64_t offset) const;
  [[noreturn]] void fail(const std::string& message) const;

  std::string path_;
  int file_ = -1;
  std::uint64_t data_offset_ = 0;
  std::map<std::string, Entry> entries_;
};

/// Writes the tensors in the given order.
void write_safetensors(const OutputFile& file, const std::vector<std::pair<std::string, const HostTensor*>>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace attnc::cli
