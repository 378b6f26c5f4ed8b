// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/launch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/cuda/source.h"
#include "dsl/error.h"
#include "dsl/format.h"
#include "runtime/cuda/block_tables.h"
#include "runtime/cuda/enqueue.h"
#include "runtime/cuda/tensor_maps.h"

namespace attnc::cuda {
namespace {

constexpr std::int64_t max_grid_x = std::numeric_limits<std::int32_t>::max();

/// Of a multiprocessor's shared memory, what the system takes for each block beside its own.
constexpr int block_smem_bytes = 1024;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Stream-ordered scratch: freed on the same stream, after everything enqueued in between.
class StreamMemory {
 public:
  StreamMemory(std::size_t bytes, CUstream stream) : stream_(stream) {
    check(driver().mem_alloc_async(&pointer_, bytes, stream), "allocating the partial results of split keys");
  }
  ~StreamMemory() { driver().mem_free_async(pointer_, stream_); }
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;
  float* floats(std::size_t offset) const { return reinterpret_cast<float*>(pointer_) + offset; }

 private:
  CUdeviceptr pointer_ = 0;
  CUstream stream_;
};

void enqueue(CUfunction function, std::int64_t grid_x, int grid_y, int threads, int smem_bytes, CUstream stream,
             void** arguments, bool overlaps = false) {
  enqueue_kernel(function, {grid_x, grid_y, threads, smem_bytes}, overlaps, stream, arguments,
                 "launching the forward kernel");
}

void launch_sm80(const LoadedKernel& kernel, const DeviceInfo& device, const ForwardCall& call, ForwardArguments& args,
                 void* params, std::int64_t q_tiles, const ForwardQueue& queue) {
  const plan::TilePlan& plan = kernel.plan();
  const auto stream = static_cast<CUstream>(call.stream);
  args.kv_splits = choose_kv_splits(plan, device, q_tiles, call.kv_len);
  void* arguments[] = {&args, params};
  if (args.kv_splits == 1) {
    enqueue(kernel.forward(), q_tiles, 1, plan.threads, plan.smem_bytes, stream, arguments,
            queue.overlaps && can_overlap_launches(device));
    return;
  }
  const std::int64_t rows = static_cast<std::int64_t>(call.batch) * call.q_heads * call.q_len;
  const auto out_elems = static_cast<std::size_t>(args.kv_splits * rows * plan.head_dim_v);
  const auto lse_elems = static_cast<std::size_t>(args.kv_splits * rows);
  const StreamMemory scratch((out_elems + lse_elems) * sizeof(float), stream);
  args.out_partial = scratch.floats(0);
  args.lse_partial = scratch.floats(out_elems);
  enqueue(kernel.forward(), q_tiles, args.kv_splits, plan.threads, plan.smem_bytes, stream, arguments);
  if (plan.packs_groups) {
    enqueue(kernel.combine(), rows, 1, combine_group_threads, 0, stream, arguments, can_overlap_launches(device));
  } else {
    constexpr int combine_threads = 128;
    enqueue(kernel.combine(), ceil_div(rows, combine_threads / 32), 1, combine_threads, 0, stream, arguments);
  }
}

void launch_sm90(const LoadedKernel& kernel, const DeviceInfo& device, const ForwardCall& call, ForwardArguments& args,
                 void* params, std::int64_t q_tiles, const ForwardQueue& queue) {
  const plan::TilePlan& plan = kernel.plan();
  const auto stream = static_cast<CUstream>(call.stream);
  TensorMaps maps = encode_tensor_maps(plan, call);
  if (args.blocks.q_block != plan.tile_q) args.blocks.work_order = nullptr;
  void* arguments[] = {&maps, &args, params};
  // Persistent blocks, one per multiprocessor.
  const std::int64_t grid = std::min<std::int64_t>(q_tiles, device.multiprocessors);
  args.tile_counter = queue.counter.word;
  const bool reset =
      args.tile_counter != nullptr && !queue.counter_is_zero && !queue.counter.cleared->load(std::memory_order_acquire);
  if (reset) {
    check(driver().memset_d32_async(reinterpret_cast<CUdeviceptr>(args.tile_counter), 0, 1, stream),
          "resetting a counter");
    queue.counter.cleared->store(true, std::memory_order_release);
  }
  // The kernel waits for what was launched before it until it reads or writes anything (docs/decisions/0009).
  const bool overlaps = !reset && can_overlap_launches(device) && (queue.overlaps || !is_capturing(stream));
  enqueue(kernel.forward(), grid, 1, plan.threads, plan.smem_bytes, stream, arguments, overlaps);
}

}  // namespace

bool suits_packed_groups(const ForwardCall& call) {
  // A tile of 64 packed rows takes 1.6 times as long as the Hopper kernel's tile of one head, however few rows that
  // has. With one head for each of k and v, packing saves no reading: what is gained is that four warps divide the
  // keys, which they do up to 16 rows.
  constexpr int most_queries = 32, most_queries_of_one_head = 16;
  if (call.block_mask != nullptr || call.kv_heads == 0) return false;
  return call.q_len <= (call.q_heads > call.kv_heads ? most_queries : most_queries_of_one_head);
}

std::int64_t count_q_tiles(const plan::TilePlan& plan, const ForwardCall& call) {
  if (!plan.packs_groups) return ceil_div(call.q_len, plan.tile_q) * call.batch * call.q_heads;
  const int kv_heads = std::max(call.kv_heads, 1);
  const std::int64_t rows = static_cast<std::int64_t>(call.q_len) * (call.q_heads / kv_heads);
  return ceil_div(rows, plan.tile_q) * call.batch * kv_heads;
}

namespace {

/// choose_kv_splits where groups are packed, and reading K and V is all there is to do: the least of what the tiles
/// that blocks read one after the other cost, in tiles times blocks. Fitted to an H200. (200 turns, 1 us, for one
/// sequence of a million keys; a few otherwise.)
int choose_group_splits(const plan::TilePlan& plan, const DeviceInfo& device, std::int64_t q_tiles,
                        std::int64_t kv_tiles) {
  constexpr int most_splits = 256;
  // To begin and end a block takes as long as a tile; to merge splits, as long as a tile and a half of all blocks.
  constexpr double block_tiles = 1, merge_tiles = 1.5;
  // A last wave that leaves part of the device idle leaves the rest its bandwidth.
  constexpr double idle_share = 0.2, most_waves = 4;
  // Splits that gain less are not worth their memory.
  constexpr double least_gain = 0.98;
  const int fitting = (device.target.smem_limit_bytes + block_smem_bytes) / (plan.smem_bytes + block_smem_bytes);
  const double resident = device.multiprocessors * std::clamp(fitting, 1, plan.min_blocks);
  // Blocks that keep the memory busy.
  const double saturating = std::min(device.multiprocessors * 1.25, resident);
  int best = 1;
  double best_cost = std::numeric_limits<double>::infinity();
  for (std::int64_t splits = 1, longest = kv_tiles; longest > 0 && splits <= most_splits;) {
    const double blocks = static_cast<double>(q_tiles * splits);
    const double waves = blocks / resident;
    if (splits > 1 && waves > most_waves) break;
    const double tail = waves > 1 ? 1 + idle_share * (std::ceil(waves) / waves - 1) : 1;
    const double tiles = static_cast<double>(longest) + block_tiles;
    const double cost = tiles * std::max(blocks, saturating) * tail + (splits > 1 ? merge_tiles * saturating : 0);
    if (cost <= best_cost * least_gain) {
      best = static_cast<int>(splits);
      best_cost = cost;
    }
    // The fewest splits that make the longest shorter.
    if (longest == 1) break;
    splits = ceil_div(kv_tiles, longest - 1);
    longest = ceil_div(kv_tiles, splits);
  }
  return best;
}

}  // namespace

int choose_kv_splits(const plan::TilePlan& plan, const DeviceInfo& device, std::int64_t q_tiles, int kv_len) {
  if (q_tiles == 0) return 1;
  const std::int64_t kv_tiles = ceil_div(kv_len, plan.tile_kv);
  if (plan.packs_groups) return choose_group_splits(plan, device, q_tiles, kv_tiles);
  // Below this share of the device in use, reading K and V by more blocks pays for merging their results.
  const std::int64_t wanted = device.multiprocessors * 4 / 5;
  constexpr int min_tiles_per_split = 4;
  if (q_tiles >= wanted) return 1;
  const std::int64_t splits = std::min(device.multiprocessors / q_tiles, kv_tiles / min_tiles_per_split);
  return static_cast<int>(std::clamp<std::int64_t>(splits, 1, 64));
}

TileCounter tile_counter(const LoadedKernel& kernel, const DeviceInfo& device, const ForwardCall& call,
                         TileCounters* counters) {
  // Tiles of unequal work are taken as blocks become free, if there are more tiles than blocks.
  const plan::TilePlan& plan = kernel.plan();
  const bool in_turn = plan.family == plan::KernelFamily::sm90 && plan.longest_first && counters != nullptr &&
                       count_q_tiles(plan, call) > device.multiprocessors;
  return in_turn ? counters->counter_for(static_cast<CUstream>(call.stream)) : TileCounter{};
}

void launch_forward(const LoadedKernel& kernel, const DeviceInfo& device, const ForwardCall& call,
                    ForwardArguments args, const ParamBytes& params, const ForwardQueue& queue) {
  const plan::TilePlan& plan = kernel.plan();
  const std::int64_t q_tiles = count_q_tiles(plan, call);
  if (q_tiles > max_grid_x) {
    throw Error(
        ErrorCode::invalid_argument,
        attnc::format("attnc: q has {} x {} x {} rows: more than {} tiles of {} rows cannot be launched at once; split "
                      "the batch",
                      call.batch, call.q_heads, call.q_len, max_grid_x, plan.tile_q));
  }
  void* bytes = const_cast<std::byte*>(params.bytes.data());
  if (plan.family == plan::KernelFamily::sm90) {
    launch_sm90(kernel, device, call, args, bytes, q_tiles, queue);
  } else {
    launch_sm80(kernel, device, call, args, bytes, q_tiles, queue);
  }
}

}  // namespace attnc::cuda
