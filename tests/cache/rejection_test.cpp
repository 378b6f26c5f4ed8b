// SPDX-License-Identifier: Apache-2.0
// C15: the entry verifies but the driver rejects the binary: delete, recompile once, then the error.
#include <thread>

#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

const std::string kSignature = "key";

// Publishes a sound entry whose binary no driver will take.
void plant(const TemporaryDirectory& directory) {
  KernelCache(options_for(directory)).get_or_build(kSignature, [] { return BuiltKernel{"rejected", "source"}; });
}

TEST(CacheRejection, RecompilesOnce) {
  const TemporaryDirectory directory;
  plant(directory);
  KernelCache cache(options_for(directory));
  Builder builder;
  const CachedKernelPtr bad = cache.get_or_build(kSignature, builder.of(kSignature));
  ASSERT_EQ(bad->binary, "rejected");
  ASSERT_EQ(bad->origin, CachedKernel::Origin::disk);
  const CachedKernelPtr good = cache.replace_rejected(kSignature, bad, builder.of(kSignature));
  ASSERT_NE(good, nullptr);
  EXPECT_EQ(good->binary, binary_of(kSignature));
  EXPECT_EQ(builder.count, 1);
  EXPECT_EQ(cache.find(kSignature), good);
  EXPECT_TRUE(serves(options_for(directory), kSignature, builder));
  EXPECT_EQ(builder.count, 1) << "the good one was published";
}

TEST(CacheRejection, ThenItIsTheCallersError) {
  const TemporaryDirectory directory;
  KernelCache cache(options_for(directory));
  int builds = 0;
  const BuildFunction build = [&] {
    ++builds;
    return BuiltKernel{"rejected", "source"};
  };
  const CachedKernelPtr bad = cache.get_or_build(kSignature, build);
  EXPECT_EQ(cache.replace_rejected(kSignature, bad, build), nullptr);
  EXPECT_EQ(builds, 1);
  EXPECT_EQ(cache.find(kSignature), nullptr);
  EXPECT_FALSE(fs::exists(directory.root() / entry_name(kSignature))) << "nobody else should stumble over it";
}

TEST(CacheRejection, RejectedFromDiskAndAgainAfterTheCompile) {
  const TemporaryDirectory directory;
  plant(directory);
  KernelCache cache(options_for(directory));
  int builds = 0;
  const BuildFunction build = [&] {
    ++builds;
    return BuiltKernel{"rejected too", "source"};
  };
  CachedKernelPtr kernel = cache.get_or_build(kSignature, build);
  int rejections = 0;
  for (; kernel != nullptr; ++rejections) kernel = cache.replace_rejected(kSignature, kernel, build);
  EXPECT_EQ(builds, 1);
  EXPECT_EQ(rejections, 2);
}

TEST(CacheRejection, ManyThreadsRecompileOnceBetweenThem) {
  const TemporaryDirectory directory;
  plant(directory);
  KernelCache cache(options_for(directory));
  Builder builder;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      CachedKernelPtr kernel = cache.get_or_build(kSignature, builder.of(kSignature));
      if (kernel->binary == "rejected") kernel = cache.replace_rejected(kSignature, kernel, builder.of(kSignature));
      right += kernel != nullptr && kernel->binary == binary_of(kSignature);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 16);
  EXPECT_EQ(builder.count, 1);
}

TEST(CacheRejection, AReplacementByAnotherProcessIsUsed) {
  const TemporaryDirectory directory;
  plant(directory);
  KernelCache mine(options_for(directory)), theirs(options_for(directory));
  Builder builder;
  const CachedKernelPtr my_bad = mine.get_or_build(kSignature, builder.of(kSignature));
  const CachedKernelPtr their_bad = theirs.get_or_build(kSignature, builder.of(kSignature));
  theirs.replace_rejected(kSignature, their_bad, builder.of(kSignature));
  const CachedKernelPtr replaced = mine.replace_rejected(kSignature, my_bad, builder.of(kSignature));
  ASSERT_NE(replaced, nullptr);
  EXPECT_EQ(replaced->binary, binary_of(kSignature));
  EXPECT_EQ(replaced->origin, CachedKernel::Origin::disk);
  EXPECT_EQ(builder.count, 1);
}

}  // namespace
}  // namespace attnc::cache_test
