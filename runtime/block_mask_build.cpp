// SPDX-License-Identifier: Apache-2.0
#include "runtime/block_mask_build.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "compiler/bounds/bounds.h"
#include "dsl/error.h"
#include "runtime/block_mask_exact.h"
#include "runtime/parallel.h"
#ifdef ATTNC_CPU
#include "runtime/cpu/mask_evaluator.h"
#endif

namespace attnc {
namespace {

using bounds::Box;
using bounds::Verdict;

/// Blocks [row_first, row_last) x [column_first, column_last).
struct Rectangle {
  int row_first, row_last, column_first, column_last;
  std::int64_t area() const { return static_cast<std::int64_t>(row_last - row_first) * (column_last - column_first); }
};

/// The mask compiled for this CPU, from when interpreting it has taken long enough to pay for that. Shared by all
/// walks.
class Compilation {
 public:
  explicit Compilation(const BlockMaskRequest& request) : request_(request) {
    // Integers are the same to the last bit; the last bit of a float may differ, and the interpreter is the judge.
    const auto is_float = [](const ir::Inst& inst) { return inst.type == Type::f32; };
    pays_ = request.compiler != nullptr && request.program.mask != ir::no_value &&
            std::none_of(request.program.insts.begin(), request.program.insts.end(), is_float);
    if (pays_ && request.interpret_for.count() <= 0) compile();
  }
  const CompiledMask* ready() const { return ready_.load(std::memory_order_acquire); }
  /// Tells of time spent interpreting. Whoever passes the limit compiles; the others go on.
  void spent(std::chrono::nanoseconds time) {
    const std::int64_t before = spent_ns_.fetch_add(time.count(), std::memory_order_relaxed);
    const std::int64_t limit = request_.interpret_for.count();
    if (pays_ && before < limit && before + time.count() >= limit) compile();
  }

 private:
  void compile() {
    try {
      compiled_ = request_.compiler(request_.program, request_.cache_dir);
      ready_.store(compiled_.get(), std::memory_order_release);
    } catch (const Error&) {
      // The interpreter is slower, and as right.
    }
  }

  const BlockMaskRequest& request_;
  bool pays_ = false;
  std::atomic<std::int64_t> spent_ns_{0};
  std::unique_ptr<const CompiledMask> compiled_;  // written by one thread, read through ready_
  std::atomic<const CompiledMask*> ready_{nullptr};
};

/// Decides a strip of rows of one (b, h).
class Walk {
 public:
  Walk(const BlockMaskRequest& request, const bounds::Knowledge& knowledge, Compilation& compilation)
      : request_(request),
        evaluator_(request.program, knowledge),
        compilation_(compilation),
        elements_(interpret_mask(request.program, request.bindings, request.q_len, request.kv_len)) {}

  /// Appends the strip's rows to `out`.
  void run(int b, int h, int row_first, int row_last, BlockRows& out) {
    box_ = Box::whole(1, 1, request_.q_len, request_.kv_len);
    box_.b_first = box_.b_last = b;
    box_.h_first = box_.h_last = h;
    row_first_ = row_first;
    rows_.resize(static_cast<std::size_t>(row_last - row_first));
    for (auto& row : rows_) row.clear();
    const int columns = block_count(request_.kv_len, request_.block_size.kv);
    if (columns > 0) decide({row_first, row_last, 0, columns});
    for (const auto& row : rows_) {
      for (const BlockRun& run : row) out.append(run);
      out.end_row();
    }
  }
  const BlockMaskStats& stats() const { return stats_; }

 private:
  /// Splits the longer side, and visits halves left to right within every row, so each row's runs come in order.
  /// Recursion is as deep as the logarithms of the sides.
  void decide(const Rectangle& r) {
    set_box(r);
    const Verdict verdict = evaluator_.classify(box_);
    if (verdict == Verdict::full) {
      stats_.proved_full += r.area();
      return mark(r, true);
    }
    if (verdict == Verdict::empty) {
      stats_.proved_empty += r.area();
      return;
    }
    const int height = r.row_last - r.row_first, width = r.column_last - r.column_first;
    if (height == 1 && width == 1) {
      ++stats_.evaluated;
      const Verdict exact = exact_verdict();
      if (exact != Verdict::empty) mark(r, exact == Verdict::full);
    } else if (width >= height) {
      const int middle = r.column_first + width / 2;
      decide({r.row_first, r.row_last, r.column_first, middle});
      decide({r.row_first, r.row_last, middle, r.column_last});
    } else {
      const int middle = r.row_first + height / 2;
      decide({r.row_first, middle, r.column_first, r.column_last});
      decide({middle, r.row_last, r.column_first, r.column_last});
    }
  }

  /// On the block that is box_.
  Verdict exact_verdict() {
    if (judge_ == nullptr) {
      if (const CompiledMask* compiled = compilation_.ready()) judge_ = compiled->judge(request_.bindings);
    }
    if (judge_ != nullptr) return judge_->verdict(box_, request_.q_len, request_.kv_len);
    const auto start = std::chrono::steady_clock::now();
    const Verdict verdict = evaluate_block(*elements_, evaluator_, box_);
    compilation_.spent(std::chrono::steady_clock::now() - start);
    return verdict;
  }

  void set_box(const Rectangle& r) {
    const auto last = [](int block, int size, int length) {
      return static_cast<std::int32_t>(std::min<std::int64_t>(static_cast<std::int64_t>(block) * size, length) - 1);
    };
    const BlockSize size = request_.block_size;
    box_.q_first = r.row_first * size.q;
    box_.q_last = last(r.row_last, size.q, request_.q_len);
    box_.kv_first = r.column_first * size.kv;
    box_.kv_last = last(r.column_last, size.kv, request_.kv_len);
  }

