// SPDX-License-Identifier: Apache-2.0
// Barriers: mbarriers in shared memory, which carry data from producer to consumer and space back, and the hardware's
// named barriers, which let warpgroups take turns.
#pragma once

#include "sm90/intrinsics.cuh"

namespace attnc::sm90 {

__device__ __forceinline__ void barrier_init(uint64* barrier, uint32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

// Makes initialised barriers visible to the copy engine; once, before the CTA's first __syncthreads.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Shared memory that this thread wrote with ordinary stores, for the tensor cores and the copy engine to read or
// overwrite after the next barrier.
__device__ __forceinline__ void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ __forceinline__ void barrier_arrive(uint64* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// One arrival, and a promise that the copy engine will deliver `bytes` before the phase completes.
__device__ __forceinline__ void barrier_arrive_expect(uint64* barrier, uint32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

// Waits until the phase of the given parity has completed. A fresh barrier counts as having completed parity 1.
__device__ __forceinline__ void barrier_wait(uint64* barrier, uint32 parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "attnc_wait:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra attnc_done;\n"
      "bra attnc_wait;\n"
      "attnc_done:\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

__device__ __forceinline__ void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Where a producer or consumer stands in a ring of `stages` slots.
template <int stages>
struct RingPosition {
  int stage = 0;
  uint32 phase = 0;

  __device__ __forceinline__ RingPosition next() const {
    RingPosition position = *this;
    position.advance();
    return position;
  }

  __device__ __forceinline__ void advance() {
    if (++stage == stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

}  // namespace attnc::sm90
