// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/kernel_store.h"

#include <bit>
#include <cstdio>
#include <cstdlib>

#include "dsl/format.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"
#include "runtime/cuda/tuned_plans.h"

namespace attnc::cuda {
namespace {

/// Whether ATTNC_LOG, a comma-separated list, names the category.
bool logs_to_stderr(std::string_view category) {
  const char* value = std::getenv("ATTNC_LOG");
  if (value == nullptr) return false;
  std::string_view rest = value;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    if (rest.substr(0, comma) == category) return true;
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return false;
}

}  // namespace

void log(const VariantSpec& spec, std::string_view category, const std::string& message) {
  if (spec.log) spec.log(category, message);
  if (logs_to_stderr(category))
    std::fprintf(stderr, "attnc: %.*s: %s\n", static_cast<int>(category.size()), category.data(), message.c_str());
}

std::size_t KernelChoice::index() const {
  const int block = std::countr_zero(static_cast<unsigned>(kv_block)) - 4;  // 16, 32, 64, 128
  return static_cast<std::size_t>((block_table ? 1 : 0) | (aligned ? 2 : 0) | (tensor_maps ? 4 : 0) | block << 3 |
                                  (bit_mask ? 32 : 0) | (packs_groups ? 64 : 0));
}

KernelRequest make_request(const VariantSpec& spec, const KernelChoice& choice, const plan::Target& target) {
  KernelRequest request;
  request.dtype = spec.dtype;
  request.head_dim_qk = spec.head_dim_qk;
  request.head_dim_v = spec.head_dim_v;
  request.precise = spec.precise;
  request.block_table = choice.block_table;
  request.bit_mask = choice.bit_mask;
  request.kv_block = choice.kv_block;
  request.vector_bytes = choice.aligned ? 16 : static_cast<int>(size_bytes(spec.dtype));
  request.tensor_maps = choice.tensor_maps;
  request.packs_groups = choice.packs_groups;
  request.target = target;
  return request;
}

KernelStore::KernelStore(const VariantSpec& spec, const DeviceInfo& device) : spec_(spec), device_(device) {}

KernelCache& KernelStore::cache() {
  cache_once_.run([this] {
    KernelCacheOptions options;
    options.directory = spec_.cache_dir;
    options.on_warning = [this](std::string_view message) { log(spec_, "cache", std::string(message)); };
    cache_.emplace(std::move(options));
  });
  return *cache_;
}

BuiltKernel KernelStore::build(const KernelSource& source, const plan::Target& target) const {
  CompiledSource compiled = compile(source.text, target);
  const ResourceUsage usage = compiled.usage_of(forward_entry);
  log(spec_, "compile",
      attnc::format("{} in {:.0f} ms with NVRTC {}: {} registers, {} bytes spilled, {}", target.name(),
                    compiled.compile_ms, nvrtc().version_text(), usage.registers, usage.spill_store_bytes,
                    plan::print(source.plan)));
  return {std::move(compiled.cubin), source.text};
}

std::unique_ptr<LoadedKernel> KernelStore::make(const KernelChoice& choice) {
  KernelRequest request = make_request(spec_, choice, device_.target);
  std::unique_ptr<LoadedKernel> kernel = build_and_load(request, true);
  // ptxas 12.9 and 13.0 overwrite the stack pointer in some warp-specialised kernels that have a stack
  // (templates/sm90/README.md). Another kernel takes their place.
  const auto give_way = [&](std::string_view to, bool may_be_tuned) {
    log(spec_, "compile",
        attnc::format("the compiler lost the stack of the Hopper kernel ({} bytes a thread); {} instead",
                      kernel->local_bytes(), to));
    kernel = build_and_load(request, may_be_tuned);
  };
  const auto is_lost = [&] { return kernel->plan().family == plan::KernelFamily::sm90 && kernel->loses_stack(); };
  if (is_lost()) give_way("the planner's own plan", false);
  if (is_lost()) {
    request.small_tiles = true;
    give_way("small tiles", true);
  }
  if (is_lost()) {
    request.tensor_maps = request.bit_mask = false;
    give_way("the portable kernel", true);
  }
  return kernel;
}

std::unique_ptr<LoadedKernel> KernelStore::build_and_load(KernelRequest request, bool may_be_tuned) {
  const auto signature_of = [&] {
    return make_signature(spec_.program, request, nvrtc().version_text(), compile_options(request.target));
  };
  std::string signature = signature_of();
  const TunedVariant variant{spec_.program, request, device_.name, device_.multiprocessors};
  if (const std::optional<plan::TilePlan> tuned =
          may_be_tuned ? find_tuned_plan(cache(), variant, signature) : std::nullopt) {
    request.plan = *tuned;
    signature = signature_of();
  }
  const KernelSource source = make_kernel_source(spec_.program, request);
  log(spec_, "plan", attnc::format("{}{}", plan::print(source.plan), request.plan ? ", tuned" : ""));
  const BuildFunction build_function = [&] { return build(source, request.target); };
  CachedKernelPtr cached = cache().get_or_build(signature, build_function);
  std::string why_refused;
  for (;;) {
    auto loaded = LoadedKernel::load(cached->binary, source.plan, source.layout, device_, &why_refused);
    if (loaded) return loaded;
    // The checksum was right and the driver still says no: what is on disk is of no use here.
    cached = cache().replace_rejected(signature, cached, build_function);
    if (!cached) break;
  }
  throw Error(
      ErrorCode::internal,
      attnc::format(
          "attnc: the driver (CUDA {}.{}) refuses a kernel that NVRTC {} compiled for {}: {}. If NVRTC is newer "
          "than the driver, set ATTNC_NVRTC to an older one; otherwise please report this",
          driver().version / 1000, driver().version % 1000 / 10, nvrtc().version_text(), device_.target.name(),
          why_refused));
}

const LoadedKernel& KernelStore::get(const KernelChoice& choice) {
  if (const LoadedKernel* found = find(choice)) return *found;
  Slot& slot = slots_[choice.index()];
  const std::lock_guard lock(slot.making);
  if (slot.owned == nullptr) {
    slot.owned = make(choice);
    if (slot.owned->plan().family == plan::KernelFamily::sm90 && slot.owned->plan().longest_first) {
      counters_once_.run([this] {
        counters_.emplace();
        counters_ready_.store(&*counters_, std::memory_order_release);
      });
    }
    if (!slot.owned->layout().extrema.empty()) {
      tables_once_.run(
          [this] { tables_ = TableKernels::get(extrema_purpose(spec_.program), device_, spec_.cache_dir, spec_.log); });
    }
    slot.loaded.store(slot.owned.get(), std::memory_order_release);
  }
  return *slot.owned;
}

}  // namespace attnc::cuda
