// SPDX-License-Identifier: Apache-2.0
// The CUDA backend: from a validated call to a launch.

#include <algorithm>
#include <future>
#include <optional>
#include <vector>

#include "compiler/plan/tile_plan.h"
#include "dsl/format.h"
#include "dsl/once.h"
#include "runtime/backend.h"
#include "runtime/cuda/block_tables.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/device_mask.h"
#include "runtime/cuda/explain.h"
#include "runtime/cuda/extrema.h"
#include "runtime/cuda/kernel_store.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/tensor_maps.h"

namespace attnc {
namespace {

using namespace cuda;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, "attnc: " + message); }

/// Kernels read and write through these pointers: an address that the device cannot reach would end the process's
/// context.
void check_pointer(const DeviceInfo& device, const void* pointer, std::string_view name) {
  if (pointer == nullptr) return;  // nothing is read through it: validated before
  int memory_type = 0;
  const CUresult result = driver().pointer_get_attribute(&memory_type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                                         reinterpret_cast<CUdeviceptr>(pointer));
  if (result == CUDA_SUCCESS || device.reads_pageable_memory) return;
  refuse(attnc::format("{} = {} is ordinary host memory, which cuda:{} ({}) cannot reach; copy it to the device", name,
                       pointer, device.ordinal, device.name));
}

void check_pointers(const DeviceInfo& device, const VariantSpec& spec, const ForwardCall& call) {
  check_pointer(device, call.q.data, "q");
  check_pointer(device, call.k.data, "k");
  check_pointer(device, call.v.data, "v");
  check_pointer(device, call.out.data, "out");
  check_pointer(device, call.lse.data, "lse");
  for (std::size_t i = 0; i < call.bindings.buffers.size(); ++i) {
    check_pointer(device, call.bindings.buffers[i].data, spec.program.buffers[i].name);
  }
}

void check_lse_stride(const ForwardCall& call) {
  if (!call.lse.empty() && call.q_len > 1 && call.lse.stride_elems[2] != 1) {
    refuse(
        attnc::format("lse has stride {} in its innermost dimension; on a GPU it must be 1", call.lse.stride_elems[2]));
  }
}

/// The power of two in a table's block of keys, capped at 128.
int kv_granule(const BlockMask& mask) {
  const int block = mask.block_size().kv;
  return std::min(block & -block, 128);
}

