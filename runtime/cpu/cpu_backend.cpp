// SPDX-License-Identifier: Apache-2.0
// The CPU backend: compiles a variant once, then runs (b, h, q tile) tasks on oneTBB's current arena.
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <cstddef>
#include <new>
#include <optional>

#include "dsl/format.h"
#include "dsl/once.h"
#include "runtime/backend.h"
#include "runtime/cpu/bindings_abi.h"
#include "runtime/cpu/cpu_kernel.h"
#include "runtime/cpu/scratch.h"
#include "runtime/cpu/tile_source.h"

namespace attnc {
namespace {

using namespace cpu;

char* row_address(const TensorView& view, int b, int h, int row) {
  const std::int64_t offset = b * view.stride_elems[0] + h * view.stride_elems[1] + row * view.stride_elems[2];
  return static_cast<char*>(view.data) + offset * static_cast<std::int64_t>(size_bytes(view.dtype));
}
std::int64_t row_stride_bytes(const TensorView& view) {
  return view.stride_elems[2] * static_cast<std::int64_t>(size_bytes(view.dtype));
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const VariantSpec& spec)
      : program_(spec.program),
        recipe_(CpuRecipe::make(spec, CpuTarget::host())),
        order_(recipe_.kernel_program, program_),
        scratch_(recipe_.plan, recipe_.slots),
        log_(spec.log) {
    KernelCacheOptions options;
    options.directory = spec.cache_dir;
    if (log_) options.on_warning = [log = log_](std::string_view message) { log("cache", message); };
    cache_.emplace(std::move(options));
  }

  void prepare() override { kernel(); }

  void forward(const ForwardCall& call) override {
    const CpuKernel& code = kernel();
    const BindingsAbi bindings(recipe_.kernel_program, order_, call.bindings);
    const int threads = tbb::this_task_arena::max_concurrency();
    const bool has_mask = recipe_.kernel_program.mask != ir::no_value;
    const TileSource tiles(call, has_mask, tile_rows(call, threads), recipe_.plan.max_keys);
    // A handful of tiles is done sooner than classified.
    std::optional<bounds::HostBufferRanges> buffer_ranges;
    if (has_mask && !tiles.has_block_mask() && tiles.whole_grid() > 4) buffer_ranges.emplace(program_, call.bindings);

    const std::int64_t count = tiles.count();
    std::atomic<std::int64_t> next{0};
    const auto workers = static_cast<int>(std::min<std::int64_t>(threads, count));
    // Each worker takes tasks until none is left; whatever number of them the arena runs, all tasks get done.
    auto work = [&](int) {
      const ScratchPool::Lease scratch = scratch_.take();
      TaskAbi task = common_task(call, bindings);
      scratch->attach(task);
      std::optional<TileClassifier> classifier;
      if (buffer_ranges) classifier.emplace(program_, call, *buffer_ranges);
      for (std::int64_t i = next++; i < count; i = next++)
        run(code, call, tiles, classifier ? &*classifier : nullptr, tiles.q_tile(i), task);
    };
    try {
      if (workers == 1)
        work(0);
      else
        tbb::parallel_for(0, workers, work, tbb::simple_partitioner());
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::out_of_memory, "no memory for the scratch of another thread");
    }
  }

  std::string explain(std::string_view stage, std::string_view target) override {
    if (!target.empty() && target != "cpu")
      throw Error(ErrorCode::invalid_argument,
                  attnc::format("target '{}': the CPU backend compiles for cpu only", target));
    if (stage == "plan") return recipe_.plan.to_string() + "\n";
    if (stage == "signature") return recipe_.signature();
    if (stage == "llvm") return recipe_.llvm_text();
    if (stage == "asm") return recipe_.assembly_text();
    throw Error(ErrorCode::invalid_argument,
                attnc::format("stage '{}': the CPU backend knows plan, signature, llvm and asm", stage));
  }

 private:
  const CpuKernel& kernel() {
    compiled_.run([this] { kernel_ = CpuKernel::get(recipe_, *cache_, log_); });
    return kernel_;
  }

  /// Rows per task: as many as the plan allows while every thread has at least two tasks.
  int tile_rows(const ForwardCall& call, int threads) const {
    const int panel = recipe_.plan.panel_rows();
    const std::int64_t heads = static_cast<std::int64_t>(call.batch) * call.q_heads;
    int rows = recipe_.plan.max_rows;
    while (rows > panel && heads * ((call.q_len + rows - 1) / rows) < 2 * static_cast<std::int64_t>(threads))
      rows = std::max(panel, rows / 2 / panel * panel);
    return rows;
  }

  static TaskAbi common_task(const ForwardCall& call, const BindingsAbi& bindings) {
    TaskAbi task{};
    task.q_row_stride_bytes = row_stride_bytes(call.q);
    task.k_row_stride_bytes = row_stride_bytes(call.k);
    task.v_row_stride_bytes = row_stride_bytes(call.v);
    task.out_row_stride_bytes = row_stride_bytes(call.out);
    task.params = bindings.params();
    task.buffers = bindings.buffers();
    task.q_len = call.q_len;
    task.kv_len = call.kv_len;
    task.scale = call.scale;
    return task;
  }

  static void run(const CpuKernel& code, const ForwardCall& call, const TileSource& tiles, TileClassifier* classifier,
                  const QTile& q, TaskAbi& task) {
    const int kv_head = q.h / (call.q_heads / call.kv_heads);
    task.b = q.b;
    task.h = q.h;
    task.q0 = q.first;
    task.rows = q.last - q.first;
    task.q = row_address(call.q, q.b, q.h, q.first);
    task.out = row_address(call.out, q.b, q.h, q.first);
    task.lse = nullptr;
    if (!call.lse.empty()) {
      task.lse = reinterpret_cast<float*>(row_address(call.lse, q.b, q.h, q.first));
      task.lse_stride_elems = call.lse.stride_elems[2];
    }
    code.begin(&task);
    tiles.kv_tiles(q, classifier, [&](const KvTile& tile) {
      task.kv0 = tile.first;
      task.keys = tile.last - tile.first;
      task.k = row_address(call.k, q.b, kv_head, tile.first);
      task.v = row_address(call.v, q.b, kv_head, tile.first);
      code.tile(&task, tile.masked);
    });
    code.finish(&task);
  }

  const ir::Program program_;  // as given: bindings come in its order
  const CpuRecipe recipe_;
  const BindingOrder order_;
  ScratchPool scratch_;
  LogCallback log_;
  std::optional<KernelCache> cache_;
  Once compiled_;
  CpuKernel kernel_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const VariantSpec& spec) { return std::make_unique<CpuBackend>(spec); }

}  // namespace attnc
