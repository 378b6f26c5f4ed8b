// SPDX-License-Identifier: Apache-2.0
// The bytes of one cache entry: a header with everything needed to doubt the rest, then the payload.
//
//   offset  bytes  field (integers are little endian)
//        0      8  magic: 89 'A' 'T' 'T' 'N' 'C' 0d 0a  (as in PNG, text-mode copies damage it)
//        8      4  schema version
//       12      4  reserved, 0
//       16      8  signature_bytes
//       24      8  binary_bytes
//       32      8  source_bytes
//       40     16  XXH3-128 of the payload (binary followed by source)
//       56     16  XXH3-128 of bytes [0, 56) followed by the signature
//       72      -  signature, binary, source, and nothing after them
//
// Every bit of the file is covered by one of the two checksums or is one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace attnc::cache {

/// Raise whenever the layout, or what the payload means, changes. It also names the sub-directory, so versions of the
/// library that differ in it live side by side.
inline constexpr uint32_t kSchemaVersion = 1;

inline constexpr uint64_t kHeaderBytes = 72;

enum class DecodeStatus {
  ok,
  damaged,  // truncated, garbled, or not an entry at all
  other,    // sound, but of another signature (the names collide) or another schema
};

struct DecodedEntry {
  std::string signature;
  std::string binary;
  std::string source;
};

std::string encode_entry(std::string_view signature, std::string_view binary, std::string_view source);

/// Whether a file of `file_bytes` bytes that starts with `header` (at least kHeaderBytes bytes) can be an entry: magic
/// and sizes agree. Cheap; asked before memory is allocated for the whole file.
bool plausible_header(std::string_view header, uint64_t file_bytes);

/// Decodes a whole file and checks everything. Fills `entry` unless damaged.
DecodeStatus decode_entry(std::string_view file, DecodedEntry* entry);

}  // namespace attnc::cache
