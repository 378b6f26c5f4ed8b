// SPDX-License-Identifier: Apache-2.0
// C9: anything that changes the binary is in the signature, and any other signature is a miss. C10: two signatures with
// one digest.
#include "runtime/cache/entry_format.h"
#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

TEST(CacheKeys, AnyChangedFieldIsAMiss) {
  const TemporaryDirectory directory;
  using Fields = std::vector<std::pair<std::string, std::string>>;
  const Fields base = {{"nvrtc", "13.0.88"},        {"llvm", "19.1.7"},        {"driver", "580.65"}, {"arch", "sm_90"},
                       {"cpu", "avx512f,avx512bf"}, {"templates", "0a1b2c3d"}, {"flags", "-O3"},     {"mods", "score"}};
  const Fields changed = {{"nvrtc", "13.0.89"}, {"llvm", "19.1.6"},        {"driver", "580.66"}, {"arch", "sm_90a"},
                          {"cpu", "avx512f"},   {"templates", "0a1b2c3e"}, {"flags", "-O3 -G"},  {"mods", "score "}};
  const auto text = [](const Fields& fields) {
    std::string all;
    for (const auto& [name, value] : fields) all += name + "=" + value + "\n";
    return all;
  };
  Builder builder;
  ASSERT_TRUE(serves(options_for(directory), text(base), builder));
  for (size_t i = 0; i < base.size(); ++i) {
    Fields other = base;
    other[i] = changed[i];
    builder.count = 0;
    EXPECT_TRUE(serves(options_for(directory), text(other), builder));
    EXPECT_EQ(builder.count, 1) << changed[i].first << " changed: a stale load";
    EXPECT_TRUE(serves(options_for(directory), text(other), builder));
    EXPECT_TRUE(serves(options_for(directory), text(base), builder));
    EXPECT_EQ(builder.count, 1) << "both stay";
  }
}

TEST(CacheKeys, AnEntryUnderAnotherNameIsAMiss) {
  const TemporaryDirectory directory;
  Builder builder;
  ASSERT_TRUE(serves(options_for(directory), "sm_90", builder));
  fs::copy_file(directory.root() / entry_name("sm_90"), directory.root() / entry_name("sm_90a"));
  EXPECT_TRUE(serves(options_for(directory), "sm_90a", builder));
  EXPECT_EQ(builder.count, 2);
}

TEST(CacheKeys, AnotherSchemaIsAMissEvenWithRightChecksums) {
  const TemporaryDirectory directory;
  Builder builder;
  const std::string signature = "key";
  ASSERT_TRUE(serves(options_for(directory), signature, builder));
  const fs::path entry = directory.root() / entry_name(signature);
  std::string file = read_file(entry);
  file[8] = static_cast<char>(cache::kSchemaVersion + 1);
  const cache::Digest128 digest = cache::digest128(file.substr(0, 56) + signature);
  for (size_t i = 0; i < 8; ++i) {
    file[56 + i] = static_cast<char>(digest.high >> (8 * i));
    file[64 + i] = static_cast<char>(digest.low >> (8 * i));
  }
  cache::DecodedEntry decoded;
  ASSERT_EQ(cache::decode_entry(file, &decoded), cache::DecodeStatus::other);
  write_file(entry, file);
  EXPECT_TRUE(serves(options_for(directory), signature, builder));
  EXPECT_EQ(builder.count, 2);
  EXPECT_TRUE(serves(options_for(directory), signature, builder));
  EXPECT_EQ(builder.count, 2) << "replaced";
}

TEST(CacheKeys, TwoSignaturesWithOneDigest) {
  const TemporaryDirectory directory;
  Warnings warnings;
  KernelCacheOptions options = options_for(directory, std::make_shared<ScriptedSystem>(), &warnings);
  options.digest = [](std::string_view) { return cache::Digest128{1, 2}; };
  Builder builder;
  KernelCache cache(options);
  for (int round = 0; round < 2; ++round) {
    for (const std::string& signature : {std::string("one"), std::string("two"), std::string("three")}) {
      EXPECT_EQ(cache.get_or_build(signature, builder.of(signature))->binary, binary_of(signature));
    }
  }
  EXPECT_EQ(builder.count, 3) << "in memory each is found under its own signature";
  EXPECT_TRUE(serves(options, "three", builder));
  EXPECT_EQ(builder.count, 3) << "the last one holds the file";
  EXPECT_TRUE(serves(options, "one", builder));
  EXPECT_EQ(builder.count, 4);
  EXPECT_EQ(warnings.count(), 0u) << "no damage: " << warnings.text();
  EXPECT_EQ(count_kind(directory.root(), cache::NameKind::set_aside), 0u);
  EXPECT_EQ(count_kind(directory.root(), cache::NameKind::entry), 1u);
}

}  // namespace
}  // namespace attnc::cache_test
