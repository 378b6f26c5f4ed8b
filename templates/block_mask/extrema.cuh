// SPDX-License-Identifier: Apache-2.0
// Minima and maxima of captured buffers over runs of elements, for classifiers (ClassifierProgram::Extrema in
// compiler/bounds/bounds.h). Level k holds the extremes of 2^k runs in a row, from every run on, so that two entries
// answer for any stretch.
#pragma once

#include "dependent_launch.cuh"
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
  int32 runs;      // ceil(extent / granule); the table has levels * runs entries in the dimension
  int32 granule;   // at most max_granule
  int32 levels;    // at most max_levels
  int32* counter;  // set to 0, for the launch that comes next; may be null
};

inline constexpr int max_levels = 7;
inline constexpr int max_granule = 64;
inline constexpr int runs_per_block = 64;
inline constexpr int threads = 1024;  // the call is short: many warps hide what each load takes

// What a program is made for. `lines`: buffers of rank 1 of int32, as documents are. The launch is so short that what
// it takes is mostly waiting for its own instructions where the caches have lost them, so the usual one has few.
enum class Buffers : int { lines, any };

template <Buffers kind>
struct Extreme {
  using Type = int64;
};
template <>
struct Extreme<Buffers::lines> {
  using Type = int32;
};

template <Buffers kind>
__forceinline__ void write(const Arguments& args, void* table, int64 at, typename Extreme<kind>::Type value) {
  if (table == nullptr) return;
  if constexpr (kind == Buffers::lines) {
    static_cast<int32*>(table)[at] = value;
    return;
  }
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

template <class T>
__forceinline__ T least(T a, T b) {
  return a < b ? a : b;
}
template <class T>
__forceinline__ T most(T a, T b) {
  return a < b ? b : a;
}

// What a block of threads holds: the runs it summarises, and as many after them as the highest level reads.
inline constexpr int held = runs_per_block + (1 << (max_levels - 1)) - 1;
inline constexpr int level_threads = 128;
inline constexpr int lanes_per_run = 8;
static_assert(held <= level_threads && held * lanes_per_run <= threads, "a thread a run, eight lanes a run");

// The extremes of each held run, from elements of type T: all of a thread's loads first, since the call is nothing but
// waiting for them. Values fit T, so T's own ends stand for a run without elements.
template <class T, class Kept>
__forceinline__ void summarize_runs(const Arguments& args, int64 start, int64 first_run, Kept* minima, Kept* maxima) {
  constexpr int loads = max_granule / lanes_per_run;
  const int run = static_cast<int>(threadIdx.x) / lanes_per_run, lane = static_cast<int>(threadIdx.x) % lanes_per_run;
  const int64 first = (first_run + run) * args.granule;
  const int64 there = least<int64>(args.granule, args.extent - first);
  const int count = static_cast<int>(there) - lane;  // this lane's elements are those at 0, 8, 16, ... below it
  const T* from = static_cast<const T*>(args.source) + start + (first + lane) * args.stride_elems;
  const int64 step = lanes_per_run * args.stride_elems;
  using Value = decltype(T{} + 0);
  constexpr Value top = static_cast<Value>(~(1ull << (sizeof(Value) * 8 - 1))), bottom = -top - 1;
  Value lo = top, hi = bottom;
  if constexpr (sizeof(T) == 1) {  // rare, and a user waits for the compiler
    const auto element = static_cast<Element>(args.element);
#pragma unroll 1
    for (int i = 0; i < count; i += lanes_per_run, from += step) {
      Value value = *from;
      if (element == Element::i8) value = static_cast<int8>(value);
      if (element == Element::boolean) value = value != 0;
      lo = value < lo ? value : lo;
      hi = value > hi ? value : hi;
    }
  } else {
    T values[loads] = {};
#pragma unroll
    for (int i = 0; i < loads; ++i)
      if (i * lanes_per_run < count) values[i] = from[i * step];
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      if (i * lanes_per_run >= count) continue;
      lo = values[i] < lo ? values[i] : lo;
      hi = values[i] > hi ? values[i] : hi;
    }
  }
#pragma unroll 1
  for (int distance = lanes_per_run / 2; distance > 0; distance /= 2) {
    const Value other_lo = __shfl_xor_sync(0xffffffffu, lo, distance);
    const Value other_hi = __shfl_xor_sync(0xffffffffu, hi, distance);
    lo = other_lo < lo ? other_lo : lo;
    hi = other_hi > hi ? other_hi : hi;
  }
  if (lane == 0 && run < held) {
    minima[run] = lo;
    maxima[run] = hi;
  }
}

