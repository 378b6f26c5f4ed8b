// SPDX-License-Identifier: Apache-2.0
// What `attnc cache stats|verify|prune|clear` stand on.
#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

class CacheAdmin : public ::testing::Test {
 protected:
  void fill(int entries) {
    KernelCache cache(options_for(directory_));
    for (int i = 0; i < entries; ++i) {
      cache.get_or_build(key(i), builder_.of(key(i)));
      set_age(entry(i), std::chrono::minutes(100 - i));
    }
  }
  static std::string key(int i) { return "key" + std::to_string(i); }
  fs::path entry(int i) const { return directory_.root() / entry_name(key(i)); }

  TemporaryDirectory directory_;
  Builder builder_;
};

TEST_F(CacheAdmin, AnEmptyCacheIsNotAProblemAndIsNotCreated) {
  KernelCache cache(options_for(directory_));
  const CacheStats stats = cache.stats();
  EXPECT_EQ(stats.problem, "");
  EXPECT_EQ(stats.directory, directory_.root().string());
  EXPECT_EQ(stats.entries, 0u);
  EXPECT_EQ(cache.verify().problem, "");
  EXPECT_EQ(cache.prune().problem, "");
  EXPECT_EQ(cache.clear().problem, "");
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

TEST_F(CacheAdmin, StatsCount) {
  fill(3);
  write_file(directory_.root() / cache::temporary_name(entry_name("x"), 1), "12345");
  write_file(directory_.root() / cache::set_aside_name(entry_name("x")), "1234567");
  KernelCache cache(options_for(directory_));
  cache.get_or_build(key(0), builder_.of(key(0)));
  cache.get_or_build("new", builder_.of("new"));
  cache.get_or_build("new", builder_.of("new"));
  const CacheStats stats = cache.stats();
  EXPECT_EQ(stats.entries, 4u);
  EXPECT_EQ(stats.temporaries, 1u);
  EXPECT_EQ(stats.set_aside, 1u);
  EXPECT_EQ(stats.bytes, 3 * fs::file_size(entry(0)) + fs::file_size(directory_.root() / entry_name("new")) + 5 + 7);
  EXPECT_EQ(stats.disk_hits, 1u);
  EXPECT_EQ(stats.builds, 1u);
  EXPECT_EQ(stats.in_memory, 2u);
}

TEST_F(CacheAdmin, VerifySetsAsideWhatIsDamaged) {
  fill(5);
  write_file(entry(1), "garbage");
  fs::rename(entry(2), directory_.root() / entry_name("misnamed"));
  const CacheVerified verified = KernelCache(options_for(directory_)).verify();
  EXPECT_EQ(verified.problem, "");
  EXPECT_EQ(verified.good, 3u);
  EXPECT_EQ(verified.damaged, 2u);
  const CacheVerified again = KernelCache(options_for(directory_)).verify();
  EXPECT_EQ(again.good, 3u);
  EXPECT_EQ(again.damaged, 0u);
}

TEST_F(CacheAdmin, PruneShrinksToTheGivenLimits) {
  fill(10);
  KernelCache cache(options_for(directory_));
  EXPECT_EQ(cache.prune().entries, 0u);
  const CacheRemoved removed = cache.prune(UINT64_MAX, 4);
  EXPECT_EQ(removed.entries, 6u);
  EXPECT_EQ(removed.problem, "");
  EXPECT_FALSE(fs::exists(entry(5)));
  EXPECT_TRUE(fs::exists(entry(6)));
  EXPECT_EQ(cache.prune(fs::file_size(entry(6)) * 2, UINT64_MAX).entries, 2u);
  EXPECT_EQ(count_kind(directory_.root(), cache::NameKind::entry), 2u);
}

TEST_F(CacheAdmin, ClearEmptiesDirectoryAndMemory) {
  fill(3);
  write_file(directory_.root() / cache::temporary_name(entry_name("x"), 1), "fresh");
  KernelCache cache(options_for(directory_));
  const CachedKernelPtr held = cache.get_or_build(key(0), builder_.of(key(0)));
  const CacheRemoved removed = cache.clear();
  EXPECT_EQ(removed.problem, "");
  EXPECT_EQ(removed.entries, 3u);
  EXPECT_EQ(removed.temporaries, 1u);
  EXPECT_EQ(names_in(directory_.root()), std::vector<std::string>{"lock"});
  EXPECT_EQ(held->binary, binary_of(key(0))) << "what is held stays usable";
  builder_.count = 0;
  cache.get_or_build(key(0), builder_.of(key(0)));
  EXPECT_EQ(builder_.count, 1);
}

TEST_F(CacheAdmin, AFileThatVanishesMeanwhileIsNotAProblem) {
  fill(2);
  const auto system = std::make_shared<ScriptedSystem>(
      [](const Call& call) { return call.name == "stat_at" && call.path == entry_name(key(0)) ? -ENOENT : 0; });
  const CacheStats stats = KernelCache(options_for(directory_, system)).stats();
  EXPECT_EQ(stats.problem, "");
  EXPECT_EQ(stats.entries, 1u);
}

TEST_F(CacheAdmin, ProblemsAreReported) {
  fill(1);
  const auto broken = [&](const char* name) {
    return KernelCache(options_for(
        directory_, std::make_shared<ScriptedSystem>([=](const Call& call) { return call.name == name ? -EIO : 0; })));
  };
  EXPECT_NE(broken("list").stats().problem, "");
  EXPECT_NE(broken("read").verify().problem, "");
  EXPECT_NE(broken("list").prune().problem, "");
  EXPECT_NE(broken("unlink_at").clear().problem, "");
}

}  // namespace
}  // namespace attnc::cache_test
