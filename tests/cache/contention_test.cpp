// SPDX-License-Identifier: Apache-2.0
// C5: N processes x M threads want one cold key. C6: the process that compiles is killed or stopped.
#include <thread>

#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Sleeps long between looks: a thousand threads that poll would leave two cores no time for the test.
void wait_until(const std::atomic<int>& value, int at_least) {
  while (value < at_least) ::usleep(5000);
}

struct Shared {
  std::atomic<int> ready{0};
  std::atomic<int> go{0};
  std::atomic<int> builds{0};
  std::atomic<int> right{0};
};

TEST(CacheContention, SixteenProcessesOf64ThreadsCompileOnce) {
  constexpr int kProcesses = 16, kThreads = 64;
  const TemporaryDirectory directory;
  const std::string signature = "everybody wants this";
  SharedMemory<Shared> shared;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.push_back(start_child([&] {
      KernelCache cache(options_for(directory));
      std::vector<std::thread> threads;
      for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
          ++shared->ready;
          wait_until(shared->go, 1);
          // Each build yields other bytes, so "the same bytes" cannot hold by accident.
          const CachedKernelPtr kernel = cache.get_or_build(signature, [&] {
            ++shared->builds;
            ::usleep(50'000);
            return BuiltKernel{"built by " + std::to_string(::getpid()), "source"};
          });
          const std::string file = read_file(directory.root() / entry_name(signature));
          shared->right += file.find(kernel->binary) != std::string::npos;
        });
      }
      for (std::thread& thread : threads) thread.join();
      return 0;
    }));
  }
  wait_until(shared->ready, kProcesses * kThreads);
  shared->go = 1;
  for (const pid_t child : children) EXPECT_TRUE(exited_with(wait_for(child), 0));
  EXPECT_EQ(shared->builds, 1);
  EXPECT_EQ(shared->right, kProcesses * kThreads);
}

TEST(CacheContention, ManyKeysAreEachCompiledOnce) {
  constexpr int kProcesses = 4, kKeys = 100;
  const TemporaryDirectory directory;
  SharedMemory<Shared> shared;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.push_back(start_child([&, p] {
      KernelCache cache(options_for(directory));
      Builder builder;
      for (int i = 0; i < kKeys; ++i) {
        const std::string signature = "key" + std::to_string((i * 37 + p * 11) % kKeys);
        shared->right += cache.get_or_build(signature, builder.of(signature))->binary == binary_of(signature);
      }
      shared->builds += builder.count;
      return 0;
    }));
  }
  for (const pid_t child : children) EXPECT_TRUE(exited_with(wait_for(child), 0));
  EXPECT_EQ(shared->builds, kKeys);
  EXPECT_EQ(shared->right, kKeys * kProcesses);
}

TEST(CacheContention, DifferentKeysCompileAtTheSameTime) {
  const TemporaryDirectory directory;
  KernelCache cache(options_for(directory));
  std::atomic<int> building{0};
  const auto build = [&] {
    ++building;
    wait_until(building, 2);  // hangs, and the test times out, if one key waits for the other
    return BuiltKernel{"binary", "source"};
  };
  std::thread other([&] { cache.get_or_build("a", build); });
  cache.get_or_build("b", build);
  other.join();
}

TEST(CacheContention, OneBuildMayNeedAnother) {
  const TemporaryDirectory directory;
  KernelCache cache(options_for(directory));
  const CachedKernelPtr outer = cache.get_or_build("outer", [&] {
    return BuiltKernel{cache.get_or_build("inner", [] { return BuiltKernel{"i", ""}; })->binary + "o", ""};
  });
  EXPECT_EQ(outer->binary, "io");
}