  void mark(const Rectangle& r, bool full) {
    full &= request_.separate_full_blocks;
    for (int i = r.row_first; i < r.row_last; ++i) {
      std::vector<BlockRun>& row = rows_[static_cast<std::size_t>(i - row_first_)];
      if (!row.empty() && row.back().last == r.column_first && row.back().full == full)
        row.back().last = r.column_last;
      else
        row.push_back({r.column_first, r.column_last, full});
    }
  }

  const BlockMaskRequest& request_;
  bounds::Evaluator evaluator_;
  Compilation& compilation_;
  std::unique_ptr<MaskElements> elements_;
  std::unique_ptr<BlockJudge> judge_;  // once there is a compiled mask
  BlockMaskStats stats_;
  Box box_;
  int row_first_ = 0;
  std::vector<std::vector<BlockRun>> rows_;  // kept between strips for its memory
};

/// Rows per strip: tall, so that large rectangles are decided at once, but enough strips for all cores.
int strip_height(int q_blocks, std::int64_t groups) {
  int height = 64;
  while (height > 1 && groups * ((q_blocks + height - 1) / height) < 32) height /= 2;
  return height;
}

bool reads(const ir::Program& program, Input which) {
  return std::any_of(program.insts.begin(), program.insts.end(),
                     [which](const ir::Inst& inst) { return inst.op == Op::input && inst.input == which; });
}

/// Rows of a mask that does not tell batches (heads) apart, repeated for each of them. `from` has batch `from_batch`
/// and heads `from_heads`, each 1 or that of the request.
BlockRows repeat(const BlockRows& from, int from_batch, int from_heads, const BlockMaskRequest& request, int q_blocks) {
  BlockRows rows;
  for (int b = 0; b < request.batch; ++b)
    for (int h = 0; h < request.heads; ++h) {
      const std::int64_t group =
          static_cast<std::int64_t>(from_batch == 1 ? 0 : b) * from_heads + (from_heads == 1 ? 0 : h);
      for (int i = 0; i < q_blocks; ++i) {
        const std::span<const BlockRun> row = from.row(group * q_blocks + i);
        rows.runs.insert(rows.runs.end(), row.begin(), row.end());
        rows.end_row();
      }
    }
  return rows;
}

BlockRows decide_rows(const BlockMaskRequest& request, BlockMaskStats& stats) {
  BlockRows rows;
  const int q_blocks = block_count(request.q_len, request.block_size.q);
  const std::int64_t groups = static_cast<std::int64_t>(request.batch) * request.heads;
  if (q_blocks == 0) return rows;

  const bounds::HostBufferRanges buffers(request.program, request.bindings);
  const bounds::Knowledge knowledge{&request.bindings, &buffers};
  const int height = strip_height(q_blocks, groups);
  const int strips = (q_blocks + height - 1) / height;

  // A task is a run of strips, so that what a walk allocates is shared by many strips where there are many.
  const std::int64_t total = groups * strips;
  const std::int64_t tasks = std::min<std::int64_t>(total, 256);
  struct Part {
    BlockRows rows;
    BlockMaskStats stats;
  };
  std::vector<Part> parts(static_cast<std::size_t>(tasks));
  Compilation compilation(request);
  parallel_for(tasks, [&](std::int64_t task) {
    Part& part = parts[static_cast<std::size_t>(task)];
    Walk walk(request, knowledge, compilation);
    for (std::int64_t strip = total * task / tasks; strip < total * (task + 1) / tasks; ++strip) {
      const auto group = strip / strips;
      const int first = static_cast<int>(strip % strips) * height;
      walk.run(static_cast<int>(group / request.heads), static_cast<int>(group % request.heads), first,
               std::min(first + height, q_blocks), part.rows);
    }
    part.stats = walk.stats();
  });

  std::size_t runs = 0;
  for (const Part& part : parts) runs += part.rows.runs.size();
  rows.runs.reserve(runs);
  rows.offsets.reserve(static_cast<std::size_t>(groups * q_blocks) + 1);
  for (Part& part : parts) {
    const auto base = static_cast<std::int64_t>(rows.runs.size());
    rows.runs.insert(rows.runs.end(), part.rows.runs.begin(), part.rows.runs.end());
    for (std::size_t i = 1; i < part.rows.offsets.size(); ++i) rows.offsets.push_back(base + part.rows.offsets[i]);
    part.rows = {};
    stats.proved_full += part.stats.proved_full;
    stats.proved_empty += part.stats.proved_empty;
    stats.evaluated += part.stats.evaluated;
  }
  return rows;
}

}  // namespace

MaskCompiler host_mask_compiler() {
#ifdef ATTNC_CPU
  return [](const ir::Program& program, const std::string& cache_dir) -> std::unique_ptr<const CompiledMask> {
    return std::make_unique<cpu::MaskEvaluator>(program, cache_dir);
  };
#else
  return nullptr;
#endif
}

BlockRows build_block_rows(const BlockMaskRequest& request, BlockMaskStats& stats) {
  BlockMaskRequest distinct = request;
  if (!reads(request.program, Input::b)) distinct.batch = 1;
  if (!reads(request.program, Input::h)) distinct.heads = 1;
  BlockRows rows = decide_rows(distinct, stats);
  if (distinct.batch == request.batch && distinct.heads == request.heads) return rows;
  const std::int64_t copies =
      static_cast<std::int64_t>(request.batch) * request.heads / (distinct.batch * distinct.heads);
  stats.proved_full *= copies;
  stats.proved_empty *= copies;
  stats.evaluated *= copies;
  return repeat(rows, distinct.batch, distinct.heads, request, block_count(request.q_len, request.block_size.q));
}

}  // namespace attnc
