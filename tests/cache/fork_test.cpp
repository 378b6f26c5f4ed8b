// SPDX-License-Identifier: Apache-2.0
// C16: fork after first use, and two copies of the library in one process.
#include <dlfcn.h>

#include <thread>

#include "tests/cache/cache_copy.h"
#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

TEST(CacheFork, TheChildGoesOnWhateverTheParentWasDoing) {
  const TemporaryDirectory directory;
  KernelCacheOptions options = options_for(directory);
  options.compile_wait = std::chrono::milliseconds(300);
  KernelCache cache(options);
  Builder builder;
  cache.get_or_build("ready", builder.of("ready"));

  // Threads of the parent that look up, compile and fail all the time, so that the fork hits them anywhere.
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) {
        const std::string signature = "churn" + std::to_string((i + t) % 50);
        try {
          cache.get_or_build(signature, [&]() -> BuiltKernel {
            if (i % 3 == 0) throw std::runtime_error("fails");
            return {binary_of(signature), source_of(signature)};
          });
        } catch (const std::runtime_error&) {
        }
        cache.get_or_build("ready", builder.of("ready"));
        if (i % 100 == 99) cache.clear();
      }
    });
  }
  // And one that is in the middle of a long compile throughout.
  std::atomic<bool> compiling{false};
  threads.emplace_back([&] {
    cache.get_or_build("long", [&] {
      compiling = true;
      while (!stop) ::usleep(1000);
      return BuiltKernel{binary_of("long"), source_of("long")};
    });
  });
  while (!compiling) ::usleep(200);

  for (int round = 0; round < 20; ++round) {
    const int status = wait_for(start_child([&] {
      ::alarm(20);
      Builder mine;
      const std::string fresh = "fresh" + std::to_string(round);
      for (const std::string& signature : {std::string("ready"), std::string("churn7"), fresh, std::string("long")}) {
        if (round % 5 != 0 && signature == "long") continue;  // waits for the parent's lock first
        const CachedKernelPtr kernel = cache.get_or_build(signature, mine.of(signature));
        if (kernel->binary != binary_of(signature)) return 1;
      }
      return 0;
    }));
    EXPECT_TRUE(exited_with(status, 0)) << "round " << round << " status " << status;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cache.get_or_build("long", builder.of("long"))->binary, binary_of("long"));
}

TEST(CacheFork, AChildForkedDuringACompileDoesNotKeepTheLock) {
  const TemporaryDirectory directory;
  KernelCache cache(options_for(directory));
  SharedMemory<std::atomic<int>> stop;
  pid_t child = 0;
  cache.get_or_build("key", [&] {
    child = start_child([&] {
      while (*stop == 0) ::usleep(1000);
      return 0;
    });
    return BuiltKernel{binary_of("key"), source_of("key")};
  });
  // The child lives and shares the parent's open lock file. Nobody must wait for it.
  fs::remove(directory.root() / entry_name("key"));
  KernelCacheOptions options = options_for(directory);
  options.compile_wait = std::chrono::milliseconds(10'000);
  Builder builder;
  KernelCache other(options);
  EXPECT_EQ(other.get_or_build("key", builder.of("key"))->binary, binary_of("key"));
  EXPECT_EQ(other.stats().lock_timeouts, 0u);
  *stop = 1;
  EXPECT_TRUE(exited_with(wait_for(child), 0));
}

TEST(CacheFork, AllDescriptorsMayBeClosed) {
  const TemporaryDirectory directory;
  const int status = wait_for(start_child([&] {
    Warnings warnings;
    KernelCache cache(options_for(directory, std::make_shared<ScriptedSystem>(), &warnings));
    Builder builder;
    cache.get_or_build("before", builder.of("before"));
    for (int fd = 3; fd < 1024; ++fd) ::close(fd);  // as daemons do
    cache.get_or_build("after", builder.of("after"));
    Builder again;
    return serves(options_for(directory), "before", again) && serves(options_for(directory), "after", again) &&
                   again.count == 0 && warnings.count() == 0
               ? 0
               : 1;
  }));
  EXPECT_TRUE(exited_with(status, 0)) << status;
}

TEST(CacheTwoCopies, CompileOnceBetweenThem) {
  const TemporaryDirectory directory;
  std::vector<GetOrBuild> copies;
  for (const char* path : {ATTNC_CACHE_COPY_A, ATTNC_CACHE_COPY_B}) {
    void* module = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(module, nullptr) << ::dlerror();
    copies.push_back(reinterpret_cast<GetOrBuild>(::dlsym(module, "attnc_cache_copy_get_or_build")));
    ASSERT_NE(copies.back(), nullptr);
  }
  ASSERT_NE(copies[0], copies[1]);

  for (int round = 0; round < 10; ++round) {
    const std::string signature = "key" + std::to_string(round);
    std::atomic<int> builds{0}, right{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        right += copies[static_cast<size_t>(t % 2)](directory.cache().c_str(), signature.c_str(), &builds);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(builds, 1) << "round " << round;
    EXPECT_EQ(right, 8);
  }
}

}  // namespace
}  // namespace attnc::cache_test
