// SPDX-License-Identifier: Apache-2.0
// Accumulators to global memory. A quad holds eight neighbouring columns of a row two by two; one exchange between
// neighbours gives each thread four neighbouring columns of one of two blocks, stored as 8 bytes. A warp then writes
// whole 32-byte sectors of eight rows, straight from registers: no shared memory to reserve, nothing to wait for. (A
// second exchange would make 64 bytes of them, and costs more than it saves.)
#pragma once

#include "arguments.cuh"
#include "sm90/plan.cuh"
#include "sm90/softmax.cuh"

namespace attnc::sm90 {

// `offset` elements after `target`, so that a row takes one address; in one instruction and without a branch, across
// which the compiler would not overlap several.
template <int offset>
__device__ __forceinline__ void store_8_bytes_if(bool wanted, uint16* target, uint32 low, uint32 high) {
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %3, 0;\n"
      "@wanted st.global.v2.b32 [%0 + %4], {%1, %2};\n"
      "}\n" ::"l"(target),
      "r"(low), "r"(high), "r"(static_cast<int>(wanted)), "n"(2 * offset));
}

// One row of `columns` columns of this thread's accumulator, from its pair i (0 or 1) of each block of 8; from block j
// on.
template <bool is_bf16, int columns, int j = 0>
__device__ __forceinline__ void store_row(uint16* row, const float (&out)[columns / 2], int i, float factor,
                                          bool inside) {
  const bool odd = threadIdx.x & 1;
  if constexpr (8 * j + 16 <= columns) {
    uint32 words[2];
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      words[n] = pack_pair<is_bf16>(out[4 * (j + n) + 2 * i] * factor, out[4 * (j + n) + 2 * i + 1] * factor);
    }
    const uint32 received = __shfl_xor_sync(0xffffffffu, odd ? words[0] : words[1], 1);
    store_8_bytes_if<8 * j>(inside, row + 8 * (threadIdx.x % 2) + 2 * (threadIdx.x & 2), odd ? received : words[0],
                            odd ? words[1] : received);
    store_row<is_bf16, columns, j + 2>(row, out, i, factor, inside);
  } else if constexpr (8 * j < columns) {
    const uint32 word = pack_pair<is_bf16>(out[4 * j + 2 * i] * factor, out[4 * j + 2 * i + 1] * factor);
    if (inside) *reinterpret_cast<uint32*>(row + 8 * j + 2 * (threadIdx.x % 4)) = word;
  }
}

// What is left to write of a work tile once its softmax is finished but its last product still runs.
struct PendingRows {
  int batch;
  int head;
  int first_row;    // of this thread; its second is 8 further
  float factor[2];  // 1 / sum of probabilities
};

__device__ __forceinline__ uint16* output_of_head(const ForwardArguments& args, int batch, int head) {
  return static_cast<uint16*>(const_cast<void*>(args.out.data)) + batch * args.out.batch_stride_elems +
         head * args.out.head_stride_elems;
}

// Writes the log-sum-exp of this thread's rows and returns what their output will need.
template <class Plan, class Mods>
__device__ __forceinline__ PendingRows finish_rows(const ForwardArguments& args, int batch, int head, int first_row,
                                                   OnlineSoftmax<Plan, Mods>& softmax) {
  softmax.finish();
  if (args.lse != nullptr && threadIdx.x % 4 == 0) {
    float* lse = args.lse + batch * args.lse_batch_stride_elems + head * args.lse_head_stride_elems;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (first_row + 8 * i < args.q_len) lse[first_row + 8 * i] = softmax.log2_sum(i) * ln_2;
    }
  }
  return {batch, head, first_row, {softmax.inverse_sum(0), softmax.inverse_sum(1)}};
}

template <class Plan>
__device__ __forceinline__ void write_rows(const ForwardArguments& args, const PendingRows& rows,
                                           const float (&out)[Plan::head_dim_v / 2]) {
  uint16* head = output_of_head(args, rows.batch, rows.head);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = rows.first_row + 8 * i;
    store_row<Plan::is_bf16, Plan::head_dim_v>(head + row * args.out.row_stride_elems, out, i, rows.factor[i],
                                               row < args.q_len);
  }
}

// Rows of one warpgroup, from `first_row` on, that keep no key: output 0, log-sum-exp -inf.
template <class Plan>
__device__ __forceinline__ void write_empty_rows(const ForwardArguments& args, int batch, int head, int first_row) {
  constexpr int row_words = Plan::head_dim_v / 2;
  const int thread = threadIdx.x % warpgroup_threads;
  const int rows = min_int(rows_per_warpgroup, args.q_len - first_row);
  uint16* out = output_of_head(args, batch, head);
#pragma unroll 1
  for (int i = thread; i < rows * row_words; i += warpgroup_threads) {
    const int row = first_row + i / row_words;
    reinterpret_cast<uint32*>(out + row * args.out.row_stride_elems)[i % row_words] = 0;
  }
  if (args.lse != nullptr && thread < rows) {
    args.lse[batch * args.lse_batch_stride_elems + head * args.lse_head_stride_elems + first_row + thread] =
        minus_infinity();
  }
}

}  // namespace attnc::sm90
