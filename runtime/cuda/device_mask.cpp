// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_mask.h"

#include <algorithm>
#include <future>
#include <utility>

#include "dsl/error.h"
#include "runtime/cuda/block_mask_arguments.h"
#include "runtime/cuda/block_tables.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/enqueue.h"
#include "runtime/cuda/extrema.h"
#include "runtime/cuda/mask_kernels.h"
#include "runtime/cuda/mask_memory.h"
#include "runtime/cuda/pack.h"

namespace attnc::cuda {
namespace {

constexpr int threads = 128;  // of the kernels of large masks but the scan
constexpr int scan_threads = 1024;
constexpr std::int64_t block_bits_words = 128 * 128 / 32;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

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
  std::shared_ptr<const MaskKernels> mask, bits_kernels;
  std::shared_ptr<const TableKernels> lists, extrema_kernels;
  MaskArguments args;
  bool bits_wanted = false;
  std::uint32_t* bits = nullptr;
  MaskIdentity identity;     ///< with bits
  ir::Bindings bits_are_of;  ///< the captures they were made from
  bool small = false;        ///< few enough blocks for one launch
  bool may_overlap = false;
  CUdeviceptr own_extrema = 0;  ///< in `memory`
  std::int64_t own_extrema_bytes = 0;
  MaskMemory memory;
  MaskMemory grown_extrema;  ///< where a captured buffer has grown since
  CUstream last_stream = nullptr;

  std::int64_t groups() const { return static_cast<std::int64_t>(spec.batch) * spec.heads; }
  std::int64_t kv_rows() const { return groups() * args.q_blocks; }
  std::int64_t q_rows() const { return groups() * args.kv_blocks; }
  std::int64_t blocks() const { return kv_rows() * args.kv_blocks; }

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
    args.separate_full_blocks = spec.separate_full_blocks;
    // Every block is in one list at most.
    const std::int64_t capacity = std::min(
        blocks(), std::max<std::int64_t>(spec.max_list_bytes / static_cast<std::int64_t>(sizeof(std::int32_t)), 0));
    args.kv.capacity = args.q.capacity = std::min<std::int64_t>(capacity, 0x7fffffff);
    const std::int64_t most = std::max({kv_rows() * args.words, 2 * kv_rows(), 2 * q_rows()});
    if (groups() > 0x7fffffff || most > 0x7fffffff) {
      throw Error(
          ErrorCode::invalid_argument,
          "attnc: BlockMask: more than 2^31 rows or words of blocks cannot be decided on a GPU; use larger block "
          "sizes or fewer heads");
    }
    small = kv_rows() * args.words <= mask_small_words && kv_rows() <= mask_small_rows && q_rows() <= mask_small_rows &&
            args.kv.capacity >= blocks();
    // Stretches of rows are as short as a warp's loads allow where there are few strips of them.
    args.section_rows = groups() * args.words * ceil_div(args.q_blocks, 128) <= 4096 ? 128 : 512;
    args.sections = static_cast<std::int32_t>(ceil_div(args.q_blocks, args.section_rows));
    // Few squares are shared by warps, a few rows each.
    const std::int64_t squares = groups() * ceil_div(args.q_blocks, 32) * args.words;
    args.rows_per_warp = squares < device.multiprocessors * 8 ? 4 : 32;
    args.words_per_step = kv_rows() * args.words >= std::int64_t{1} << 20 ? 32 : 1;
    may_overlap = can_overlap_launches(device);
  }

  /// Bits need every partial block's place in the lists to be its own, and a kernel that reads them.
  bool may_have_bits() const {
    return spec.element_bits != ElementBits::never && device.target.arch == 90 &&
           spec.block_size == BlockSize{128, 128} && args.kv.capacity >= blocks() &&
           blocks() <= spec.max_bit_bytes / (block_bits_words * 4);
  }

