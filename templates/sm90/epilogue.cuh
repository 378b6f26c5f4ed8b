// SPDX-License-Identifier: Apache-2.0
// Accumulators to global memory. A quad holds eight neighbouring columns of a row two by two; a 4 x 4 transpose inside
// the quad gives each thread eight neighbouring columns of one of four blocks, stored as 16 bytes. A warp then writes
// whole 64-byte pieces of eight rows, straight from registers: no shared memory to reserve, nothing to wait for.
#pragma once

#include "arguments.cuh"
#include "sm90/softmax.cuh"

namespace attnc::sm90 {

// words[j] of thread t becomes words[t] of thread j, for the four threads of a quad.
__device__ __forceinline__ void transpose_quad(uint32 (&words)[4]) {
  const bool odd = threadIdx.x & 1;
  const bool upper = threadIdx.x & 2;
#pragma unroll
  for (int pair = 0; pair < 4; pair += 2) {
    const uint32 sent = odd ? words[pair] : words[pair + 1];
    const uint32 received = __shfl_xor_sync(0xffffffffu, sent, 1);
    if (odd) words[pair] = received; else words[pair + 1] = received;
  }
#pragma unroll
  for (int low = 0; low < 2; ++low) {
    const uint32 sent = upper ? words[low] : words[low + 2];
    const uint32 received = __shfl_xor_sync(0xffffffffu, sent, 2);
    if (upper) words[low] = received; else words[low + 2] = received;
  }
}

// One row of `columns` columns of this thread's accumulator, from its pair i (0 or 1) of each block of 8.
template <bool is_bf16, int columns>
__device__ __forceinline__ void store_row(uint16* row, const float (&out)[columns / 2], int i, float factor, bool inside) {
  const int t = threadIdx.x % 4;
  constexpr int blocks = columns / 8;
#pragma unroll
  for (int j = 0; j + 4 <= blocks; j += 4) {
    uint32 words[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      words[n] = pack_pair<is_bf16>(out[4 * (j + n) + 2 * i] * factor, out[4 * (j + n) + 2 * i + 1] * factor);
    }
    transpose_quad(words);
    if (inside) {
      *reinterpret_cast<uint4*>(row + 8 * (j + t)) = uint4{words[0], words[1], words[2], words[3]};
    }
  }
#pragma unroll
  for (int j = blocks / 4 * 4; j < blocks; ++j) {
    const uint32 word = pack_pair<is_bf16>(out[4 * j + 2 * i] * factor, out[4 * j + 2 * i + 1] * factor);
    if (inside) *reinterpret_cast<uint32*>(row + 8 * j + 2 * t) = word;
  }
}

// Output and log-sum-exp of one warpgroup's rows. `first_row` is this thread's first row, before clamping.
template <class Plan, class Mods>
__device__ __forceinline__ void write_rows(const ForwardArguments& args, int batch, int head, int first_row,
                                           const float (&out)[Plan::head_dim_v / 2],
                                           const OnlineSoftmax<Plan, Mods>& softmax) {
  uint16* base = static_cast<uint16*>(const_cast<void*>(args.out.data)) + batch * args.out.batch_stride_elems +
                 head * args.out.head_stride_elems;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = first_row + 8 * i;
    const bool inside = row < args.q_len;
    store_row<Plan::is_bf16, Plan::head_dim_v>(base + row * args.out.row_stride_elems, out, i, softmax.inverse_sum(i),
                                               inside);
    if (args.lse != nullptr && inside && threadIdx.x % 4 == 0) {
      args.lse[batch * args.lse_batch_stride_elems + head * args.lse_head_stride_elems + row] =
          softmax.log2_sum(i) * ln_2;
    }
  }
}

}  // namespace attnc::sm90
