// SPDX-License-Identifier: Apache-2.0
// Minima and maxima of captured buffers over runs of elements, for classifiers (ClassifierProgram::Extrema in
// compiler/bounds/bounds.h). Level k holds the extremes of 2^k runs in a row, from every run on, so that two entries
// answer for any stretch.
#pragma once

#include "prelude.cuh"

namespace attnc::extrema {

// The element types of dsl/types.h that have extremes, numbered as runtime/cuda/extrema.h does.
enum class Element : int { i32, i64, i8, u8, boolean };

struct Arguments {
  const void* source;
  void* minima;  // null: not wanted. Elements int32, int64 or, of booleans, uint8; shape as below, contiguous
  void* maxima;
  int64 stride_elems;  // of the source, in the dimension that is summed up
  int64 extent;
  int64 outer_stride_elems[4];  // the other dimensions, in their order
  int64 outer_extent[4];        // 1 where there is none
  int64 inner;                  // elements of the dimensions after the one summed up
  int64 outer;                  // elements of all others together
  int32 element;
  int32 runs;     // ceil(extent / granule); the table has levels * runs entries in the dimension
  int32 granule;  // at most max_granule
  int32 levels;   // at most max_levels
};

inline constexpr int max_levels = 7;
inline constexpr int max_granule = 64;
inline constexpr int runs_per_block = 64;
inline constexpr int threads = 1024;  // the call is short: many warps hide what each load takes

__forceinline__ int64 element_at(const Arguments& args, int64 offset) {
  switch (static_cast<Element>(args.element)) {
    case Element::i32:
      return static_cast<const int32*>(args.source)[offset];
    case Element::i64:
      return static_cast<const int64*>(args.source)[offset];
    case Element::i8:
      return static_cast<const int8*>(args.source)[offset];
    case Element::u8:
      return static_cast<const uint8*>(args.source)[offset];
    default:
      return static_cast<const uint8*>(args.source)[offset] != 0;
  }
}

__forceinline__ void write(const Arguments& args, void* table, int64 at, int64 value) {
  if (table == nullptr) return;
  switch (static_cast<Element>(args.element)) {
    case Element::i64:
      static_cast<int64*>(table)[at] = value;
      break;
    case Element::boolean:
      static_cast<uint8*>(table)[at] = static_cast<uint8>(value);
      break;
    default:
      static_cast<int32*>(table)[at] = static_cast<int32>(value);
      break;
  }
}

__forceinline__ int64 least(int64 a, int64 b) { return a < b ? a : b; }
__forceinline__ int64 most(int64 a, int64 b) { return a < b ? b : a; }

// A block of threads summarises 64 runs, and reads as many after them for the higher levels.
__forceinline__ void summarize(const Arguments& args) {
  constexpr int64 top = 0x7fffffffffffffffll;
  constexpr int held = runs_per_block + (1 << (max_levels - 1)) - 1;
  __shared__ int64 minima[2][held + 1], maxima[2][held + 1];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64 first_run = static_cast<int64>(blockIdx.x) * runs_per_block;
  for (uint32 outer = blockIdx.y; outer < static_cast<uint32>(args.outer); outer += gridDim.y) {
    int64 start = 0;
    uint32 rest = outer;
#pragma unroll 1
    for (int d = 3; d >= 0; --d) {
      const uint32 extent = static_cast<uint32>(args.outer_extent[d]);
      start += static_cast<int64>(rest % extent) * args.outer_stride_elems[d];
      rest /= extent;
    }
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x) / 32; i < held; i += threads / 32) {
      const int64 first = (first_run + i) * args.granule;
      int64 lo = top, hi = -top - 1;
#pragma unroll
      for (int j = 0; j < max_granule; j += 32) {
        if (j + lane >= args.granule || first + j + lane >= args.extent) continue;
        const int64 value = element_at(args, start + (first + j + lane) * args.stride_elems);
        lo = least(lo, value);
        hi = most(hi, value);
      }
#pragma unroll 1
      for (int distance = 16; distance > 0; distance /= 2) {
        lo = least(lo, __shfl_xor_sync(0xffffffffu, lo, distance));
        hi = most(hi, __shfl_xor_sync(0xffffffffu, hi, distance));
      }
      if (lane == 0) {
        minima[0][i] = lo;
        maxima[0][i] = hi;
      }
    }
    __syncthreads();
    const int64 table_rows = static_cast<int64>(args.levels) * args.runs;
    const uint32 inner = static_cast<uint32>(args.inner);
    const int64 base = static_cast<int64>(outer / inner) * table_rows * inner + outer % inner;
    int from = 0;
#pragma unroll 1
    for (int level = 0; level < args.levels; ++level) {
      const int i = static_cast<int>(threadIdx.x);
      if (i < runs_per_block && first_run + i < args.runs) {
        const int64 at = base + (static_cast<int64>(level) * args.runs + first_run + i) * args.inner;
        write(args, args.minima, at, minima[from][i]);
        write(args, args.maxima, at, maxima[from][i]);
      }
      if (i < held) {
        // Beyond what is held, an entry is that of fewer runs; none of those is written.
        const int next = i + (1 << level) < held ? i + (1 << level) : i;
        minima[1 - from][i] = least(minima[from][i], minima[from][next]);
        maxima[1 - from][i] = most(maxima[from][i], maxima[from][next]);
      }
      from = 1 - from;
      __syncthreads();
    }
  }
}

}  // namespace attnc::extrema
