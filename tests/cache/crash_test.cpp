// SPDX-License-Identifier: Apache-2.0
// C1: kill -9 at any point of a write. No corrupt load, ever; what is left behind is swept by age.
#include <random>

#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

// Kills the process at its n-th system call. With `torn`, a write gets half of its bytes out first.
class FatalSystem : public ScriptedSystem {
 public:
  FatalSystem(int fatal_call, bool torn)
      : ScriptedSystem([fatal_call, torn, this](const Call& call) {
          if (call.index < fatal_call) return 0;
          if (call.index == fatal_call && torn && call.name == "write") {
            torn_ = true;
            return kShort;
          }
          ::kill(::getpid(), SIGKILL);
          return 0;
        }) {}
  ssize_t write(int fd, const void* data, size_t bytes, uint64_t offset) override {
    const ssize_t result = ScriptedSystem::write(fd, data, bytes, offset);
    if (torn_) ::kill(::getpid(), SIGKILL);
    return result;
  }

 private:
  bool torn_ = false;
};

void kill_at_every_call(bool torn, bool warm) {
  const std::string signature = "killed";
  int calls = 0;
  for (int fatal = 1;; ++fatal) {
    const TemporaryDirectory directory;
    Builder builder;
    // In a warm directory the call before the rename replaces a damaged entry.
    if (warm) {
      ASSERT_TRUE(serves(options_for(directory), signature, builder));
      write_file(directory.root() / entry_name(signature), "damaged");
      builder.count = 0;
    }
    const int status = wait_for(start_child([&] {
      Builder in_child;
      return serves(options_for(directory, std::make_shared<FatalSystem>(fatal, torn)), signature, in_child) ? 0 : 1;
    }));
    if (exited_with(status, 0)) {
      calls = fatal - 1;
      break;
    }
    ASSERT_TRUE(killed_by(status, SIGKILL)) << "call " << fatal << " status " << status;
    ASSERT_TRUE(serves(options_for(directory), signature, builder)) << "killed at call " << fatal;
    ASSERT_LE(builder.count, 1);
    ASSERT_TRUE(serves(options_for(directory), signature, builder)) << "killed at call " << fatal;
    ASSERT_LE(builder.count, 1) << "the second process must hit, killed at call " << fatal;
    ASSERT_EQ(KernelCache(options_for(directory)).verify().damaged, 0u) << "killed at call " << fatal;
  }
  EXPECT_GT(calls, 20) << "the seam has come loose";
}

TEST(CacheCrash, KilledAtEveryCallOfAColdPut) { kill_at_every_call(/*torn=*/false, /*warm=*/false); }
TEST(CacheCrash, KilledInTheMiddleOfEveryWrite) { kill_at_every_call(/*torn=*/true, /*warm=*/false); }
TEST(CacheCrash, KilledAtEveryCallOfAReplacement) { kill_at_every_call(/*torn=*/false, /*warm=*/true); }

TEST(CacheCrash, KilledAtRandomTimesUnderLoad) {
  const TemporaryDirectory directory;
  std::mt19937 random(20240607);
  constexpr int kKeys = 40;
  constexpr size_t kBytes = 30'000;
  const auto key = [](unsigned i) { return "key" + std::to_string(i % kKeys); };
  for (int round = 0; round < 60; ++round) {
    const unsigned seed = random();
    std::vector<pid_t> writers;
    for (unsigned writer = 0; writer < 2; ++writer) {
      writers.push_back(start_child([&] {
        Builder builder;
        builder.bytes = kBytes;
        std::mt19937 mine(seed + writer);
        KernelCacheOptions options = options_for(directory, std::make_shared<cache::System>());  // real syncs
        options.max_entries = kKeys / 2;                                                         // and real evictions
        for (;;) {
          if (!serves(options, key(mine()), builder)) return 1;
        }
      }));
    }
    ::usleep(static_cast<useconds_t>(1000 + random() % 20'000));
    for (const pid_t writer : writers) {
      ::kill(writer, SIGKILL);
      ASSERT_TRUE(killed_by(wait_for(writer), SIGKILL)) << "a writer saw wrong bytes";
    }
    const CacheVerified verified = KernelCache(options_for(directory)).verify();
    ASSERT_EQ(verified.problem, "");
    ASSERT_EQ(verified.damaged, 0u) << "round " << round;
  }
  Builder builder;
  builder.bytes = kBytes;
  for (unsigned i = 0; i < kKeys; ++i) EXPECT_TRUE(serves(options_for(directory), key(i), builder));
}

TEST(CacheCrash, LeftoversAreSweptByAge) {
  const TemporaryDirectory directory;
  Builder builder;
  ASSERT_TRUE(serves(options_for(directory), "a", builder));
  const fs::path fresh = directory.root() / cache::temporary_name(entry_name("x"), 1);
  const fs::path old = directory.root() / cache::temporary_name(entry_name("x"), 2);
  const fs::path old_bad = directory.root() / cache::set_aside_name(entry_name("y"));
  const fs::path foreign = directory.root() / "notes.txt";
  for (const fs::path& path : {fresh, old, old_bad, foreign}) write_file(path, "leftover");
  for (const fs::path& path : {old, old_bad, foreign}) set_age(path, std::chrono::hours(2));

  const CacheRemoved removed = KernelCache(options_for(directory)).prune();
  EXPECT_EQ(removed.temporaries, 1u);
  EXPECT_EQ(removed.entries, 1u);
  EXPECT_TRUE(fs::exists(fresh)) << "may still be in the making";
  EXPECT_FALSE(fs::exists(old));
  EXPECT_FALSE(fs::exists(old_bad));
  EXPECT_TRUE(fs::exists(foreign)) << "not ours";
  EXPECT_TRUE(fs::exists(directory.root() / entry_name("a")));
}

TEST(CacheCrash, LeftoversAreSweptByPutsAlone) {
  const TemporaryDirectory directory;
  KernelCacheOptions options = options_for(directory);
  options.max_entries = 10;
  Builder builder;
  ASSERT_TRUE(serves(options, "first", builder));
  const fs::path old = directory.root() / cache::temporary_name(entry_name("x"), 2);
  write_file(old, "leftover");
  set_age(old, std::chrono::hours(2));
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(serves(options, "key" + std::to_string(i), builder));
  EXPECT_FALSE(fs::exists(old));
}

}  // namespace
}  // namespace attnc::cache_test