TEST(CacheContention, AFailedCompileReachesAllWaitersAndIsNotRemembered) {
  const TemporaryDirectory directory;
  KernelCache cache(options_for(directory));
  std::atomic<int> attempts{0}, failures{0}, waiting{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      ++waiting;
      try {
        cache.get_or_build("key", [&]() -> BuiltKernel {
          ++attempts;
          wait_until(waiting, 8);
          ::usleep(20'000);
          throw std::runtime_error("does not compile");
        });
      } catch (const std::runtime_error& error) {
        failures += std::string(error.what()) == "does not compile";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 8);
  EXPECT_LE(attempts, 8);
  Builder builder;
  EXPECT_EQ(cache.get_or_build("key", builder.of("key"))->binary, binary_of("key"));
  EXPECT_EQ(builder.count, 1);
  EXPECT_EQ(cache.stats().builds, 1u);
}

class CacheTakeOver : public ::testing::Test {
 protected:
  // A child that reports when it is compiling, and then takes a second.
  pid_t start_slow_compile() {
    const pid_t child = start_child([this] {
      KernelCache cache(options_for(directory_));
      const CachedKernelPtr kernel = cache.get_or_build(signature_, [this] {
        shared_->ready = 1;
        wait_until(shared_->go, 1);
        return BuiltKernel{binary_of(signature_), source_of(signature_)};
      });
      return kernel->binary == binary_of(signature_) ? 0 : 1;
    });
    wait_until(shared_->ready, 1);
    return child;
  }

  TemporaryDirectory directory_;
  const std::string signature_ = "slow";
  SharedMemory<Shared> shared_;
  Builder builder_;
};

TEST_F(CacheTakeOver, KilledWhileCompiling) {
  const pid_t child = start_slow_compile();
  std::thread killer([&] {
    ::usleep(100'000);
    ::kill(child, SIGKILL);
  });
  KernelCacheOptions options = options_for(directory_);
  options.compile_wait = milliseconds(50'000);
  const auto start = steady_clock::now();
  EXPECT_TRUE(serves(options, signature_, builder_));
  EXPECT_LT(steady_clock::now() - start, milliseconds(20'000)) << "taken over, not waited out";
  EXPECT_EQ(builder_.count, 1);
  killer.join();
  EXPECT_TRUE(killed_by(wait_for(child), SIGKILL));
}

TEST_F(CacheTakeOver, StoppedWhileCompiling) {
  const pid_t child = start_slow_compile();
  ASSERT_EQ(::kill(child, SIGSTOP), 0);
  Warnings warnings;
  KernelCacheOptions options = options_for(directory_, std::make_shared<ScriptedSystem>(), &warnings);
  options.compile_wait = milliseconds(150);
  const auto start = steady_clock::now();
  KernelCache cache(options);
  EXPECT_EQ(cache.get_or_build(signature_, builder_.of(signature_))->binary, binary_of(signature_));
  EXPECT_GE(steady_clock::now() - start, milliseconds(150));
  EXPECT_EQ(builder_.count, 1) << "a private compile";
  EXPECT_EQ(cache.stats().lock_timeouts, 1u);
  EXPECT_EQ(warnings.count(), 1u);
  // It was published, so the next one waits for nobody.
  EXPECT_TRUE(serves(options_for(directory_), signature_, builder_));
  EXPECT_EQ(builder_.count, 1);
  shared_->go = 1;
  ::kill(child, SIGCONT);
  EXPECT_TRUE(exited_with(wait_for(child), 0)) << "the one that was stopped finishes as if nothing had happened";
  EXPECT_TRUE(serves(options_for(directory_), signature_, builder_));
  EXPECT_EQ(builder_.count, 1);
}

TEST_F(CacheTakeOver, WaitersGetWhatASlowProcessCompiles) {
  const pid_t child = start_slow_compile();
  std::thread later([&] {
    ::usleep(100'000);
    shared_->go = 1;
  });
  EXPECT_TRUE(serves(options_for(directory_), signature_, builder_));
  EXPECT_EQ(builder_.count, 0);
  later.join();
  EXPECT_TRUE(exited_with(wait_for(child), 0));
}

TEST_F(CacheTakeOver, StoppedInTheMiddleOfAPut) {
  // Stops just before the rename: it holds the locks of its key and of the usage record.
  const pid_t child = start_child([this] {
    const auto system = std::make_shared<ScriptedSystem>([](const Call& call) {
      if (call.name == "rename_at") ::kill(::getpid(), SIGSTOP);
      return 0;
    });
    Builder builder;
    return serves(options_for(directory_, system), signature_, builder) ? 0 : 1;
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  KernelCacheOptions options = options_for(directory_);
  options.compile_wait = milliseconds(100);
  options.max_entries = 3;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(serves(options, "other" + std::to_string(i), builder_));
    EXPECT_LE(count_kind(directory_.root(), cache::NameKind::entry), 3u);
  }
  EXPECT_TRUE(serves(options, signature_, builder_));
  ::kill(child, SIGCONT);
  EXPECT_TRUE(exited_with(wait_for(child), 0));
  EXPECT_EQ(KernelCache(options).verify().damaged, 0u);
  // One more than the limit was in flight; the next counts bring that down.
  EXPECT_TRUE(serves(options, "last", builder_));
  EXPECT_LE(count_kind(directory_.root(), cache::NameKind::entry), 4u);
}

}  // namespace
}  // namespace attnc::cache_test
