// SPDX-License-Identifier: Apache-2.0
// Attention forward on sm_90a. One producer warpgroup feeds Q, K and V through rings of shared memory; consumer
// warpgroups turn scores into output. Generated text names the plan and the mods and instantiates one entry:
//
//   extern "C" __global__ void __launch_bounds__(attnc::sm90::cta_threads<Plan>(), 1)
//   attnc_forward(const __grid_constant__ attnc::sm90::TensorMaps maps,
//                 const __grid_constant__ attnc::ForwardArguments args, const __grid_constant__ Mods::Params params) {
//     attnc::sm90::forward<Plan, Mods>(maps, args, params);
//   }
#pragma once

#include "dependent_launch.cuh"
#include "sm90/consumer.cuh"

namespace attnc::sm90 {

template <class Plan, class Mods>
__device__ __forceinline__ void init_barriers(const SharedView<Plan, Mods>& shared) {
  // Of those that read what ordinary stores put into a slot or write it, every thread arrives (README.md, "Who gives a
  // slot back"); of those that only wait for the tensor cores, one of each warp.
  constexpr int consumer_warps = Plan::consumer_warpgroups * 4;
  for (int slot = 0; slot < Plan::q_stages; ++slot) {
    barrier_init(shared.q_full(slot), 1);
    barrier_init(shared.q_empty(slot), consumer_warps);
  }
  for (int stage = 0; stage < Plan::stages; ++stage) {
    barrier_init(shared.k_full(stage), 1);
    barrier_init(shared.k_empty(stage), posts_tiles<Plan>() ? consumer_warps * warp_threads : consumer_warps);
    barrier_init(shared.v_full(stage), 1);
    barrier_init(shared.v_empty(stage), consumer_warps);
    barrier_init(shared.side_full(stage), staging_warps * warp_threads);
    barrier_init(shared.side_empty(stage), consumer_warps * warp_threads);
  }
  barrier_init_fence();
}

template <class Plan, class Mods>
__device__ __forceinline__ void forward(const TensorMaps& maps, const ForwardArguments& args,
                                        const typename Mods::Params& params) {
  extern __shared__ uint8 dynamic_shared[];
  // The swizzle repeats every 1024 bytes.
  uint8* base = dynamic_shared + (1024 - shared_address(dynamic_shared) % 1024) % 1024;
  const SharedView<Plan, Mods> shared(base);

  if (threadIdx.x == 0) {
    prefetch_map(&maps.q);
    prefetch_map(&maps.k);
    prefetch_map(&maps.v);
    init_barriers(shared);
  }
  if constexpr (Plan::bias_product) {
    store_bias_keys<Plan::tile_kv>(shared.bias_keys(), threadIdx.x, cta_threads<Plan>());
    proxy_fence();
  }
  __syncthreads();
  // The launch before may be the one that takes the extremes of what the mask captures, and resets the tile counter.
  wait_for_previous_launch();

  // Broadcast from lane 0, so that the compiler knows it to be the same for the whole warp.
  const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / warp_threads, 0);
  if (warp < 4) {
    lower_register_limit<Plan::producer_registers>();
    Producer<Plan, Mods> producer(shared, maps, args, params);
    if (warp == 0) {
      producer.copy();
    } else if (SharedLayout<Plan, Mods>::has_staging) {
      producer.stage();
    }
  } else {
    raise_register_limit<Plan::consumer_registers>();
    Consumer<Plan, Mods> consumer(shared, args, params, warp / 4 - 1);
    consumer.run();
  }
}

}  // namespace attnc::sm90
