// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/usage_record.h"

#include <array>
#include <string_view>

#include "runtime/cache/digest.h"

namespace attnc::cache {
namespace {

// In the byte order of the machine: another one fails the checksum and counts anew, which is harmless.
using Words = std::array<uint64_t, 6>;           // magic, bytes, entries, puts, counted_at, checksum
constexpr uint64_t kMagic = 0x6174746e63757367;  // "attncusg"

uint64_t checksum(const Words& words) {
  return hash64({reinterpret_cast<const char*>(words.data()), sizeof(uint64_t) * (words.size() - 1)});
}

}  // namespace

bool UsageRecord::stale(int64_t now_s) const {
  constexpr uint64_t kPutsPerCount = 256;
  constexpr int64_t kSecondsPerCount = 24 * 3600;
  return puts_since_count >= kPutsPerCount || counted_at_s > now_s || now_s - counted_at_s > kSecondsPerCount;
}

std::optional<UsageRecord> read_usage(System& system, int lock_file) {
  Words words{};
  if (system.read(lock_file, words.data(), sizeof words, 0) != static_cast<ssize_t>(sizeof words)) return std::nullopt;
  if (words[0] != kMagic || words[5] != checksum(words)) return std::nullopt;
  return UsageRecord{words[1], words[2], words[3], static_cast<int64_t>(words[4])};
}

Status write_usage(System& system, int lock_file, const UsageRecord& record) {
  Words words{kMagic, record.bytes, record.entries, record.puts_since_count, static_cast<uint64_t>(record.counted_at_s),
              0};
  words[5] = checksum(words);
  Status status = write_all(system, lock_file, {reinterpret_cast<const char*>(words.data()), sizeof words});
  if (!status.ok()) status.what = "write the usage record";
  return status;
}

}  // namespace attnc::cache
