// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "dsl/format.h"

namespace attnc::cli {

Progress::Progress(std::string what) : what_(std::move(what)) {
  if (isatty(STDERR_FILENO) == 1) thread_ = std::thread([this] { show(); });
}

Progress::~Progress() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Progress::show() {
  std::unique_lock lock(mutex_);
  bool shown = false;
  auto pause = std::chrono::milliseconds(500);
  while (!wake_.wait_for(lock, pause, [this] { return done_; })) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    attnc::print(stderr, "\r\x1b[K{} ... {:.1f} s", what_, elapsed.count());
    std::fflush(stderr);
    shown = true;
    pause = std::chrono::milliseconds(100);
  }
  if (shown) attnc::print(stderr, "\r\x1b[K");
}

}  // namespace attnc::cli
