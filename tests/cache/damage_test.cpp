// SPDX-License-Identifier: Apache-2.0
// C2: truncation at every byte, any bit flipped, anything appended.
#include "runtime/cache/entry_format.h"
#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

using cache::decode_entry;
using cache::DecodedEntry;
using cache::DecodeStatus;
using cache::encode_entry;

TEST(CacheEntryFormat, RoundTripsAllSizes) {
  for (const size_t signature_bytes : {0, 1, 300}) {
    for (const size_t binary_bytes : {0, 1, 7000}) {
      for (const size_t source_bytes : {0, 1, 900}) {
        const std::string signature = binary_of("s", signature_bytes);
        const std::string binary = binary_of("b", binary_bytes);
        const std::string source = binary_of("t", source_bytes);
        DecodedEntry entry;
        ASSERT_EQ(decode_entry(encode_entry(signature, binary, source), &entry), DecodeStatus::ok);
        EXPECT_EQ(entry.signature, signature);
        EXPECT_EQ(entry.binary, binary);
        EXPECT_EQ(entry.source, source);
      }
    }
  }
}

TEST(CacheEntryFormat, LayoutIsAsDocumented) {
  const std::string file = encode_entry("sig", "BINARY", "text");
  ASSERT_EQ(file.size(), 72u + 3 + 6 + 4);
  EXPECT_EQ(file.substr(0, 8), std::string("\x89"
                                           "ATTNC\r\n"));
  EXPECT_EQ(file.substr(8, 8), std::string("\x01\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(file.substr(16, 8), std::string("\x03\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(file.substr(72), "sigBINARYtext");
}

TEST(CacheEntryFormat, EveryBitOfALargeFileMatters) {
  const std::string file = encode_entry("signature", binary_of("b", 40'000), "source");
  DecodedEntry entry;
  // All bits of header and signature, then every 13th: a payload checksum has no special places.
  for (size_t bit = 0; bit < file.size() * 8; bit += bit < 8 * 100 ? 1 : 13 * 97) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_EQ(decode_entry(flipped, &entry), DecodeStatus::damaged) << "bit " << bit;
  }
}

TEST(CacheEntryFormat, HugeSizesDoNotOverflow) {
  const std::string file = encode_entry("signature", "binary", "source");
  for (const size_t at : {16, 24, 32}) {
    for (const uint64_t size : {UINT64_MAX, UINT64_MAX - 71, uint64_t{1} << 63, uint64_t{1} << 40}) {
      std::string bad = file;
      for (size_t i = 0; i < 8; ++i) bad[at + i] = static_cast<char>(size >> (8 * i));
      DecodedEntry entry;
      EXPECT_EQ(decode_entry(bad, &entry), DecodeStatus::damaged);
    }
  }
}

class CacheDamage : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(serves(options_for(directory_), signature_, builder_));
    whole_ = read_file(entry_);
    ASSERT_GT(whole_.size(), 200u);
  }

  // Puts `contents` in place of the entry; the next process must build and replace it, the one after must hit.
  void expect_heals(const std::string& contents, const std::string& what) {
    write_file(entry_, contents);
    fs::remove(set_aside_);
    builder_.count = 0;
    Warnings warnings;
    ASSERT_TRUE(serves(options_for(directory_, std::make_shared<ScriptedSystem>(), &warnings), signature_, builder_))
        << what;
    ASSERT_EQ(builder_.count, 1) << what;
    ASSERT_LE(warnings.count(), 1u) << warnings.text();
    ASSERT_EQ(read_file(set_aside_), contents) << what;
    ASSERT_EQ(read_file(entry_), whole_) << what;
  }

  TemporaryDirectory directory_;
  const std::string signature_ = "target=sm_90a;plan=...;mods=...";
  Builder builder_;
  const fs::path entry_ = directory_.root() / entry_name(signature_);
  const fs::path set_aside_ = directory_.root() / (entry_name(signature_) + ".bad");
  std::string whole_;
};

TEST_F(CacheDamage, TruncatedAtEveryByte) {
  for (size_t bytes = 0; bytes < whole_.size(); ++bytes) {
    ASSERT_NO_FATAL_FAILURE(expect_heals(whole_.substr(0, bytes), "truncated to " + std::to_string(bytes)));
  }
}

TEST_F(CacheDamage, EveryBitFlipped) {
  for (size_t bit = 0; bit < whole_.size() * 8; ++bit) {
    std::string flipped = whole_;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_NO_FATAL_FAILURE(expect_heals(flipped, "bit " + std::to_string(bit)));
  }
}

TEST_F(CacheDamage, AppendedAndReplaced) {
  expect_heals(whole_ + '\0', "a byte appended");
  expect_heals(whole_ + whole_, "doubled");
  expect_heals(std::string(whole_.size(), '\0'), "zeros, as after a crash of the machine");
  expect_heals("\n", "a newline");
}

TEST_F(CacheDamage, HugeSparseFileIsNotRead) {
  ASSERT_EQ(::truncate(entry_.c_str(), off_t{1} << 40), 0);  // magic and sizes of the old header, 1 TiB long
  int reads = 0;
  const auto system = std::make_shared<ScriptedSystem>([&](const Call& call) {
    reads += call.name == "read";
    return 0;
  });
  KernelCache cache(options_for(directory_, system));
  int builds = 0;
  cache.get_or_build(signature_, [&] {
    ++builds;
    EXPECT_EQ(reads, 2) << "the header, once before and once under the lock";
    return BuiltKernel{};
  });
  EXPECT_EQ(builds, 1);
}

TEST_F(CacheDamage, WarnsOnceAboutManyDamagedEntries) {
  Warnings warnings;
  KernelCache cache(options_for(directory_, std::make_shared<ScriptedSystem>(), &warnings));
  for (int i = 0; i < 5; ++i) {
    const std::string signature = "other" + std::to_string(i);
    write_file(directory_.root() / entry_name(signature), "garbage");
    EXPECT_EQ(cache.get_or_build(signature, builder_.of(signature))->binary, binary_of(signature));
  }
  EXPECT_EQ(warnings.count(), 1u) << warnings.text();
  EXPECT_EQ(cache.stats().damaged, 5u);
}

}  // namespace
}  // namespace attnc::cache_test