/// Whether a call runs on the Hopper kernel: its views suit the bulk tensor copy engine, a table's blocks of q are
/// whole tiles, and there are query tiles enough to fill the device. (Few queries with many keys want the keys split,
/// which the portable kernel does.)
bool suits_hopper_kernel(const DeviceInfo& device, const ForwardCall& call) {
  constexpr int tile_q = 128, min_keys_to_split = 1024;
  if (call.block_mask != nullptr &&
      (call.block_mask->block_size().q % tile_q != 0 || call.block_mask->block_size().kv % 64 != 0))
    return false;
  const std::int64_t tiles = (static_cast<std::int64_t>(call.q_len) + tile_q - 1) / tile_q * call.batch * call.q_heads;
  if (tiles * 5 < device.multiprocessors * 2 && call.kv_len >= min_keys_to_split) return false;
  return can_encode_tensor_maps(call);
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const VariantSpec& spec) : spec_(spec), mask_(spec_.program) {}

  void prepare() override {
    Live& live = this->live();
    const ContextScope context(live.device);
    // Shapes decide between these, and shapes must not compile: all are made now, side by side.
    std::vector<KernelChoice> others;
    if (live.has_two_kernels) others.emplace_back().tensor_maps = false;
    if (live.packs_groups) others.emplace_back().packs_groups = true;
    // Other threads work in this one's context.
    CUcontext shared = nullptr;
    check(driver().ctx_get_current(&shared), "reading the current context");
    std::vector<std::future<void>> made;
    for (const KernelChoice& choice : others) {
      made.push_back(std::async(std::launch::async, [&live, shared, choice] {
        check(driver().ctx_push_current(shared), "sharing the context");
        CUcontext popped = nullptr;
        try {
          live.kernels.get(choice);
        } catch (...) {
          driver().ctx_pop_current(&popped);
          throw;
        }
        driver().ctx_pop_current(&popped);
      }));
    }
    live.kernels.get(KernelChoice{});
    for (std::future<void>& kernel : made) kernel.get();
  }

  void forward(const ForwardCall& call) override {
    Live& live = this->live();
    const ContextScope context(live.device);
    check_lse_stride(call);
    check_pointers(live.device, spec_, call);

    KernelChoice choice;
    choice.block_table = call.block_mask != nullptr;
    if (choice.block_table) choice.kv_block = kv_granule(*call.block_mask);
    choice.aligned = row_alignment_bytes(call) >= 16;
    choice.packs_groups = live.packs_groups && suits_packed_groups(call);
    choice.tensor_maps =
        choice.packs_groups || !live.has_two_kernels || (choice.aligned && suits_hopper_kernel(live.device, call));
    const std::uint32_t* bits =
        choice.block_table && choice.tensor_maps && live.has_two_kernels ? element_bits(call) : nullptr;
    choice.bit_mask = bits != nullptr;
    const LoadedKernel& kernel = loaded(live, choice, call);

    ForwardArguments args = pack_arguments(call);
    if (choice.block_table)
      args.blocks = device_tables(*call.block_mask, live.device, static_cast<CUstream>(call.stream));
    args.mask_bits = bits;
    ParamBytes params;
    const ParamLayout& layout = kernel.layout();
    ForwardQueue queue;
    queue.counter = tile_counter(kernel, live.device, call, live.kernels.counters());
    if (layout.extrema.empty()) {
      pack_params(call.bindings, layout, params);
      launch_forward(kernel, live.device, call, args, params, queue);
      return;
    }
    // Documents and the like: the kernel classifies tiles by the extremes of what the mask captures, of this call.
    const auto stream = static_cast<CUstream>(call.stream);
    ir::Bindings bindings = call.bindings;
    const StreamScratch::Lease memory(live.kernels.scratch(), stream,
                                      std::max<std::int64_t>(extrema_bytes(layout, bindings), 16));
    queue.counter_is_zero = queue.overlaps =
        enqueue_extrema(layout, bindings, memory.get(), live.kernels.extrema_kernel(), stream, queue.counter.word);
    pack_params(bindings, layout, params);
    launch_forward(kernel, live.device, call, args, params, queue);
  }

  /// The same kernel writes the zeros: it meets no tile. K and V are not read, so they stand for themselves; block
  /// tables, which are for masks over keys, are left out.
  void forward_without_keys(const ForwardCall& call) override {
    ForwardCall empty = call;
    empty.block_mask = nullptr;
    forward(empty);
  }

  std::string explain(std::string_view stage, std::string_view target) override {
    return cuda::explain(spec_, stage, target.empty() ? live().device.target.name() : target);
  }

 private:
  /// What exists once a device has been seen.
  struct Live {
    Live(const VariantSpec& spec, const DeviceInfo& info) : device(info), kernels(spec, device) {
      plan::Problem problem;
      problem.dtype = spec.dtype;
      problem.head_dim_qk = spec.head_dim_qk;
      problem.head_dim_v = spec.head_dim_v;
      has_two_kernels = plan::can_run_sm90(problem, device.target);
      packs_groups = why_no_groups(spec.program, make_request(spec, KernelChoice{}, device.target)).empty();
    }
    DeviceInfo device;
    KernelStore kernels;
    bool has_two_kernels = false;  ///< the Hopper kernel and the portable one, chosen between by views and sizes
    bool packs_groups = false;     ///< few queries have a kernel of their own
  };

  Live& live() {
    once_.run([this] { live_.emplace(spec_, device_info(spec_.device.index)); });
    return *live_;
  }

  /// The elements of the call's partial blocks, where its block mask keeps those of this variant's mask_mod.
  const std::uint32_t* element_bits(const ForwardCall& call) const {
    const DeviceMask* built = BlockMaskAccess::built_on_device(*call.block_mask);
    return built != nullptr ? built->bits(mask_, call.bindings) : nullptr;
  }

  const LoadedKernel& loaded(Live& live, const KernelChoice& choice, const ForwardCall& call) {
    if (const LoadedKernel* kernel = live.kernels.find(choice)) return *kernel;
    if (is_capturing(static_cast<CUstream>(call.stream))) {
      refuse(
          "the first forward of a variant compiles and loads its kernel and cannot be captured into a graph; call "
          "prepare() "
          "(or, for block masks and unaligned views, forward once) before the capture");
    }
    return live.kernels.get(choice);
  }

  const VariantSpec spec_;
  const MaskIdentity mask_;
  Once once_;
  std::optional<Live> live_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const VariantSpec& spec) { return std::make_unique<CudaBackend>(spec); }

}  // namespace attnc
