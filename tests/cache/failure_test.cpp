// SPDX-License-Identifier: Apache-2.0
// C3: the n-th system call fails, for every n and every plausible reason. C7: no locks. C8: a rename that is not
// visible. C14: the directory goes away.
#include <fcntl.h>
#include <sys/resource.h>

#include "tests/cache/support.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ATTNC_HAS_SANITIZER 1
#endif
#endif

namespace attnc::cache_test {
namespace {

const std::string kSignature = "target=sm_80";

enum class Mode { once, from_then_on };
enum class Start { cold, warm, damaged, full };

void prepare(const TemporaryDirectory& directory, Start start) {
  Builder builder;
  if (start == Start::cold) return;
  if (start == Start::full) {
    ASSERT_TRUE(serves(options_for(directory), "another", builder));
    return;
  }
  ASSERT_TRUE(serves(options_for(directory), kSignature, builder));
  const fs::path entry = directory.root() / entry_name(kSignature);
  if (start == Start::warm) set_age(entry, std::chrono::hours(1));  // so that the hit touches it
  if (start == Start::damaged) write_file(entry, "damaged");
}

void fail_every_call(int error, Mode mode, Start start) {
  int calls = 0;
  for (int n = 1;; ++n) {
    const TemporaryDirectory directory;
    ASSERT_NO_FATAL_FAILURE(prepare(directory, start));
    bool reached = false;
    Call culprit;
    const auto system = std::make_shared<ScriptedSystem>([&](const Call& call) {
      const bool fails = mode == Mode::once ? call.index == n : call.index >= n;
      if (fails && !reached) culprit = call;
      reached |= fails;
      return fails ? -error : 0;
    });
    Warnings warnings;
    KernelCacheOptions options = options_for(directory, system, &warnings);
    if (start == Start::full) options.max_entries = 1;
    Builder builder;
    const auto where = [&] {
      return "call " + std::to_string(n) + " (" + culprit.name + " " + culprit.path + ") fails with " +
             std::to_string(error);
    };
    ASSERT_NO_THROW(ASSERT_TRUE(serves(options, kSignature, builder)) << where()) << where();
    ASSERT_LE(warnings.count(), 1u) << where() << "\n" << warnings.text();
    if (!reached) {
      calls = n - 1;
      ASSERT_EQ(builder.count, start == Start::warm ? 0 : 1);
      ASSERT_EQ(warnings.count(), start == Start::damaged ? 1u : 0u) << warnings.text();
      break;
    }
    // Whoever could not store a kernel must have said so.
    builder.count = 0;
    const bool stored = fs::exists(directory.root() / entry_name(kSignature));
    ASSERT_TRUE(serves(options_for(directory), kSignature, builder)) << where();
    if (!stored) {
      ASSERT_EQ(warnings.count(), 1u) << where();
      ASSERT_EQ(builder.count, 1) << where();
    }
    ASSERT_EQ(KernelCache(options_for(directory)).verify().damaged, 0u) << where();
  }
  EXPECT_GT(calls, start == Start::warm ? 8 : 20) << "the seam has come loose";
}

class CacheFailure : public ::testing::TestWithParam<int> {};

TEST_P(CacheFailure, NthCallFailsOnceCold) { fail_every_call(GetParam(), Mode::once, Start::cold); }
TEST_P(CacheFailure, AllCallsFailFromTheNthCold) { fail_every_call(GetParam(), Mode::from_then_on, Start::cold); }
TEST_P(CacheFailure, NthCallFailsOnceWarm) { fail_every_call(GetParam(), Mode::once, Start::warm); }
TEST_P(CacheFailure, AllCallsFailFromTheNthWarm) { fail_every_call(GetParam(), Mode::from_then_on, Start::warm); }
TEST_P(CacheFailure, NthCallFailsOnceDamaged) { fail_every_call(GetParam(), Mode::once, Start::damaged); }
TEST_P(CacheFailure, AllCallsFailFromTheNthDamaged) { fail_every_call(GetParam(), Mode::from_then_on, Start::damaged); }
TEST_P(CacheFailure, NthCallFailsOnceFull) { fail_every_call(GetParam(), Mode::once, Start::full); }
TEST_P(CacheFailure, AllCallsFailFromTheNthFull) { fail_every_call(GetParam(), Mode::from_then_on, Start::full); }

INSTANTIATE_TEST_SUITE_P(Errors, CacheFailure,
                         ::testing::Values(ENOSPC, EDQUOT, EIO, EMFILE, EACCES, EROFS, ENOENT, ESTALE, ENOMEM),
                         [](const auto& instance) { return "errno" + std::to_string(instance.param); });

TEST(CacheFailureOnce, AFullDiskWarnsOnceForManyKernels) {
  const TemporaryDirectory directory;
  Warnings warnings;
  const auto system =
      std::make_shared<ScriptedSystem>([](const Call& call) { return call.name == "write" ? -ENOSPC : 0; });
  KernelCache cache(options_for(directory, system, &warnings));
  Builder builder;
  for (int i = 0; i < 20; ++i) {
    const std::string signature = "key" + std::to_string(i);
    EXPECT_EQ(cache.get_or_build(signature, builder.of(signature))->binary, binary_of(signature));
    EXPECT_EQ(cache.get_or_build(signature, builder.of(signature))->binary, binary_of(signature));
  }
  EXPECT_EQ(builder.count, 20) << "kernels run from memory";
  EXPECT_EQ(warnings.count(), 1u) << warnings.text();
  EXPECT_NE(warnings.text().find("No space left"), std::string::npos) << warnings.text();
  EXPECT_EQ(cache.stats().publish_failures, 20u);
  EXPECT_EQ(count_kind(directory.root(), cache::NameKind::temporary), 0u);
}

TEST(CacheFailureOnce, NoDescriptorLeftForReal) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(ATTNC_HAS_SANITIZER)
  GTEST_SKIP() << "sanitizers themselves need descriptors";
#endif
  const TemporaryDirectory directory;
  const int status = wait_for(start_child([&] {
    std::vector<int> hoard;
    for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) hoard.push_back(fd);
    Warnings warnings;
    Builder builder;
    if (!serves(options_for(directory, std::make_shared<cache::System>(), &warnings), kSignature, builder)) return 1;
    return warnings.count() == 1 && builder.count == 1 ? 0 : 2;
  }));
  EXPECT_TRUE(exited_with(status, 0)) << status;
}

