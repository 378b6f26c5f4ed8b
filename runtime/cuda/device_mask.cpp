// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_mask.h"

#include <algorithm>
#include <future>
#include <utility>

#include "dsl/error.h"
#include "runtime/cuda/block_mask_arguments.h"
#include "runtime/cuda/block_tables.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/extrema.h"
#include "runtime/cuda/mask_kernels.h"
#include "runtime/cuda/pack.h"

namespace attnc::cuda {
namespace {

constexpr int threads = 128;  // of every kernel but the scan
constexpr int scan_threads = 1024;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Memory taken from a stream's pool. Freed by the ordinary call, which waits for whatever still reads it: the stream
/// may be gone by then.
class Memory {
 public:
  Memory() = default;
  ~Memory() { release(); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void allocate(std::int64_t bytes, CUstream stream) {
    release();
    check(driver().mem_alloc_async(&pointer_, static_cast<std::size_t>(bytes), stream), "allocating a block mask");
    bytes_ = bytes;
  }
  CUdeviceptr get() const { return pointer_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  void release() {
    if (pointer_ != 0) driver().mem_free(pointer_);
    pointer_ = 0;
    bytes_ = 0;
  }
  CUdeviceptr pointer_ = 0;
  std::int64_t bytes_ = 0;
};

/// Hands out pieces of one allocation, first to count bytes and then for good.
class Carver {
 public:
  explicit Carver(CUdeviceptr base) : base_(base) {}
  template <class T>
  T* take(std::int64_t elems) {
    const std::int64_t at = used_;
    used_ += (elems * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
    return reinterpret_cast<T*>(base_ + static_cast<CUdeviceptr>(at));
  }
  std::int64_t used() const { return used_; }

 private:
  CUdeviceptr base_;
  std::int64_t used_ = 0;
};

void refuse_capture(CUstream stream, const char* what) {
  if (!is_capturing(stream)) return;
  throw Error(ErrorCode::invalid_argument, std::string("attnc: ") + what);
}

}  // namespace

bool device_reads(const ir::Bindings& bindings, Device device) {
  const DeviceInfo info = device_info(device.index);
  const ContextScope context(info);
  int read = 0, others = 0;
  for (const ir::BoundBuffer& buffer : bindings.buffers) {
    if (buffer.data == nullptr) continue;
    int memory_type = 0;
    const CUresult result = driver().pointer_get_attribute(&memory_type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                                           reinterpret_cast<CUdeviceptr>(buffer.data));
    ++(result == CUDA_SUCCESS || info.reads_pageable_memory ? read : others);
  }
  if (read > 0 && others > 0) {
    throw Error(
        ErrorCode::invalid_argument,
        "attnc: BlockMask: some captured buffers are in device memory and some in ordinary host memory; copy all "
        "to the device");
  }
  return others == 0;
}

struct DeviceMask::State {
  DeviceMaskSpec spec;
  DeviceInfo device;
  std::shared_ptr<const MaskKernels> mask;
  std::shared_ptr<const TableKernels> tables;
  MaskArguments args;
  Memory memory, extrema;
  CUstream last_stream = nullptr;

  std::int64_t groups() const { return static_cast<std::int64_t>(spec.batch) * spec.heads; }
  std::int64_t kv_rows() const { return groups() * args.q_blocks; }
  std::int64_t q_rows() const { return groups() * args.kv_blocks; }

  void set_shape() {
    args.batch = spec.batch;
    args.heads = spec.heads;
    args.q_len = spec.q_len;
    args.kv_len = spec.kv_len;
    args.q_block = spec.block_size.q;
    args.kv_block = spec.block_size.kv;
    args.q_blocks = static_cast<std::int32_t>(ceil_div(spec.q_len, spec.block_size.q));
    args.kv_blocks = static_cast<std::int32_t>(ceil_div(spec.kv_len, spec.block_size.kv));
    args.words = static_cast<std::int32_t>(ceil_div(args.kv_blocks, 32));
    args.sections = static_cast<std::int32_t>(ceil_div(args.q_blocks, mask_section_rows));
    args.separate_full_blocks = spec.separate_full_blocks;
    // Every block is in one list at most.
    const std::int64_t blocks = kv_rows() * args.kv_blocks;
    const std::int64_t capacity = std::min(
        blocks, std::max<std::int64_t>(spec.max_list_bytes / static_cast<std::int64_t>(sizeof(std::int32_t)), 0));
    args.kv.capacity = args.q.capacity = std::min<std::int64_t>(capacity, 0x7fffffff);
    const std::int64_t most = std::max({kv_rows() * args.words, 2 * kv_rows(), 2 * q_rows()});
    if (groups() > 0x7fffffff || most > 0x7fffffff) {
      throw Error(
          ErrorCode::invalid_argument,
          "attnc: BlockMask: more than 2^31 rows or words of blocks cannot be decided on a GPU; use larger block "
          "sizes or fewer heads");
    }
    // Few squares are shared by warps, a few rows each.
    const std::int64_t squares = groups() * ceil_div(args.q_blocks, 32) * args.words;
    args.rows_per_warp = squares < device.multiprocessors * 8 ? 4 : 32;
    args.words_per_step = kv_rows() * args.words >= std::int64_t{1} << 20 ? 32 : 1;
  }

  /// The two programs are compiled side by side if both have to be; the other thread works in this one's context.
  void find_kernels() {
    const auto find_mask = [this] {
      mask = MaskKernels::get(spec.program, extrema_granule(spec.block_size.q, spec.block_size.kv), device,
                              spec.cache_dir, spec.log);
    };
    tables = TableKernels::find(device, spec.cache_dir);
    if (tables != nullptr) return find_mask();
    CUcontext shared = nullptr;
    check(driver().ctx_get_current(&shared), "reading the current context");
    auto other = std::async(std::launch::async, [&] {
      check(driver().ctx_push_current(shared), "sharing the context");
      CUcontext popped = nullptr;
      try {
        tables = TableKernels::get(device, spec.cache_dir, spec.log);
      } catch (...) {
        driver().ctx_pop_current(&popped);
        throw;
      }
      driver().ctx_pop_current(&popped);
    });
    find_mask();
    other.get();
  }

  std::int64_t carve(CUdeviceptr base) {
    Carver carver(base);
    const std::int64_t plane = kv_rows() * args.words;
    args.partial = carver.take<std::uint32_t>(plane);
    args.full = carver.take<std::uint32_t>(plane);
    const auto lists = [&](MaskListArguments& side, std::int64_t rows) {
      side.counts = carver.take<std::int32_t>(2 * rows);
      side.offsets = carver.take<std::int32_t>(2 * rows);
      side.indices = carver.take<std::int32_t>(side.capacity);
    };
    lists(args.kv, kv_rows());
    lists(args.q, q_rows());
    args.q.section_counts = carver.take<std::int32_t>(groups() * args.sections * 2 * args.kv_blocks);
    args.work_order = carver.take<std::int32_t>(kv_rows());
    args.tally = carver.take<MaskTally>(1);
    return carver.used();
  }

  void launch(CUfunction kernel, std::int64_t blocks, int block_threads, CUstream stream, void** arguments) const {
    if (blocks > 0x7fffffff) {
      throw Error(ErrorCode::invalid_argument,
                  "attnc: BlockMask: more blocks than one launch can decide; use larger "
                  "block sizes or fewer heads");
    }
    check(driver().launch_kernel(kernel, static_cast<unsigned>(blocks), 1, 1, static_cast<unsigned>(block_threads), 1,
                                 1, 0, stream, arguments, nullptr),
          "building a block mask");
  }

  template <class T>
  std::vector<T> read(const T* from, std::int64_t elems) const {
    std::vector<T> host(static_cast<std::size_t>(elems));
    if (!host.empty())
      check(driver().memcpy_dtoh_async(host.data(), reinterpret_cast<CUdeviceptr>(from), host.size() * sizeof(T),
                                       last_stream),
            "reading a block mask");
    check(driver().stream_synchronize(last_stream), "reading a block mask");
    return host;
  }
};

DeviceMask::DeviceMask(DeviceMaskSpec spec, const ir::Bindings& bindings, void* stream)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.spec = std::move(spec);
  s.device = device_info(s.spec.device.index);
  const ContextScope context(s.device);
  const auto queue = static_cast<CUstream>(stream);
  refuse_capture(queue,
                 "BlockMask::create allocates and cannot be captured into a graph; create the mask before, and "
                 "capture its rebuild()");
  s.set_shape();
  s.find_kernels();
  s.memory.allocate(s.carve(0), queue);
  s.carve(s.memory.get());
  build(bindings, stream);
}

DeviceMask::~DeviceMask() {
  // At exit the driver may be gone already, and its memory with it.
  try {
    const ContextScope context(state_->device);
    state_.reset();
  } catch (...) {
    state_.release();
  }
}

void DeviceMask::build(const ir::Bindings& bindings, void* stream) {
  State& s = *state_;
  const ContextScope context(s.device);
  const auto queue = static_cast<CUstream>(stream);
  const BlockMaskSource& source = s.mask->source;
  ir::Bindings bound = bindings;
  if (!source.layout.extrema.empty()) {
    const std::int64_t bytes = extrema_bytes(source.layout, bound);
    if (bytes > s.extrema.bytes()) {
      refuse_capture(queue,
                     "BlockMask::rebuild: a captured buffer has grown since the mask was made, so that memory "
                     "is needed, and the stream is being captured into a graph; rebuild once before the "
                     "capture");
      s.extrema.allocate(bytes, queue);
    }
    enqueue_extrema(source.layout, bound, s.extrema.get(), s.tables->extrema, queue);
  }
  ParamBytes params;
  pack_params(bound, source.layout, params);

  MaskArguments args = s.args;
  void* with_params[] = {&args, params.bytes.data()};
  void* without[] = {&args};
  check(driver().memset_d32_async(reinterpret_cast<CUdeviceptr>(args.tally), 0, sizeof(MaskTally) / 4, queue),
        "building a block mask");
  constexpr int warps = threads / 32;
  const std::int64_t squares = s.groups() * ceil_div(args.q_blocks, 32) * args.words;
  s.launch(s.mask->classify, ceil_div(squares * (32 / args.rows_per_warp), warps), threads, queue, with_params);
  const std::int64_t steps = ceil_div(s.kv_rows() * args.words, args.words_per_step);
  s.launch(s.mask->decide, std::min<std::int64_t>(ceil_div(steps, warps), s.device.multiprocessors * 16), threads,
           queue, with_params);
  const std::int64_t strips = s.groups() * args.sections * args.words;
  s.launch(s.tables->count, ceil_div(s.kv_rows() + strips, warps), threads, queue, without);
  s.launch(s.tables->scan, 2, scan_threads, queue, without);
  s.launch(s.tables->fill, ceil_div(s.kv_rows() + strips + ceil_div(s.kv_rows(), 32), warps), threads, queue, without);
  s.last_stream = queue;
}

const DeviceMaskSpec& DeviceMask::spec() const { return state_->spec; }

BlockTableArgument DeviceMask::argument() const {
  const State& s = *state_;
  BlockTableArgument argument;
  const std::int64_t rows = s.kv_rows();
  argument.kv_num_blocks = s.args.kv.counts;
  argument.full_kv_num_blocks = s.args.kv.counts + rows;
  argument.kv_offsets = s.args.kv.offsets;
  argument.full_kv_offsets = s.args.kv.offsets + rows;
  argument.kv_indices = argument.full_kv_indices = s.args.kv.indices;
  argument.counts_head_stride = s.spec.heads > 1 ? s.args.q_blocks : 0;
  argument.counts_batch_stride = s.spec.batch > 1 ? static_cast<std::int64_t>(s.spec.heads) * s.args.q_blocks : 0;
  argument.q_block = s.args.q_block;
  argument.kv_block = s.args.kv_block;
  return argument;
}

std::int64_t DeviceMask::device_bytes() const { return state_->memory.bytes() + state_->extrema.bytes(); }

DeviceMaskContents DeviceMask::download() const {
  const State& s = *state_;
  const ContextScope context(s.device);
  const std::int64_t plane = s.kv_rows() * s.args.words;
  DeviceMaskContents contents;
  contents.words = s.args.words;
  contents.partial = s.read(s.args.partial, plane);
  contents.full = s.read(s.args.full, plane);
  const MaskTally tally = s.read(s.args.tally, 1)[0];
  std::int64_t full = tally.full, present = 0;
  for (std::size_t i = 0; i < contents.full.size(); ++i) {
    full += __builtin_popcount(contents.full[i]);
    present += __builtin_popcount(contents.full[i] | contents.partial[i]);
  }
  const std::int64_t evaluated_empty =
      static_cast<std::int64_t>(tally.evaluated) - tally.evaluated_full - tally.evaluated_partial;
  contents.stats.evaluated = tally.evaluated;
  contents.stats.proved_full = full - tally.evaluated_full;
  contents.stats.proved_empty = s.kv_rows() * s.args.kv_blocks - present - evaluated_empty;
  contents.stats.overflowing_rows = tally.overflowing_rows;
  return contents;
}

DeviceMaskLists DeviceMask::download_lists(bool q_side) const {
  const State& s = *state_;
  const ContextScope context(s.device);
  const MaskListArguments& side = q_side ? s.args.q : s.args.kv;
  const std::int64_t rows = q_side ? s.q_rows() : s.kv_rows();
  DeviceMaskLists lists;
  lists.counts = s.read(side.counts, 2 * rows);
  lists.offsets = s.read(side.offsets, 2 * rows);
  lists.indices = s.read(side.indices, side.capacity);
  return lists;
}

std::vector<std::int32_t> DeviceMask::download_work_order() const {
  const ContextScope context(state_->device);
  return state_->read(state_->args.work_order, state_->kv_rows());
}

}  // namespace attnc::cuda