  /// Programs that are not loaded yet are made side by side; the other threads work in this one's context.
  void find_kernels() {
    const int granule = extrema_granule(spec.block_size.q, spec.block_size.kv);
    const bool reads_buffers = !spec.program.buffers.empty();
    const TablePurpose extrema = extrema_purpose(spec.program);
    extrema_kernels = reads_buffers ? TableKernels::find(extrema, device, spec.cache_dir) : nullptr;
    const TablePurpose list_purpose = small ? TablePurpose::small_lists : TablePurpose::lists;
    lists = TableKernels::find(list_purpose, device, spec.cache_dir);
    std::vector<std::future<void>> others;
    if (reads_buffers && extrema_kernels == nullptr) {
      others.push_back(
          beside([this, extrema] { extrema_kernels = TableKernels::get(extrema, device, spec.cache_dir, spec.log); }));
    }
    if (lists == nullptr) {
      others.push_back(
          beside([this, list_purpose] { lists = TableKernels::get(list_purpose, device, spec.cache_dir, spec.log); }));
    }
    const MaskPurpose purpose = small ? MaskPurpose::small : MaskPurpose::large;
    mask = MaskKernels::find(spec.program, granule, purpose, device, spec.cache_dir);
    if (may_have_bits()) {
      bits_wanted = spec.element_bits == ElementBits::always ||
                    (mask != nullptr ? mask->is_dear : is_dear_to_evaluate(spec.program, device.target));
    }
    if (bits_wanted) {
      bits_kernels = MaskKernels::find(spec.program, granule, MaskPurpose::bits, device, spec.cache_dir);
      if (bits_kernels == nullptr) {
        others.push_back(beside([this, granule] {
          bits_kernels = MaskKernels::get(spec.program, granule, MaskPurpose::bits, device, spec.cache_dir, spec.log);
        }));
      }
      identity = MaskIdentity(spec.program);
    }
    if (mask == nullptr) mask = MaskKernels::get(spec.program, granule, purpose, device, spec.cache_dir, spec.log);
    for (auto& other : others) other.get();
  }

  template <class Body>
  static std::future<void> beside(Body body) {
    CUcontext shared = nullptr;
    check(driver().ctx_get_current(&shared), "reading the current context");
    return std::async(std::launch::async, [shared, body] {
      check(driver().ctx_push_current(shared), "sharing the context");
      CUcontext popped = nullptr;
      try {
        body();
      } catch (...) {
        driver().ctx_pop_current(&popped);
        throw;
      }
      driver().ctx_pop_current(&popped);
    });
  }

  std::int64_t carve(CUdeviceptr base) {
    Carver carver(base);
    const std::int64_t plane = kv_rows() * args.words;
    args.partial = carver.take<std::uint32_t>(plane);
    args.full = carver.take<std::uint32_t>(plane);
    if (small) args.open = carver.take<std::uint32_t>(plane);
    const auto lists_of = [&](MaskListArguments& side, std::int64_t rows) {
      side.counts = carver.take<std::int32_t>(2 * rows);
      side.offsets = carver.take<std::int32_t>(2 * rows);
      side.indices = carver.take<std::int32_t>(side.capacity);
    };
    lists_of(args.kv, kv_rows());
    lists_of(args.q, q_rows());
    if (!small) args.q.section_counts = carver.take<std::int32_t>(groups() * args.sections * 2 * args.kv_blocks);
    args.work_order = carver.take<std::int32_t>(kv_rows());
    args.tally = carver.take<MaskTally>(1);
    own_extrema = reinterpret_cast<CUdeviceptr>(carver.take<std::byte>(own_extrema_bytes));
    if (bits_wanted) bits = carver.take<std::uint32_t>(blocks() * block_bits_words);
    return carver.used();
  }

  /// Everything after the first launch may overlap with the launch before it.
  class Chain {
   public:
    Chain(const State& state, CUstream stream, bool follows)
        : stream_(stream), may_overlap_(state.may_overlap), follows_(follows) {}
    void launch(CUfunction kernel, std::int64_t grid_x, int block_threads, void** arguments, int grid_y = 1) {
      if (grid_x > 0x7fffffff) {
        throw Error(ErrorCode::invalid_argument,
                    "attnc: BlockMask: more blocks than one launch can decide; use larger block sizes or fewer heads");
      }
      LaunchShape shape;
      shape.grid_x = grid_x;
      shape.grid_y = grid_y;
      shape.threads = block_threads;
      enqueue_kernel(kernel, shape, follows_ && may_overlap_, stream_, arguments, "building a block mask");
      follows_ = true;
    }

