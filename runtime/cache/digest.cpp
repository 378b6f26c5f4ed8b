// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace attnc::cache {

Digest128 digest128(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

uint64_t hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string to_hex(uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) text[static_cast<size_t>(i)] = kDigits[value & 15];
  return text;
}

std::string to_hex(const Digest128& digest) { return to_hex(digest.high) + to_hex(digest.low); }

}  // namespace attnc::cache
