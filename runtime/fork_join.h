// SPDX-License-Identifier: Apache-2.0
// The fork and the join of a parallel loop, told to ThreadSanitizer: the distribution's oneTBB is not instrumented, so
// its own synchronisation is invisible and what threads hand back looks like a race. Without the sanitizer this is
// nothing.
#pragma once

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ATTNC_TELLS_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(ATTNC_TELLS_TSAN)
#define ATTNC_TELLS_TSAN 1
#endif

#ifdef ATTNC_TELLS_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace attnc {

/// One loop: constructed before it and joined after it by the thread that runs it; each piece of work holds a Piece.
class ForkJoin {
 public:
#ifdef ATTNC_TELLS_TSAN
  ForkJoin() { __tsan_release(this); }
  void join() { __tsan_acquire(this); }
  void begin_piece() { __tsan_acquire(this); }
  void end_piece() { __tsan_release(this); }
#else
  void join() {}
  void begin_piece() {}
  void end_piece() {}
#endif

  class Piece {
   public:
    explicit Piece(ForkJoin& loop) : loop_(loop) { loop_.begin_piece(); }
    ~Piece() { loop_.end_piece(); }
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;

   private:
    ForkJoin& loop_;
  };
};

}  // namespace attnc
