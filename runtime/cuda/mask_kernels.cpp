// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/mask_kernels.h"

#include <list>
#include <mutex>
#include <utility>

#include "compiler/ir/print.h"
#include "dsl/error.h"
#include "dsl/format.h"
#include "runtime/cache/kernel_cache.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"

namespace attnc::cuda {
namespace {

/// What this process has loaded, most recently used first.
template <class Kernels>
struct Loaded {
  static constexpr std::size_t limit = 64;
  std::mutex mutex;
  std::list<std::pair<std::string, std::shared_ptr<const Kernels>>> entries;

  std::shared_ptr<const Kernels> find(const std::string& key) {
    for (auto it = entries.begin(); it != entries.end(); ++it) {
      if (it->first != key) continue;
      entries.splice(entries.begin(), entries, it);
      return it->second;
    }
    return nullptr;
  }
};

template <class Kernels>
Loaded<Kernels>& loaded() {
  static Loaded<Kernels>& all = *new Loaded<Kernels>;  // never destroyed: at exit the driver may be gone before it
  return all;
}

template <class Kernels, class Make>
std::shared_ptr<const Kernels> find_or_make(const std::string& key, Make&& make) {
  Loaded<Kernels>& all = loaded<Kernels>();
  {
    const std::lock_guard lock(all.mutex);
    if (auto found = all.find(key)) return found;
  }
  std::shared_ptr<const Kernels> made = make();
  const std::lock_guard lock(all.mutex);
  if (auto found = all.find(key)) return found;  // another thread was as fast
  all.entries.emplace_front(key, made);
  if (all.entries.size() > Loaded<Kernels>::limit) all.entries.pop_back();
  return made;
}

std::string table_key(const DeviceInfo& device, const std::string& cache_dir) {
  return attnc::format("{} {}", device.ordinal, cache_dir);
}

}  // namespace

LoadedLibrary::LoadedLibrary(const std::string& signature, const std::string& source, const DeviceInfo& device,
                             const std::string& cache_dir, const LogCallback& log) {
  const DriverApi& api = driver();
  KernelCacheOptions options;
  options.directory = cache_dir;
  if (log) options.on_warning = [&log](std::string_view message) { log("cache", message); };
  KernelCache cache(std::move(options));
  const BuildFunction build = [&]() -> BuiltKernel {
    CompiledSource compiled = compile(source, device.target);
    if (log)
      log("compile", attnc::format("block mask for {} in {:.0f} ms with NVRTC {}", device.target.name(),
                                   compiled.compile_ms, nvrtc().version_text()));
    return {std::move(compiled.cubin), source};
  };
  const auto load = [&](const CachedKernelPtr& cached) {
    return api.library_load_data(&library_, cached->binary.data(), nullptr, nullptr, 0, nullptr, nullptr, 0);
  };
  const CachedKernelPtr cached = cache.get_or_build(signature, build);
  CUresult result = load(cached);
  if (result != CUDA_SUCCESS) {
    // The checksum was right and the driver still says no: what is on disk is of no use here.
    if (const CachedKernelPtr anew = cache.replace_rejected(signature, cached, build)) result = load(anew);
  }
  check(result, "loading the kernels of a block mask");
}

LoadedLibrary::~LoadedLibrary() {
  if (library_ != nullptr) driver().library_unload(library_);
}

CUfunction LoadedLibrary::function(std::string_view name) const {
  CUkernel kernel = nullptr;
  CUfunction function = nullptr;
  check(driver().library_get_kernel(&kernel, library_, std::string(name).c_str()), "looking up a kernel");
  // The driver otherwise loads on the first launch, which may be under capture.
  check(driver().kernel_get_function(&function, kernel), "loading a kernel into the context");
  return reinterpret_cast<CUfunction>(kernel);  // usable in every context, unlike the CUfunction
}

std::shared_ptr<const TableKernels> TableKernels::get(const DeviceInfo& device, const std::string& cache_dir,
                                                      const LogCallback& log) {
  return find_or_make<TableKernels>(table_key(device, cache_dir), [&] {
    return std::shared_ptr<const TableKernels>(new TableKernels(device, cache_dir, log));
  });
}

std::shared_ptr<const TableKernels> TableKernels::find(const DeviceInfo& device, const std::string& cache_dir) {
  Loaded<TableKernels>& all = loaded<TableKernels>();
  const std::lock_guard lock(all.mutex);
  return all.find(table_key(device, cache_dir));
}

TableKernels::TableKernels(const DeviceInfo& device, const std::string& cache_dir, const LogCallback& log)
    : library_(make_block_table_signature(device.target, nvrtc().version_text(), compile_options(device.target)),
               make_block_table_source(), device, cache_dir, log),
      extrema(library_.function(mask_extrema_entry)),
      count(library_.function(mask_count_entry)),
      scan(library_.function(mask_scan_entry)),
      fill(library_.function(mask_fill_entry)) {}

std::shared_ptr<const MaskKernels> MaskKernels::get(const ir::Program& program, int granule, const DeviceInfo& device,
                                                    const std::string& cache_dir, const LogCallback& log) {
  const std::string key = attnc::format("{} {} {}\n{}", device.ordinal, granule, cache_dir, ir::print(program, true));
  return find_or_make<MaskKernels>(key, [&] {
    return std::shared_ptr<const MaskKernels>(new MaskKernels(program, granule, device, cache_dir, log));
  });
}

MaskKernels::MaskKernels(const ir::Program& program, int granule, const DeviceInfo& device,
                         const std::string& cache_dir, const LogCallback& log)
    : source(make_block_mask_source(program, granule)),
      library_(make_block_mask_signature(program, granule, device.target, nvrtc().version_text(),
                                         compile_options(device.target)),
               source.text, device, cache_dir, log),
      classify(library_.function(mask_classify_entry)),
      decide(library_.function(mask_decide_entry)) {}

}  // namespace attnc::cuda
