// SPDX-License-Identifier: Apache-2.0
// Cache control through the C API, on a directory of its own.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support.h"

namespace attnc::c_api_test {
namespace {

class CApiCache : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "attnc_c_api_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  attnc_cache_stats stats() {
    auto s = sized<attnc_cache_stats>();
    char* where = nullptr;
    const Answer answer =
        ask([&](attnc_error** e) { return attnc_cache_get_stats(directory_.c_str(), &s, &where, e); });
    const TextPtr owned(where);
    EXPECT_EQ(answer.status, ATTNC_OK) << answer.message;
    EXPECT_TRUE(std::string(where).starts_with(directory_)) << where;
    return s;
  }

  void compile(const char* score_mod) {
    auto o = sized<attnc_attention_options>();
    o.score_mod = score_mod;
    o.head_dim = 16;
    o.cache_dir = directory_.c_str();
    attnc_attention* raw = nullptr;
    ASSERT_EQ(attnc_attention_create(&o, &raw, nullptr), ATTNC_OK);
    const AttentionPtr attention(raw);
    ASSERT_EQ(attnc_attention_prepare(raw, nullptr), ATTNC_OK);
  }

  std::string directory_;
};

TEST_F(CApiCache, CountsVerifiesPrunesAndClears) {
  EXPECT_EQ(stats().entries, 0u);
  compile("score * 2.0");
  compile("score * 3.0");
  const attnc_cache_stats two = stats();
  EXPECT_EQ(two.entries, 2u);
  EXPECT_GT(two.bytes, 1000u);
  EXPECT_GT(two.max_bytes, two.bytes);

  std::uint64_t good = 9, damaged = 9;
  EXPECT_EQ(attnc_cache_verify(directory_.c_str(), &good, &damaged, nullptr), ATTNC_OK);
  EXPECT_EQ(good, 2u);
  EXPECT_EQ(damaged, 0u);

  std::uint64_t entries = 9, bytes = 0;
  EXPECT_EQ(attnc_cache_prune(directory_.c_str(), UINT64_MAX, 1, &entries, &bytes, nullptr), ATTNC_OK);
  EXPECT_EQ(entries, 1u);
  EXPECT_GT(bytes, 0u);
  EXPECT_EQ(stats().entries, 1u);

  EXPECT_EQ(attnc_cache_clear(directory_.c_str(), &entries, nullptr, nullptr), ATTNC_OK);
  EXPECT_EQ(entries, 1u);
  EXPECT_EQ(stats().entries, 0u);
}

TEST_F(CApiCache, FindsDamage) {
  compile("score * 2.0");
  int flipped = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory_))
    if (file.is_regular_file() && file.path().filename().string().size() == 32) {
      std::fstream stream(file.path(), std::ios::in | std::ios::out | std::ios::binary);
      stream.seekp(-1, std::ios::end);
      stream.put('\x5a');
      stream.seekp(-9, std::ios::end);
      stream.put('\x5a');
      ++flipped;
    }
  ASSERT_EQ(flipped, 1);
  std::uint64_t good = 9, damaged = 9;
  EXPECT_EQ(attnc_cache_verify(directory_.c_str(), &good, &damaged, nullptr), ATTNC_OK);
  EXPECT_EQ(good, 0u);
  EXPECT_EQ(damaged, 1u);
  EXPECT_EQ(stats().set_aside, 1u);
}

TEST_F(CApiCache, ADirectoryThatCannotBeReadIsAnError) {
  const std::string file = directory_ + "/file";
  std::ofstream(file) << "not a directory";
  const std::string below = file + "/cache";
  auto s = sized<attnc_cache_stats>();
  const Answer answer = ask([&](attnc_error** e) { return attnc_cache_get_stats(below.c_str(), &s, nullptr, e); });
  EXPECT_EQ(answer.status, ATTNC_IO);
  EXPECT_NE(answer.message.find("file"), std::string::npos) << answer.message;
}

}  // namespace
}  // namespace attnc::c_api_test
