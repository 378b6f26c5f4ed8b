// SPDX-License-Identifier: Apache-2.0
// Uses the engine from several threads, and knows nothing of attnc.
#include <cstdio>
#include <string_view>
#include <thread>
#include <vector>

#include "engine.h"

int main() {
  constexpr int heads = 3, length = 50;
  std::vector<float> data(heads * length * 32);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i % 11) - 5;
  int failures = 0;
  bool no_device = false;
  std::vector<std::vector<float>> outs(4, std::vector<float>(data.size(), -100));
  std::vector<const char*> messages(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < outs.size(); ++t)
    threads.emplace_back([&, t] {
      const char* message =
          engine_window_attention(data.data(), data.data(), data.data(), outs[t].data(), heads, length, 1);
      messages[t] = message == nullptr ? nullptr : std::string_view(message) == "no device" ? "no device" : "error";
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t t = 0; t < outs.size(); ++t) {
    no_device |= messages[t] != nullptr && std::string_view(messages[t]) == "no device";
    failures += messages[t] != nullptr || outs[t] != data;  // a window of one key copies v
  }
  std::printf("engine: %d of %zu threads failed\n", failures, outs.size());
  return no_device ? 77 : failures;
}
