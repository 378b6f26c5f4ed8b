// SPDX-License-Identifier: Apache-2.0
// Checksums of the kernel cache. XXH3 is not cryptographic: it finds accidents (bit rot, truncation, torn writes).
// Against malice the cache relies on ownership and permissions of its directory, and on the full signature stored in
// each entry.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace attnc::cache {

struct Digest128 {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const Digest128&, const Digest128&) = default;
};

/// XXH3-128 of `bytes`. The same on every machine.
Digest128 digest128(std::string_view bytes);

/// XXH3-64 of `bytes`. The same on every machine.
uint64_t hash64(std::string_view bytes);

/// 16 and 32 lower-case hexadecimal digits, most significant first.
std::string to_hex(uint64_t value);
std::string to_hex(const Digest128& digest);

}  // namespace attnc::cache