   private:
    CUstream stream_;
    bool may_overlap_, follows_;
  };

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
  s.own_extrema_bytes = extrema_bytes(s.mask->source.layout, bindings);
  s.memory.allocate(s.carve(0), s.device.handle, s.device.ordinal, queue);
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
  const ParamLayout& layout = s.mask->source.layout;
  MaskArguments args = s.args;
  if (!s.small) {
    check(driver().memset_d32_async(reinterpret_cast<CUdeviceptr>(args.tally), 0, sizeof(MaskTally) / 4, queue),
          "building a block mask");
  }
  ParamBytes params;
  bool follows = false;
  if (layout.extrema.empty()) {
    pack_params(bindings, layout, params);
  } else {
    ir::Bindings bound = bindings;
    const std::int64_t bytes = extrema_bytes(layout, bound);
    const bool fits = bytes <= s.own_extrema_bytes;
    if (!fits && bytes > s.grown_extrema.bytes()) {
      refuse_capture(queue,
                     "BlockMask::rebuild: a captured buffer has grown since the mask was made, so that memory "
                     "is needed, and the stream is being captured into a graph; rebuild once before the "
                     "capture");
      s.grown_extrema.allocate(bytes, s.device.handle, s.device.ordinal, queue);
    }
    follows =
        enqueue_extrema(layout, bound, fits ? s.own_extrema : s.grown_extrema.get(), s.extrema_kernels->extrema, queue);
    pack_params(bound, layout, params);
  }

  State::Chain chain(s, queue, follows);
  void* with_params[] = {&args, params.bytes.data()};
  void* without[] = {&args};
  if (s.small) {
    chain.launch(s.mask->small, s.kv_rows() * args.words, mask_small_threads, with_params);
    chain.launch(s.lists->small_lists, 1, mask_small_threads, without);
  } else {
    constexpr int warps = threads / 32;
    const std::int64_t squares = s.groups() * ceil_div(args.q_blocks, 32) * args.words;
    chain.launch(s.mask->classify, ceil_div(squares * (32 / args.rows_per_warp), warps), threads, with_params);
    const std::int64_t steps = ceil_div(s.kv_rows() * args.words, args.words_per_step);
    chain.launch(s.mask->decide, std::min<std::int64_t>(ceil_div(steps, warps), s.device.multiprocessors * 16), threads,
                 with_params);
    const std::int64_t strips = s.groups() * args.sections * args.words;
    chain.launch(s.lists->count, ceil_div(s.kv_rows() + strips, warps), threads, without);
    chain.launch(s.lists->scan, 2, scan_threads, without);
    chain.launch(s.lists->fill, ceil_div(2 * s.kv_rows() + strips, warps), threads, without);
  }
  if (s.bits != nullptr) {
    ParamBytes captures;
    pack_params(bindings, s.bits_kernels->source.layout, captures);
    void* with_bits[] = {&args, &s.bits, captures.bytes.data()};
    const int slices =
        static_cast<int>(std::clamp<std::int64_t>(8 * s.device.multiprocessors / s.kv_rows(), 1, args.kv_blocks));
    chain.launch(s.bits_kernels->bits, s.kv_rows(), mask_bits_threads, with_bits, slices);
    s.bits_are_of = bindings;
  }
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
  argument.work_order = s.args.work_order;
  argument.counts_head_stride = s.spec.heads > 1 ? s.args.q_blocks : 0;
  argument.counts_batch_stride = s.spec.batch > 1 ? static_cast<std::int64_t>(s.spec.heads) * s.args.q_blocks : 0;
  argument.q_block = s.args.q_block;
  argument.kv_block = s.args.kv_block;
  return argument;
}

const std::uint32_t* DeviceMask::bits(const MaskIdentity& mask, const ir::Bindings& bindings) const {
  const State& s = *state_;
  return s.bits != nullptr && s.identity.same(s.bits_are_of, mask, bindings) ? s.bits : nullptr;
}

std::int64_t DeviceMask::device_bytes() const { return state_->memory.bytes() + state_->grown_extrema.bytes(); }

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

std::vector<std::uint32_t> DeviceMask::download_bits() const {
  const State& s = *state_;
  const ContextScope context(s.device);
  return s.read(s.bits, s.bits != nullptr ? s.blocks() * block_bits_words : 0);
}

std::vector<std::int32_t> DeviceMask::download_work_order() const {
  const ContextScope context(state_->device);
  return state_->read(state_->args.work_order, state_->kv_rows());
}

}  // namespace attnc::cuda
