// SPDX-License-Identifier: Apache-2.0
// Once: one thread makes it, the others wait; who throws has made nothing.
#include "dsl/once.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace attnc::testing {
namespace {

TEST(Once, OneThreadOfManyMakesIt) {
  for (int round = 0; round < 50; ++round) {
    Once once;
    std::atomic<int> made{0}, seen{0};
    int value = 0;  // written by the one, read by all
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        once.run([&] {
          value = 42;
          ++made;
        });
        seen += value == 42;
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(made, 1);
    EXPECT_EQ(seen, 8);
  }
}

TEST(Once, AThrowIsPassedOnAndTriedAgain) {
  Once once;
  int calls = 0;
  const auto fail_twice = [&] {
    if (++calls <= 2) throw std::runtime_error("not yet");
  };
  EXPECT_THROW(once.run(fail_twice), std::runtime_error);
  EXPECT_THROW(once.run(fail_twice), std::runtime_error);
  once.run(fail_twice);
  once.run(fail_twice);
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace attnc::testing
