// SPDX-License-Identifier: Apache-2.0
#include "safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "dsl/error.h"
#include "dsl/format.h"
#include "dsl/text_source.h"

namespace attnc::cli {
namespace {

using nlohmann::json;
using text::in_quotes;

static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian and read as they are");

/// The format's own limit.
constexpr std::uint64_t max_header_bytes = 100'000'000;

struct FileType {
  const char* name;
  std::uint64_t element_bytes;
  std::optional<DType> dtype;  ///< none: the format has it, attnc does not
};
constexpr std::array<FileType, 15> file_types = {{
    {"F32", 4, DType::f32},
    {"F16", 2, DType::f16},
    {"BF16", 2, DType::bf16},
    {"I64", 8, DType::i64},
    {"I32", 4, DType::i32},
    {"I8", 1, DType::i8},
    {"U8", 1, DType::u8},
    {"BOOL", 1, DType::boolean},
    {"F64", 8, {}},
    {"I16", 2, {}},
    {"U16", 2, {}},
    {"U32", 4, {}},
    {"U64", 8, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
}};

const FileType* find_type(std::string_view name) {
  for (const FileType& type : file_types)
    if (type.name == name) return &type;
  return nullptr;
}

std::string_view file_name_of(DType dtype) {
  for (const FileType& type : file_types)
    if (type.dtype == dtype) return type.name;
  throw Error(ErrorCode::internal, "a dtype without a safetensors name");
}

bool is_unsigned(const json& value) { return value.is_number_unsigned(); }

/// Bytes of a tensor, or nothing if that overflows.
std::optional<std::uint64_t> bytes_of(const SafetensorsFile::Entry& entry, std::uint64_t element_bytes) {
  std::uint64_t bytes = element_bytes;
  for (const std::int64_t extent : entry.shape) {
    const auto factor = static_cast<std::uint64_t>(extent);
    if (factor != 0 && bytes > static_cast<std::uint64_t>(INT64_MAX) / factor) return std::nullopt;
    bytes *= factor;
  }
  return bytes;
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::string path) : path_(std::move(path)) {
  file_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) fail(attnc::format("cannot be opened: {}", std::strerror(errno)));
  try {
    read_header();
  } catch (...) {
    close(file_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() { close(file_); }

void SafetensorsFile::fail(const std::string& message) const {
  throw Error(ErrorCode::io, attnc::format("{}: {}", path_, message));
}

void SafetensorsFile::read_bytes(std::span<std::byte> bytes, std::uint64_t offset) const {
  while (!bytes.empty()) {
    const ssize_t got = pread(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(attnc::format("cannot be read: {}", std::strerror(errno)));
    if (got == 0) fail(attnc::format("ends at byte {}; {} more were expected", offset, bytes.size()));
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

void SafetensorsFile::read_header() {
  struct stat info {};
  if (fstat(file_, &info) != 0) fail(attnc::format("cannot be read: {}", std::strerror(errno)));
  if (!S_ISREG(info.st_mode))
    fail(S_ISDIR(info.st_mode) ? "is a folder, not a safetensors file" : "is not a regular file");
  const auto file_bytes = static_cast<std::uint64_t>(info.st_size);
  if (file_bytes < 8)
    fail(attnc::format("has {} bytes; a safetensors file starts with an 8-byte header length", file_bytes));
  std::uint64_t header_bytes = 0;
  read_bytes(std::as_writable_bytes(std::span(&header_bytes, 1)), 0);
  if (header_bytes > max_header_bytes) {
    fail(attnc::format("says its header has {} bytes, over the format's limit of {}; is it a safetensors file?",
                       header_bytes, max_header_bytes));
  }
  if (header_bytes > file_bytes - 8) {
    fail(attnc::format("says its header has {} bytes, but only {} follow: truncated, or not a safetensors file",
                       header_bytes, file_bytes - 8));
  }
  std::string text(header_bytes, '\0');
  read_bytes(std::as_writable_bytes(std::span(text)), 8);
  data_offset_ = 8 + header_bytes;

  std::set<std::string> keys;
  const auto refuse_duplicates = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::key && depth == 1 && !keys.insert(value.get<std::string>()).second) {
      fail(attnc::format("describes tensor {} twice", in_quotes(value.get<std::string>())));
    }
    return true;
  };
  json header;
  try {
    header = json::parse(text, refuse_duplicates);
  } catch (const json::parse_error& error) {
    fail(attnc::format("has a damaged header: no JSON at byte {}", error.byte + 7));
  } catch (const json::exception&) {
    fail("has a damaged header: a number in it is out of range");
  }
  if (!header.is_object()) fail("has a damaged header: it is not a JSON object");

  for (const auto& [name, value] : header.items()) {
    const std::string tensor = in_quotes(name);
    if (name == "__metadata__") {
      const bool strings =
          value.is_object() && std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_string(); });
      if (!strings) fail("has a damaged header: __metadata__ is not a map from text to text");
      continue;
    }
    const auto bad = [&](const std::string& what) { fail(attnc::format("tensor {}: {}", tensor, what)); };
    if (!value.is_object()) bad("its description is not a JSON object");
    for (const char* field : {"dtype", "shape", "data_offsets"})
      if (!value.contains(field)) bad(attnc::format("has no {}", field));
    Entry entry;
    if (!value["dtype"].is_string()) bad("its dtype is not text");
    entry.dtype = value["dtype"].get<std::string>();
    const FileType* type = find_type(entry.dtype);
    if (type == nullptr) bad(attnc::format("has dtype {}, which the format does not know", in_quotes(entry.dtype)));
    const json& shape = value["shape"];
    if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_unsigned))
      bad("its shape is not a list of sizes");
    for (const json& extent : shape) {
      if (extent.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
        bad("its shape has an extent over 2^63 - 1");
      entry.shape.push_back(extent.get<std::int64_t>());
    }
    const json& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2 || !is_unsigned(offsets[0]) || !is_unsigned(offsets[1])) {
      bad("its data_offsets are not two byte positions");
    }
    entry.begin = offsets[0].get<std::uint64_t>();
    entry.end = offsets[1].get<std::uint64_t>();
    if (entry.begin > entry.end) bad(attnc::format("its data_offsets [{}, {}] run backwards", entry.begin, entry.end));
    const auto bytes = bytes_of(entry, type->element_bytes);
    if (!bytes) bad(attnc::format("its shape [{}] is larger than any file", attnc::join(entry.shape, ", ")));
    if (*bytes != entry.end - entry.begin) {
      bad(attnc::format("shape [{}] of {} needs {} bytes, its data_offsets [{}, {}] hold {}",
                        attnc::join(entry.shape, ", "), entry.dtype, *bytes, entry.begin, entry.end,
                        entry.end - entry.begin));
    }
    entries_.emplace(name, std::move(entry));
  }
  check_layout(file_bytes - data_offset_);
}

void SafetensorsFile::check_layout(std::uint64_t data_bytes) const {
  std::vector<std::pair<const std::string*, const Entry*>> order;
  for (const auto& [name, entry] : entries_) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  for (const auto& [name, entry] : order) {
    if (entry->end > data_bytes) {
      fail(attnc::format("tensor {}: its data_offsets [{}, {}] reach past the {} bytes of data: truncated?",
                         in_quotes(*name), entry->begin, entry->end, data_bytes));
    }
  }
  std::uint64_t at = 0;
  const std::string* previous = nullptr;
  for (const auto& [name, entry] : order) {
    if (entry->begin < at)
      fail(attnc::format("tensor {}: its bytes overlap those of {}", in_quotes(*name), in_quotes(*previous)));
    if (entry->begin > at) {
      fail(attnc::format("tensor {}: {} bytes before it belong to no tensor", in_quotes(*name), entry->begin - at));
    }
    at = entry->end;
    previous = name;
  }
  if (at != data_bytes) fail(attnc::format("has {} bytes after its last tensor that belong to none", data_bytes - at));
}

const SafetensorsFile::Entry& SafetensorsFile::find(const std::string& tensor, std::string_view option) const {
  const auto found = entries_.find(tensor);
  if (found != entries_.end()) return found->second;
  std::string names;
  constexpr std::size_t max_listed = 12;
  std::size_t listed = 0;
  for (const auto& [name, entry] : entries_) {
    if (++listed > max_listed) break;
    names += attnc::format("{}{} {} [{}]", listed == 1 ? "" : ", ", in_quotes(name), entry.dtype,
                           attnc::join(entry.shape, ", "));
  }
  if (entries_.size() > max_listed) names += attnc::format(" and {} more", entries_.size() - max_listed);
  throw Error(ErrorCode::invalid_argument, attnc::format("{}: there is no tensor {} in {}; it has {}", option,
                                                         in_quotes(tensor), path_, names.empty() ? "none" : names));
}

DType SafetensorsFile::dtype(const std::string& tensor, std::string_view option) const {
  const Entry& entry = find(tensor, option);
  const FileType* type = find_type(entry.dtype);
  if (!type->dtype) {
    throw Error(
        ErrorCode::invalid_argument,
        attnc::format(
            "{}: tensor {} of {} is {}, which attnc does not read; it reads F32, F16, BF16, I64, I32, I8, U8 and BOOL",
            option, in_quotes(tensor), path_, entry.dtype));
  }
  return *type->dtype;
}

HostTensor SafetensorsFile::read(const std::string& tensor, std::string_view option) const {
  const Entry& entry = find(tensor, option);
  HostTensor result(dtype(tensor, option), entry.shape);
  read_bytes(result.bytes(), data_offset_ + entry.begin);
  return result;
}

void write_safetensors(const OutputFile& file, const std::vector<std::pair<std::string, const HostTensor*>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::uint64_t end = offset + tensor->bytes().size();
    header[name] = {
        {"dtype", file_name_of(tensor->dtype())}, {"shape", tensor->shape()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump(-1, ' ', true, json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data starts aligned
  const std::uint64_t length = text.size();
  file.write([&](const OutputFile::Sink& sink) {
    sink(std::as_bytes(std::span(&length, 1)));
    sink(std::as_bytes(std::span(text)));
    for (const auto& [name, tensor] : tensors) sink(tensor->bytes());
  });
}

}  // namespace attnc::cli
