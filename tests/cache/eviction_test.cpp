// SPDX-License-Identifier: Apache-2.0
// C13: ten times the size limit written while others read. The directory stays under its limits plus what is in flight,
// and a put costs the same however much was put before.
#include <cstdio>
#include <random>

#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

struct Usage {
  uint64_t entries = 0;
  uint64_t bytes = 0;
};

Usage usage_of(const fs::path& root) {
  Usage usage;
  for (const std::string& name : names_in(root)) {
    const cache::NameKind kind = cache::name_kind(name);
    if (kind != cache::NameKind::entry && kind != cache::NameKind::set_aside) continue;
    std::error_code vanished;
    const uint64_t bytes = fs::file_size(root / name, vanished);
    if (vanished) continue;
    ++usage.entries;
    usage.bytes += bytes;
  }
  return usage;
}

std::string key(unsigned i) { return "key" + std::to_string(i); }
size_t size_of(unsigned i) { return 500 + i * 7919 % 19'000; }  // mean about 10 kB

struct Growth {
  uint64_t max_entries;
  uint64_t max_bytes;
  unsigned puts;
};

void grow(const Growth& growth, const char* title) {
  const TemporaryDirectory directory;
  SharedMemory<std::atomic<unsigned>> written;
  SharedMemory<std::atomic<int>> stop;
  const auto options = [&](std::shared_ptr<cache::System> system) {
    KernelCacheOptions result = options_for(directory, std::move(system));
    result.max_entries = growth.max_entries;
    result.max_bytes = growth.max_bytes;
    return result;
  };
  // Readers that look for recent and old entries all the time; a miss makes them writers, too.
  std::vector<pid_t> readers;
  for (unsigned reader = 0; reader < 2; ++reader) {
    readers.push_back(start_child([&] {
      std::mt19937 random(reader);
      while (*stop == 0) {
        const unsigned i = static_cast<unsigned>(random() % (*written + 1));
        Builder builder;
        builder.bytes = size_of(i);
        if (!serves(options(std::make_shared<ScriptedSystem>()), key(i), builder)) return 1;
        ::usleep(500);
      }
      return 0;
    }));
  }

  const auto system = std::make_shared<ScriptedSystem>();
  std::printf("%s: limit %llu entries, %llu bytes\n    puts  entries     bytes  calls/put  us/put\n", title,
              static_cast<unsigned long long>(growth.max_entries), static_cast<unsigned long long>(growth.max_bytes));
  constexpr unsigned kRows = 10;
  std::vector<double> calls_per_put;
  for (unsigned row = 0; row < kRows; ++row) {
    const int calls_before = system->calls();
    double us = 0;
    for (unsigned i = row * growth.puts / kRows; i < (row + 1) * growth.puts / kRows; ++i) {
      Builder builder;
      builder.bytes = size_of(i);
      const auto start = std::chrono::steady_clock::now();
      ASSERT_TRUE(serves(options(system), key(i), builder));
      us += std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
      *written = i;
      const Usage usage = usage_of(directory.root());
      ASSERT_LE(usage.entries, growth.max_entries) << "after put " << i;
      ASSERT_LE(usage.bytes, growth.max_bytes) << "after put " << i;
    }
    const Usage usage = usage_of(directory.root());
    const double puts = static_cast<double>(growth.puts) / kRows;
    calls_per_put.push_back((system->calls() - calls_before) / puts);
    std::printf("%8u %8llu %9llu %10.0f %7.0f\n", (row + 1) * growth.puts / kRows,
                static_cast<unsigned long long>(usage.entries), static_cast<unsigned long long>(usage.bytes),
                calls_per_put.back(), us / puts);
  }
  *stop = 1;
  for (const pid_t reader : readers) EXPECT_TRUE(exited_with(wait_for(reader), 0)) << "a reader saw wrong bytes";
  // Flat, by a measure that does not depend on how busy the machine is: system calls. The first row had room to spare;
  // if each put into a full cache listed it, the others would need a hundred calls more.
  for (unsigned row = 1; row < kRows; ++row) EXPECT_LT(calls_per_put[row], 2 * calls_per_put[0]) << "row " << row;
  EXPECT_GE(usage_of(directory.root()).entries, 1u);
  EXPECT_EQ(KernelCache(options(std::make_shared<ScriptedSystem>())).verify().damaged, 0u);
}

TEST(CacheEviction, TenTimesTheEntryLimit) { grow({100, 1 << 30, 1000}, "entry limit"); }
TEST(CacheEviction, TenTimesTheByteLimit) { grow({1 << 20, 1'000'000, 1000}, "byte limit"); }

TEST(CacheEviction, LimitsHoldWithoutLocks) {
  const TemporaryDirectory directory;
  const auto system =
      std::make_shared<ScriptedSystem>([](const Call& call) { return call.name == "try_lock" ? -ENOLCK : 0; });
  KernelCacheOptions options = options_for(directory, system);
  options.max_entries = 10;
  for (unsigned i = 0; i < 100; ++i) {
    Builder builder;
    ASSERT_TRUE(serves(options, key(i), builder));
    ASSERT_LE(usage_of(directory.root()).entries, 10u);
  }
  EXPECT_GE(usage_of(directory.root()).entries, 9u);
}

TEST(CacheEviction, LeastRecentlyUsedGoesFirst) {
  const TemporaryDirectory directory;
  KernelCacheOptions options = options_for(directory);
  options.max_entries = 10;
  Builder builder;
  for (unsigned i = 0; i < 10; ++i) {
    ASSERT_TRUE(serves(options, key(i), builder));
    set_age(directory.root() / entry_name(key(i)), std::chrono::hours(20 - i));
  }
  ASSERT_TRUE(serves(options, key(0), builder));  // a hit makes the oldest the newest
  EXPECT_EQ(builder.count, 10);
  ASSERT_TRUE(serves(options, key(10), builder));
  EXPECT_TRUE(fs::exists(directory.root() / entry_name(key(0))));
  EXPECT_FALSE(fs::exists(directory.root() / entry_name(key(1))));
  EXPECT_TRUE(fs::exists(directory.root() / entry_name(key(9))));
  EXPECT_TRUE(fs::exists(directory.root() / entry_name(key(10))));
}

TEST(CacheEviction, WhatNeverFitsIsNotStoredAndEvictsNothing) {
  const TemporaryDirectory directory;
  Warnings warnings;
  KernelCacheOptions options = options_for(directory, std::make_shared<ScriptedSystem>(), &warnings);
  options.max_bytes = 5000;
  Builder small, large;
  large.bytes = 6000;
  ASSERT_TRUE(serves(options, "small", small));
  ASSERT_TRUE(serves(options, "large", large));
  EXPECT_EQ(warnings.count(), 1u);
  ASSERT_TRUE(serves(options, "small", small));
  EXPECT_EQ(small.count, 1);
  EXPECT_EQ(usage_of(directory.root()).entries, 1u);
}

TEST(CacheEviction, FilesThatOthersCopiedInAreFoundAndCounted) {
  const TemporaryDirectory directory;
  KernelCacheOptions options = options_for(directory);
  options.max_entries = 400;
  Builder builder;
  ASSERT_TRUE(serves(options, key(0), builder));
  const std::string file = read_file(directory.root() / entry_name(key(0)));
  for (unsigned i = 0; i < 1000; ++i) {
    const fs::path copy = directory.root() / entry_name("copied" + std::to_string(i));
    write_file(copy, file);
    set_age(copy, std::chrono::hours(1));
  }
  for (unsigned i = 1; i < 300; ++i) ASSERT_TRUE(serves(options, key(i), builder));
  EXPECT_LE(usage_of(directory.root()).entries, 400u);
  EXPECT_TRUE(fs::exists(directory.root() / entry_name(key(299))));
}

TEST(CacheEviction, AFileThatCannotBeDeletedDoesNotBreakTheLimit) {
  const TemporaryDirectory directory;
  Warnings warnings;
  const auto system =
      std::make_shared<ScriptedSystem>([](const Call& call) { return call.name == "unlink_at" ? -EPERM : 0; });
  KernelCacheOptions options = options_for(directory, system, &warnings);
  options.max_entries = 3;
  Builder builder;
  for (unsigned i = 0; i < 6; ++i) ASSERT_TRUE(serves(options, key(i), builder));
  EXPECT_EQ(usage_of(directory.root()).entries, 3u);
  EXPECT_GE(warnings.count(), 1u);
}

}  // namespace
}  // namespace attnc::cache_test
