// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/mask_kernels.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <utility>

#include "dsl/error.h"
#include "dsl/format.h"
#include "runtime/cache/kernel_cache.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"

namespace attnc::cuda {
namespace {

struct TableKey {
  TablePurpose purpose;
  int ordinal;
  std::string cache_dir;
  bool operator==(const TableKey&) const = default;
};

/// Compared as it is: a mask made anew for each batch is found without printing its program.
struct MaskKey {
  MaskPurpose purpose;
  int ordinal, granule;
  std::string cache_dir;
  ir::Program program;

  bool operator==(const MaskKey& other) const {
    const auto same_param = [](const ParamDecl& a, const ParamDecl& b) { return a.type == b.type; };
    const auto same_buffer = [](const BufferDecl& a, const BufferDecl& b) {
      return a.dtype == b.dtype && a.rank == b.rank;
    };
    // Names and defaults are not meaning.
    return purpose == other.purpose && ordinal == other.ordinal && granule == other.granule &&
           program.mask == other.program.mask && program.insts == other.program.insts &&
           std::equal(program.params.begin(), program.params.end(), other.program.params.begin(),
                      other.program.params.end(), same_param) &&
           std::equal(program.buffers.begin(), program.buffers.end(), other.program.buffers.begin(),
                      other.program.buffers.end(), same_buffer) &&
           cache_dir == other.cache_dir;
  }
};

/// What this process has loaded, most recently used first.
template <class Kernels, class Key>
struct Loaded {
  static constexpr std::size_t limit = 64;
  std::mutex mutex;
  std::list<std::pair<Key, std::shared_ptr<const Kernels>>> entries;

  std::shared_ptr<const Kernels> find(const Key& key) {
    for (auto it = entries.begin(); it != entries.end(); ++it) {
      if (!(it->first == key)) continue;
      entries.splice(entries.begin(), entries, it);
      return it->second;
    }
    return nullptr;
  }
};

template <class Kernels, class Key>
Loaded<Kernels, Key>& loaded() {
  static auto& all = *new Loaded<Kernels, Key>;  // never destroyed: at exit the driver may be gone before it
  return all;
}

template <class Kernels, class Key>
std::shared_ptr<const Kernels> find_loaded(const Key& key) {
  auto& all = loaded<Kernels, Key>();
  const std::lock_guard lock(all.mutex);
  return all.find(key);
}

template <class Kernels, class Key, class Make>
std::shared_ptr<const Kernels> find_or_make(const Key& key, Make&& make) {
  if (auto found = find_loaded<Kernels>(key)) return found;
  std::shared_ptr<const Kernels> made = make();
  auto& all = loaded<Kernels, Key>();
  const std::lock_guard lock(all.mutex);
  if (auto found = all.find(key)) return found;  // another thread was as fast
  all.entries.emplace_front(key, made);
  if (all.entries.size() > all.limit) all.entries.pop_back();
  return made;
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

CUfunction LoadedLibrary::function(std::string_view name, bool is_there) const {
  if (!is_there) return nullptr;
  CUkernel kernel = nullptr;
  CUfunction function = nullptr;
  check(driver().library_get_kernel(&kernel, library_, std::string(name).c_str()), "looking up a kernel");
  // The driver otherwise loads on the first launch, which may be under capture.
  check(driver().kernel_get_function(&function, kernel), "loading a kernel into the context");
  return reinterpret_cast<CUfunction>(kernel);  // usable in every context, unlike the CUfunction
}

std::shared_ptr<const TableKernels> TableKernels::get(TablePurpose purpose, const DeviceInfo& device,
                                                      const std::string& cache_dir, const LogCallback& log) {
  return find_or_make<TableKernels>(TableKey{purpose, device.ordinal, cache_dir}, [&] {
    return std::shared_ptr<const TableKernels>(new TableKernels(purpose, device, cache_dir, log));
  });
}

std::shared_ptr<const TableKernels> TableKernels::find(TablePurpose purpose, const DeviceInfo& device,
                                                       const std::string& cache_dir) {
  return find_loaded<TableKernels>(TableKey{purpose, device.ordinal, cache_dir});
}

TableKernels::TableKernels(TablePurpose purpose, const DeviceInfo& device, const std::string& cache_dir,
                           const LogCallback& log)
    : library_(
          make_block_table_signature(purpose, device.target, nvrtc().version_text(), compile_options(device.target)),
          make_block_table_source(purpose), device, cache_dir, log),
      extrema(library_.function(mask_extrema_entry,
                                purpose == TablePurpose::extrema || purpose == TablePurpose::extrema_of_lines)),
      small_lists(library_.function(mask_small_lists_entry, purpose == TablePurpose::small_lists)),
      count(library_.function(mask_count_entry, purpose == TablePurpose::lists)),
      scan(library_.function(mask_scan_entry, purpose == TablePurpose::lists)),
      fill(library_.function(mask_fill_entry, purpose == TablePurpose::lists)) {}

std::shared_ptr<const MaskKernels> MaskKernels::get(const ir::Program& program, int granule, MaskPurpose purpose,
                                                    const DeviceInfo& device, const std::string& cache_dir,
                                                    const LogCallback& log) {
  const MaskKey key{purpose, device.ordinal, granule, cache_dir, program};
  return find_or_make<MaskKernels>(key, [&] {
    return std::shared_ptr<const MaskKernels>(new MaskKernels(program, granule, purpose, device, cache_dir, log));
  });
}

std::shared_ptr<const MaskKernels> MaskKernels::find(const ir::Program& program, int granule, MaskPurpose purpose,
                                                     const DeviceInfo& device, const std::string& cache_dir) {
  return find_loaded<MaskKernels>(MaskKey{purpose, device.ordinal, granule, cache_dir, program});
}

MaskKernels::MaskKernels(const ir::Program& program, int granule, MaskPurpose purpose, const DeviceInfo& device,
                         const std::string& cache_dir, const LogCallback& log)
    : is_dear(is_dear_to_evaluate(program, device.target)),
      source(make_block_mask_source(program, granule, purpose)),
      library_(make_block_mask_signature(program, granule, purpose, device.target, nvrtc().version_text(),
                                         compile_options(device.target)),
               source.text, device, cache_dir, log),
      small(library_.function(mask_small_entry, purpose == MaskPurpose::small)),
      classify(library_.function(mask_classify_entry, purpose == MaskPurpose::large)),
      decide(library_.function(mask_decide_entry, purpose == MaskPurpose::large)),
      bits(library_.function(mask_bits_entry, purpose == MaskPurpose::bits)) {}

}  // namespace attnc::cuda
