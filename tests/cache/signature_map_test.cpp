// SPDX-License-Identifier: Apache-2.0
#include "runtime/cache/signature_map.h"

#include <random>
#include <thread>

#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

using Map = SignatureMap<const std::string>;

Map::Value value(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

TEST(SignatureMap, FindsWhatWasMade) {
  Map map;
  EXPECT_EQ(map.find("a"), nullptr);
  int made = 0;
  const auto make = [&] {
    ++made;
    return value("A");
  };
  const Map::Value first = map.get_or_make("a", make);
  EXPECT_EQ(*first, "A");
  EXPECT_EQ(map.get_or_make("a", make), first);
  EXPECT_EQ(map.find("a"), first);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(map.size(), 1u);
}

TEST(SignatureMap, HoldsFarMoreThanItsBuckets) {
  Map map;
  for (int i = 0; i < 5000; ++i) map.get_or_make(std::to_string(i), [&] { return value(std::to_string(i)); });
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(*map.find(std::to_string(i)), std::to_string(i));
  EXPECT_EQ(map.find("5000"), nullptr);
  EXPECT_EQ(map.size(), 5000u);
}

TEST(SignatureMap, EraseFreesTheValueAtOnce) {
  Map map;
  std::weak_ptr<const std::string> watch = map.get_or_make("a", [] { return value("A"); });
  EXPECT_FALSE(watch.expired());
  EXPECT_FALSE(map.erase("b"));
  EXPECT_FALSE(map.erase("a", value("A"))) << "another value";
  EXPECT_TRUE(map.erase("a", watch.lock()));
  EXPECT_TRUE(watch.expired());
  EXPECT_FALSE(map.erase("a"));
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(*map.get_or_make("a", [] { return value("B"); }), "B");
  map.clear();
  EXPECT_EQ(map.find("a"), nullptr);
}

TEST(SignatureMap, AFailureIsThrownAndNotRemembered) {
  Map map;
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(map.get_or_make("a", []() -> Map::Value { throw std::runtime_error("no"); }), std::runtime_error);
    EXPECT_EQ(map.find("a"), nullptr);
  }
  EXPECT_THROW(map.get_or_make("a", []() -> Map::Value { return nullptr; }), std::logic_error);
  EXPECT_EQ(*map.get_or_make("a", [] { return value("A"); }), "A");
}

TEST(SignatureMap, AskingForOneselfIsAnErrorNotADeadlock) {
  Map map;
  EXPECT_THROW(map.get_or_make("a", [&] { return map.get_or_make("a", [] { return value("A"); }); }), std::logic_error);
}

TEST(SignatureMap, AFailureReachesThoseWhoWait) {
  Map map;
  std::atomic<int> made{0}, failed{0};
  std::atomic<bool> making{false}, go{false};
  std::thread maker([&] {
    EXPECT_THROW(map.get_or_make("a",
                                 [&]() -> Map::Value {
                                   making = true;
                                   while (!go) ::usleep(100);
                                   throw std::runtime_error("no");
                                 }),
                 std::runtime_error);
  });
  while (!making) ::usleep(100);
  std::vector<std::thread> waiters;
  std::atomic<int> started{0};
  for (int t = 0; t < 4; ++t) {
    waiters.emplace_back([&] {
      ++started;
      try {
        map.get_or_make("a", [&] {
          ++made;
          return value("A");
        });
      } catch (const std::runtime_error&) {
        ++failed;
      }
    });
  }
  while (started < 4) ::usleep(100);
  ::usleep(50'000);  // all four wait by now; one that does not makes the value itself, which is right, too
  go = true;
  maker.join();
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_GE(failed, 1);
  EXPECT_LE(made, 1);
}

TEST(SignatureMap, StressOfAllOperations) {
  Map map;
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      while (!stop) {
        const std::string key = std::to_string(random() % 20);
        switch (random() % 8) {
          case 0:
            map.erase(key);
            break;
          case 1:
            try {
              map.get_or_make(key, []() -> Map::Value { throw std::runtime_error("no"); });
            } catch (const std::runtime_error&) {
            }
            break;
          case 2:
            if (const Map::Value found = map.find(key)) wrong += *found != key;
            break;
          case 3:
            if (random() % 50 == 0) map.clear();
            break;
          default:
            try {
              wrong += *map.get_or_make(key, [&] { return value(key); }) != key;
            } catch (const std::runtime_error&) {
            }
        }
      }
    });
  }
  ::usleep(700'000);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(SignatureMap, AChildMakesWhatAThreadOfItsParentWasMaking) {
  Map map;
  std::atomic<bool> making{false}, stop{false};
  std::thread maker([&] {
    map.get_or_make("a", [&] {
      making = true;
      while (!stop) ::usleep(100);
      return value("parent");
    });
  });
  while (!making) ::usleep(100);
  const int status = wait_for(start_child([&] {
    ::alarm(20);
    if (map.find("a") != nullptr) return 1;
    if (*map.get_or_make("a", [] { return value("child"); }) != "child") return 2;
    return *map.find("a") == "child" ? 0 : 3;
  }));
  stop = true;
  maker.join();
  EXPECT_TRUE(exited_with(status, 0)) << status;
  EXPECT_EQ(*map.find("a"), "parent");
}

}  // namespace
}  // namespace attnc::cache_test
