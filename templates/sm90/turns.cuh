// SPDX-License-Identifier: Apache-2.0
// Consumer warpgroups issue their products in turns, so that one's softmax runs under the others' (FlashAttention-3
// calls it ping-pong).
#pragma once

#include "sm90/producer.cuh"

namespace attnc::sm90 {

// Named barriers of the turns, one for each warpgroup, after the producer's.
inline constexpr int first_turn_barrier = producer_named_barrier + 1;
template <class Plan>
class Turns {
 public:
  __device__ __forceinline__ explicit Turns(int warpgroup) : warpgroup_(warpgroup) {
    if (enabled && warpgroup == Plan::consumer_warpgroups - 1) pass();
  }
  __device__ __forceinline__ void take() const {
    if constexpr (enabled) named_barrier_sync(first_turn_barrier + warpgroup_, 2 * warpgroup_threads);
  }
  __device__ __forceinline__ void pass() const {
    const int next = warpgroup_ + 1 == Plan::consumer_warpgroups ? 0 : warpgroup_ + 1;
    if constexpr (enabled) named_barrier_arrive(first_turn_barrier + next, 2 * warpgroup_threads);
  }

 private:
  static constexpr bool enabled = Plan::ping_pong && Plan::consumer_warpgroups > 1;
  int warpgroup_;
};

}  // namespace attnc::sm90
