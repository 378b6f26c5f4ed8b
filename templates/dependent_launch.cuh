// SPDX-License-Identifier: Apache-2.0
// Programmatic dependent launch: a kernel may be launched while the one before it on its stream still runs. Where the
// host does not ask for it, and before sm_90, both calls do nothing.
#pragma once

namespace attnc {

// From here on the next launch may begin. What this kernel writes is seen by that one after its own wait.
__device__ __forceinline__ void allow_next_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Returns when the launch before has ended and what it wrote can be read.
__device__ __forceinline__ void wait_for_previous_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace attnc