// A batch system's limit: the kernel is served, nothing of it stays on the disk, and the signal does not end the
// process.
TEST(CacheFailureOnce, NoFileLargeEnoughForReal) {
  const TemporaryDirectory directory;
  const int status = wait_for(start_child([&] {
    rlimit limit{};
    limit.rlim_cur = limit.rlim_max = 10;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 3;
    Warnings warnings;
    Builder builder;
    if (!serves(options_for(directory, std::make_shared<cache::System>(), &warnings), kSignature, builder)) return 1;
    return warnings.count() == 1 && builder.count == 1 ? 0 : 2;
  }));
  EXPECT_TRUE(exited_with(status, 0)) << status;
  EXPECT_EQ(count_kind(directory.root(), cache::NameKind::temporary), 0u);
}

TEST(CacheFailureOnce, ShortReadsAndWritesAreContinued) {
  const TemporaryDirectory directory;
  Builder builder;
  Warnings warnings;
  const auto system = std::make_shared<ScriptedSystem>([](const Call& call) {
    return (call.name == "write" && call.index % 2 == 0) || call.name == "read" ? ScriptedSystem::kShort : 0;
  });
  ASSERT_TRUE(serves(options_for(directory, system), kSignature, builder));
  // Short reads of an entry; the warm hit reads nothing else.
  ASSERT_TRUE(serves(options_for(directory, system, &warnings), kSignature, builder));
  EXPECT_EQ(builder.count, 1);
  EXPECT_EQ(warnings.count(), 0u) << warnings.text();
}

TEST(CacheFailureOnce, AThrowingWarningCallbackIsSwallowed) {
  const TemporaryDirectory directory;
  KernelCacheOptions options =
      options_for(directory, std::make_shared<ScriptedSystem>([](const Call&) { return -EIO; }));
  options.on_warning = [](std::string_view) { throw std::runtime_error("log is full"); };
  Builder builder;
  EXPECT_NO_THROW(EXPECT_TRUE(serves(options, kSignature, builder)));
}

