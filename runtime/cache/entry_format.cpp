// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/entry_format.h"

#include "runtime/cache/digest.h"

namespace attnc::cache {
namespace {

constexpr std::string_view kMagic(
    "\x89"
    "ATTNC\r\n",
    8);
constexpr size_t kSchemaAt = 8;
constexpr size_t kSignatureBytesAt = 16;
constexpr size_t kBinaryBytesAt = 24;
constexpr size_t kSourceBytesAt = 32;
constexpr size_t kPayloadDigestAt = 40;
constexpr size_t kHeaderDigestAt = 56;

void append(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

void append(std::string* out, const Digest128& digest) {
  append(out, digest.high, 8);
  append(out, digest.low, 8);
}

uint64_t get(std::string_view bytes, size_t at, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[at + static_cast<size_t>(i)])) << (8 * i);
  }
  return value;
}

Digest128 get_digest(std::string_view bytes, size_t at) { return {get(bytes, at, 8), get(bytes, at + 8, 8)}; }

Digest128 header_digest(std::string_view file, uint64_t signature_bytes) {
  std::string covered(file.substr(0, kHeaderDigestAt));
  covered.append(file.substr(kHeaderBytes, signature_bytes));
  return digest128(covered);
}

}  // namespace

std::string encode_entry(std::string_view signature, std::string_view binary, std::string_view source) {
  std::string payload;
  payload.reserve(binary.size() + source.size());
  payload.append(binary).append(source);

  std::string file;
  file.reserve(kHeaderBytes + signature.size() + payload.size());
  file.append(kMagic);
  append(&file, kSchemaVersion, 4);
  append(&file, 0, 4);
  append(&file, signature.size(), 8);
  append(&file, binary.size(), 8);
  append(&file, source.size(), 8);
  append(&file, digest128(payload));
  std::string covered = file;
  append(&file, digest128(covered.append(signature)));
  file.append(signature).append(payload);
  return file;
}

bool plausible_header(std::string_view header, uint64_t file_bytes) {
  if (header.size() < kHeaderBytes || header.substr(0, kMagic.size()) != kMagic) return false;
  uint64_t left = file_bytes;
  if (left < kHeaderBytes) return false;
  left -= kHeaderBytes;
  for (const size_t at : {kSignatureBytesAt, kBinaryBytesAt, kSourceBytesAt}) {
    const uint64_t part = get(header, at, 8);
    if (part > left) return false;  // by subtraction, so that no sum can overflow
    left -= part;
  }
  return left == 0;
}

DecodeStatus decode_entry(std::string_view file, DecodedEntry* entry) {
  if (!plausible_header(file, file.size())) return DecodeStatus::damaged;
  const uint64_t signature_bytes = get(file, kSignatureBytesAt, 8);
  const uint64_t binary_bytes = get(file, kBinaryBytesAt, 8);
  if (header_digest(file, signature_bytes) != get_digest(file, kHeaderDigestAt)) return DecodeStatus::damaged;
  const std::string_view payload = file.substr(kHeaderBytes + signature_bytes);
  if (digest128(payload) != get_digest(file, kPayloadDigestAt)) return DecodeStatus::damaged;

  entry->signature = file.substr(kHeaderBytes, signature_bytes);
  entry->binary = payload.substr(0, binary_bytes);
  entry->source = payload.substr(binary_bytes);
  return get(file, kSchemaAt, 4) == kSchemaVersion ? DecodeStatus::ok : DecodeStatus::other;
}

}  // namespace attnc::cache