// Levels 0, 1, ... of the held runs, by the first level_threads threads.
template <Buffers kind, class Value>
__forceinline__ void write_levels(const Arguments& args, int64 first_run, uint32 outer, Value (&minima)[2][held + 1],
                                  Value (&maxima)[2][held + 1]) {
  const int thread = static_cast<int>(threadIdx.x);
  const int64 table_rows = static_cast<int64>(args.levels) * args.runs;
  const int64 inner = kind == Buffers::lines ? 1 : args.inner;
  int64 base = 0;
  if constexpr (kind == Buffers::any) {
    const uint32 within = static_cast<uint32>(inner);
    base = within == 1 ? outer * table_rows : static_cast<int64>(outer / within) * table_rows * within + outer % within;
  }
  int from = 0;
#pragma unroll 1
  for (int level = 0; level < args.levels; ++level) {
    if (thread < runs_per_block && first_run + thread < args.runs) {
      const int64 at = base + (static_cast<int64>(level) * args.runs + first_run + thread) * inner;
      write<kind>(args, args.minima, at, minima[from][thread]);
      write<kind>(args, args.maxima, at, maxima[from][thread]);
    }
    if (thread < held) {
      // Beyond what is held, an entry is that of fewer runs; none of those is written.
      const int next = thread + (1 << level) < held ? thread + (1 << level) : thread;
      minima[1 - from][thread] = least(minima[from][thread], minima[from][next]);
      maxima[1 - from][thread] = most(maxima[from][thread], maxima[from][next]);
    }
    from = 1 - from;
    asm volatile("bar.sync 1, %0;" ::"n"(level_threads) : "memory");
  }
}

// Where the elements of an index into the other dimensions begin.
__forceinline__ int64 start_of(const Arguments& args, uint32 outer) {
  int64 start = 0;
#pragma unroll 1
  for (int d = 3; d >= 0 && outer != 0; --d) {
    const uint32 extent = static_cast<uint32>(args.outer_extent[d]);
    start += static_cast<int64>(outer % extent) * args.outer_stride_elems[d];
    outer /= extent;
  }
  return start;
}

// A block of threads writes all levels of 64 runs.
template <Buffers kind>
__forceinline__ void summarize(const Arguments& args) {
  using Value = typename Extreme<kind>::Type;
  __shared__ Value minima[2][held + 1], maxima[2][held + 1];
  allow_next_launch();
  const int thread = static_cast<int>(threadIdx.x);
  if (args.counter != nullptr && thread == 0 && blockIdx.x + blockIdx.y == 0) *args.counter = 0;
  const int64 first_run = static_cast<int64>(blockIdx.x) * runs_per_block;
  if constexpr (kind == Buffers::lines) {
    summarize_runs<int32>(args, 0, first_run, minima[0], maxima[0]);
    __syncthreads();
    if (thread < level_threads) write_levels<kind>(args, first_run, 0, minima, maxima);
  } else {
    for (uint32 outer = blockIdx.y; outer < static_cast<uint32>(args.outer); outer += gridDim.y) {
      const int64 start = start_of(args, outer);
      switch (static_cast<Element>(args.element)) {
        case Element::i32:
          summarize_runs<int32>(args, start, first_run, minima[0], maxima[0]);
          break;
        case Element::i64:
          summarize_runs<int64>(args, start, first_run, minima[0], maxima[0]);
          break;
        default:
          summarize_runs<uint8>(args, start, first_run, minima[0], maxima[0]);
          break;
      }
      __syncthreads();
      if (thread < level_threads) write_levels<kind>(args, first_run, outer, minima, maxima);
      __syncthreads();  // before the next turn writes the shared memory
    }
  }
}

}  // namespace attnc::extrema