TEST(CacheLocksUnsupported, PrivateCompileAndAtomicPublish) {
  for (const int error : {ENOLCK, ENOTSUP, ENOSYS, EINVAL}) {
    const TemporaryDirectory directory;
    const auto unlocked = [&] {
      return std::make_shared<ScriptedSystem>([=](const Call& call) { return call.name == "try_lock" ? -error : 0; });
    };
    SharedMemory<std::atomic<int>> builds;
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i) {
      children.push_back(start_child([&] {
        Builder builder;
        for (int key = 0; key < 25; ++key) {
          if (!serves(options_for(directory, unlocked()), "key" + std::to_string(key), builder)) return 1;
        }
        *builds += builder.count;
        return 0;
      }));
    }
    for (const pid_t child : children) EXPECT_TRUE(exited_with(wait_for(child), 0));
    EXPECT_GE(*builds, 25);
    EXPECT_LE(*builds, 100);
    Builder builder;
    Warnings warnings;
    for (int key = 0; key < 25; ++key) {
      EXPECT_TRUE(serves(options_for(directory, unlocked(), &warnings), "key" + std::to_string(key), builder));
    }
    EXPECT_EQ(builder.count, 0) << "all were published";
    EXPECT_EQ(warnings.count(), 0u) << warnings.text();
  }
}

TEST(CacheVisibility, OwnBytesAreUsedWhenARenameDoesNotShow) {
  const TemporaryDirectory directory;
  class DelayedRename : public ScriptedSystem {
    int rename_at(int, const char*, const char*) override { return 0; }
  };
  Warnings warnings;
  KernelCache cache(options_for(directory, std::make_shared<DelayedRename>(), &warnings));
  Builder builder;
  EXPECT_EQ(cache.get_or_build(kSignature, builder.of(kSignature))->binary, binary_of(kSignature));
  EXPECT_EQ(cache.get_or_build(kSignature, builder.of(kSignature))->binary, binary_of(kSignature));
  EXPECT_EQ(builder.count, 1);
  EXPECT_EQ(warnings.count(), 0u) << warnings.text();
}

TEST(CacheDirectoryDeleted, BetweenTwoKernels) {
  const TemporaryDirectory directory;
  Warnings warnings;
  KernelCache cache(options_for(directory, std::make_shared<ScriptedSystem>(), &warnings));
  Builder builder;
  for (int i = 0; i < 5; ++i) {
    const std::string signature = "key" + std::to_string(i);
    EXPECT_EQ(cache.get_or_build(signature, builder.of(signature))->binary, binary_of(signature));
    EXPECT_TRUE(fs::exists(directory.root() / entry_name(signature)));
    fs::remove_all(directory.cache());
    EXPECT_EQ(cache.get_or_build(signature, builder.of(signature))->binary, binary_of(signature));
  }
  EXPECT_EQ(builder.count, 5);
  EXPECT_EQ(warnings.count(), 0u) << warnings.text();
}

TEST(CacheDirectoryDeleted, DuringTheCompile) {
  const TemporaryDirectory directory;
  Warnings warnings;
  KernelCache cache(options_for(directory, std::make_shared<ScriptedSystem>(), &warnings));
  cache.get_or_build(kSignature, [&] {
    fs::remove_all(directory.cache());
    return BuiltKernel{binary_of(kSignature), source_of(kSignature)};
  });
  Builder builder;
  EXPECT_TRUE(serves(options_for(directory), kSignature, builder));
  EXPECT_EQ(builder.count, 0);
  EXPECT_EQ(warnings.count(), 0u) << warnings.text();
}

TEST(CacheDirectoryDeleted, BeforeAnyCallOfAPut) {
  int calls = 0;
  for (int n = 1;; ++n) {
    const TemporaryDirectory directory;
    bool deleted = false;
    Warnings warnings;
    const auto system = std::make_shared<ScriptedSystem>([&](const Call& call) {
      if (call.index == n) {
        fs::remove_all(directory.cache());
        deleted = true;
      }
      return 0;
    });
    Builder builder;
    ASSERT_TRUE(serves(options_for(directory, system, &warnings), kSignature, builder)) << n;
    ASSERT_EQ(warnings.count(), 0u) << "before call " << n << ": " << warnings.text();
    if (!deleted) {
      calls = n - 1;
      break;
    }
    ASSERT_TRUE(serves(options_for(directory), kSignature, builder)) << n;
    ASSERT_TRUE(serves(options_for(directory), kSignature, builder)) << n;
    ASSERT_LE(builder.count, 2) << n;
  }
  EXPECT_GT(calls, 20);
}

}  // namespace
}  // namespace attnc::cache_test
