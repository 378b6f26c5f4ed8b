// SPDX-License-Identifier: Apache-2.0
#include "runtime/block_mask.h"

#include <algorithm>
#include <chrono>
#include <string_view>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "runtime/block_mask_build.h"
#include "runtime/block_mask_state.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/validate.h"

namespace attnc {
namespace {

[[noreturn]] void refuse(std::string_view what, const std::string& message) {
  throw Error(ErrorCode::invalid_argument, attnc::format("{}: {}", what, message));
}

void check_shape(std::string_view what, int B, int H, int q_len, int kv_len, BlockSize size) {
  if (B < 1) refuse(what, attnc::format("B is {}; it must be at least 1", B));
  if (H < 1) refuse(what, attnc::format("H is {}; it must be at least 1", H));
  auto check_length = [&](const char* name, int length) {
    if (length < 0 || length > bounds::max_length)
      refuse(what, attnc::format("{} is {}; it must be 0 to {}", name, length, bounds::max_length));
  };
  check_length("q_len", q_len);
  check_length("kv_len", kv_len);
  auto check_block = [&](const char* name, int block) {
    if (block < 16 || block > 512 || block % 16 != 0)
      refuse(what, attnc::format("block_size.{} is {}; it must be a multiple of 16 from 16 to 512", name, block));
  };
  check_block("q", size.q);
  check_block("kv", size.kv);
}

/// One row's entries of one list, checked and turned into runs.
void read_list(std::string_view name, std::span<const std::int32_t> counts, std::span<const std::int32_t> indices,
               std::int64_t row, std::int64_t rows, int kv_blocks, bool full, std::vector<BlockRun>& runs) {
  constexpr std::string_view what = "BlockMask::from_kv_blocks";
  if (counts.empty()) return;
  const std::int64_t width = static_cast<std::int64_t>(indices.size()) / rows;
  const std::int32_t count = counts[static_cast<std::size_t>(row)];
  if (count < 0 || count > width)
    refuse(what,
           attnc::format("{}num_blocks[{}] is {}; it must be 0 to {}, the entries a row has", name, row, count, width));
  std::int32_t previous = -1;
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t block = indices[static_cast<std::size_t>(row * width + i)];
    if (block <= previous || block >= kv_blocks)
      refuse(what, attnc::format("{}indices of row {}, entry {} is {}; entries must ascend within 0 to {}", name, row,
                                 i, block, kv_blocks - 1));
    previous = block;
    runs.push_back({block, block + 1, full});
  }
}

void check_tables(std::string_view name, std::span<const std::int32_t> counts, std::span<const std::int32_t> indices,
                  std::int64_t rows, bool optional) {
  constexpr std::string_view what = "BlockMask::from_kv_blocks";
  if (optional && counts.empty() && indices.empty()) return;
  if (static_cast<std::int64_t>(counts.size()) != rows)
    refuse(what,
           attnc::format("{}num_blocks has {} entries; it must have B * H * q_blocks = {}", name, counts.size(), rows));
  if (rows > 0 && static_cast<std::int64_t>(indices.size()) % rows != 0)
    refuse(what, attnc::format("{}indices has {} entries; it must have a whole number for each of {} rows", name,
                               indices.size(), rows));
}

/// Merges two rows of runs: `kind(a, b)` of 0 empty, 1 partial, 2 full.
template <class Kind>
void merge_rows(std::span<const BlockRun> a, std::span<const BlockRun> b, BlockRows& out, Kind&& kind) {
  std::size_t i = 0, j = 0;
  std::int32_t at = 0;
  auto state = [&at](std::span<const BlockRun> row, std::size_t k, std::int32_t& until) {
    if (k >= row.size()) return 0;
    if (at < row[k].first) {
      until = std::min(until, row[k].first);
      return 0;
    }
    until = std::min(until, row[k].last);
    return row[k].full ? 2 : 1;
  };
  while (i < a.size() || j < b.size()) {
    std::int32_t until = std::numeric_limits<std::int32_t>::max();
    const int x = state(a, i, until);
    const int y = state(b, j, until);
    if (const int verdict = kind(x, y)) out.append({at, until, verdict == 2});
    at = until;
    while (i < a.size() && a[i].last <= at) ++i;
    while (j < b.size() && b[j].last <= at) ++j;
  }
  out.end_row();
}

}  // namespace

struct BlockMaskFactory {
  template <class Fill>
  static BlockMask make(int B, int H, int q_len, int kv_len, BlockSize size, Device device, Fill&& fill) {
    auto state = std::make_shared<BlockMask::State>();
    state->batch = B, state->heads = H, state->q_len = q_len, state->kv_len = kv_len;
    state->block_size = size;
    state->device = device;
    fill(*state);
    return BlockMask(std::move(state));
  }
  /// What the device is asked for: only what the mask tells apart.
  static cuda::DeviceMaskSpec device_spec(const BlockMask::State& state, const BlockMaskOptions& options) {
    const ir::Program& program = state.recipe->program;
    const auto reads = [&program](Input which) {
      return std::any_of(program.insts.begin(), program.insts.end(),
                         [which](const ir::Inst& inst) { return inst.op == Op::input && inst.input == which; });
    };
    cuda::DeviceMaskSpec spec;
    spec.program = program;
    spec.device = state.device;
    spec.batch = reads(Input::b) ? state.batch : 1;
    spec.heads = reads(Input::h) ? state.heads : 1;
    spec.q_len = state.q_len;
    spec.kv_len = state.kv_len;
    spec.block_size = state.block_size;
    spec.separate_full_blocks = options.separate_full_blocks;
    spec.max_list_bytes = options.max_list_bytes;
    spec.element_bits = options.element_bits;
    spec.max_bit_bytes = options.max_bit_bytes;
    spec.cache_dir = options.cache_dir;
    spec.log = options.log;
    return spec;
  }

  static BlockMask complement(const BlockMask& mask) {
    if (!mask) refuse("BlockMask ~", "the block mask is empty");
    const BlockMask::State& from = *mask.state_;
    return make(from.batch, from.heads, from.q_len, from.kv_len, from.block_size, from.device,
                [&](BlockMask::State& state) {
                  BlockRows& rows = state.host->rows;
                  for (std::int64_t r = 0; r < from.rows().count(); ++r) {
                    std::int32_t at = 0;
                    for (const BlockRun& run : from.rows().row(r)) {
                      rows.append({at, run.first, true});
                      if (!run.full) rows.append(run);
                      at = run.last;
                    }
                    rows.append({at, from.kv_blocks(), true});
                    rows.end_row();
                  }
                });
  }

  template <class Kind>
  static BlockMask combine(const char* what, const BlockMask& x, const BlockMask& y, Kind&& kind) {
    if (!x || !y) refuse(what, "one of the block masks is empty");
    const BlockMask::State &a = *x.state_, &b = *y.state_;
    if (a.q_len != b.q_len || a.kv_len != b.kv_len)
      refuse(what, attnc::format("the masks are of {} x {} and {} x {} elements; they must agree", a.q_len, a.kv_len,
                                 b.q_len, b.kv_len));
    if (!(a.block_size == b.block_size))
      refuse(what, attnc::format("the block sizes are {} x {} and {} x {}; they must agree", a.block_size.q,
                                 a.block_size.kv, b.block_size.q, b.block_size.kv));
    if (!(a.device == b.device)) refuse(what, "the masks live on different devices");
    auto broadcast = [what](const char* name, int m, int n) {
      if (m != n && m != 1 && n != 1)
        refuse(what, attnc::format("{} are {} and {}; they must agree or be 1", name, m, n));
      return std::max(m, n);
    };
    const int B = broadcast("batches", a.batch, b.batch), H = broadcast("heads", a.heads, b.heads);
    return make(B, H, a.q_len, a.kv_len, a.block_size, a.device, [&](BlockMask::State& state) {
      for (int batch = 0; batch < B; ++batch)
        for (int head = 0; head < H; ++head)
          for (int i = 0; i < a.q_blocks(); ++i)
            merge_rows(a.rows().row(a.row_index(batch, head, i)), b.rows().row(b.row_index(batch, head, i)),
                       state.host->rows, kind);
    });
  }
};

void BlockMask::State::decide_on_host(const ir::Bindings& bindings) {
  host->rows = build_block_rows({recipe->program, bindings, batch, heads, q_len, kv_len, block_size,
                                 recipe->separate_full_blocks, recipe->cache_dir},
                                host->stats);
}

BlockMask BlockMask::create(const MaskMod& mask, int B, int H, int q_len, int kv_len, const BlockMaskOptions& options) {
  constexpr std::string_view what = "BlockMask::create";
  check_shape(what, B, H, q_len, kv_len, options.block_size);
  for (const auto& [name, bytes] :
       {std::pair{"max_list_bytes", options.max_list_bytes}, std::pair{"max_bit_bytes", options.max_bit_bytes}})
    if (bytes < 0) refuse(what, attnc::format("{} is {}; it must be 0 or more", name, bytes));
  const auto begin = std::chrono::steady_clock::now();
  return BlockMaskFactory::make(B, H, q_len, kv_len, options.block_size, options.device, [&](State& state) {
    BlockMaskRecipe& recipe = state.recipe.emplace();
    recipe.declared = ir::lower({}, mask);
    recipe.program = passes::canonicalize(recipe.declared);
    recipe.separate_full_blocks = options.separate_full_blocks;
    recipe.cache_dir = options.cache_dir;
    const ir::Bindings bindings = bind_captures(recipe.program, recipe.declared, options.params, options.buffers, what);
    const bool on_device = options.device.kind == Device::Kind::cuda && q_len > 0 && kv_len > 0 && cuda::has_driver() &&
                           cuda::device_reads(bindings, options.device);
    if (on_device)
      state.built =
          std::make_unique<cuda::DeviceMask>(BlockMaskFactory::device_spec(state, options), bindings, options.stream);
    else
      state.decide_on_host(bindings);
    state.build_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  });
}

void BlockMask::rebuild(const BlockMaskRebuildOptions& options) {
  constexpr std::string_view what = "BlockMask::rebuild";
  if (!state_ || !state_->recipe) refuse(what, "only a mask that BlockMask::create made can be made again");
  // Copies share the state and are told that they change with it.
  State& state = const_cast<State&>(*state_);
  const auto begin = std::chrono::steady_clock::now();
  const BlockMaskRecipe& recipe = *state.recipe;
  const ir::Bindings bindings = bind_captures(recipe.program, recipe.declared, options.params, options.buffers, what);
  if (state.built != nullptr && !cuda::device_reads(bindings, state.device))
    refuse(what, "the mask was built on its device, so captured buffers have to be in memory that the device reads");
  state.host = std::make_unique<BlockMaskHostSide>();
  if (state.built != nullptr)
    state.built->build(bindings, options.stream);
  else
    state.decide_on_host(bindings);
  state.build_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

std::int64_t BlockMask::device_bytes() const { return state_->built != nullptr ? state_->built->device_bytes() : 0; }

BlockMask BlockMask::from_kv_blocks(std::span<const std::int32_t> kv_num_blocks,
                                    std::span<const std::int32_t> kv_indices,
                                    std::span<const std::int32_t> full_kv_num_blocks,
                                    std::span<const std::int32_t> full_kv_indices, int B, int H, int q_len, int kv_len,
                                    BlockSize block_size, Device device) {
  constexpr std::string_view what = "BlockMask::from_kv_blocks";
  check_shape(what, B, H, q_len, kv_len, block_size);
  return BlockMaskFactory::make(B, H, q_len, kv_len, block_size, device, [&](State& state) {
    const std::int64_t rows = static_cast<std::int64_t>(B) * H * state.q_blocks();
    check_tables("kv_", kv_num_blocks, kv_indices, rows, false);
    check_tables("full_kv_", full_kv_num_blocks, full_kv_indices, rows, true);
    std::vector<BlockRun> entries;
    for (std::int64_t row = 0; row < rows; ++row) {
      entries.clear();
      read_list("kv_", kv_num_blocks, kv_indices, row, rows, state.kv_blocks(), false, entries);
      read_list("full_kv_", full_kv_num_blocks, full_kv_indices, row, rows, state.kv_blocks(), true, entries);
      std::sort(entries.begin(), entries.end(), [](const BlockRun& a, const BlockRun& b) { return a.first < b.first; });
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (i > 0 && entries[i].first == entries[i - 1].first)
          refuse(what, attnc::format("block {} of row {} is in kv_indices and in full_kv_indices; it must be in one",
                                     entries[i].first, row));
        state.host->rows.append(entries[i]);
      }
      state.host->rows.end_row();
    }
  });
}

int BlockMask::batch() const { return state_->batch; }
int BlockMask::heads() const { return state_->heads; }
int BlockMask::q_len() const { return state_->q_len; }
int BlockMask::kv_len() const { return state_->kv_len; }
int BlockMask::q_blocks() const { return state_->q_blocks(); }
int BlockMask::kv_blocks() const { return state_->kv_blocks(); }
BlockSize BlockMask::block_size() const { return state_->block_size; }
Device BlockMask::device() const { return state_->device; }
const BlockMaskStats& BlockMask::stats() const { return state_->view().stats; }
std::int64_t BlockMask::full_blocks() const { return state_->view().full_blocks; }
std::int64_t BlockMask::partial_blocks() const { return state_->view().partial_blocks; }
std::int64_t BlockMask::empty_blocks() const {
  return state_->rows().count() * kv_blocks() - full_blocks() - partial_blocks();
}

double BlockMask::sparsity() const {
  const double total = static_cast<double>(state_->rows().count()) * kv_blocks();
  return total > 0 ? 100.0 * static_cast<double>(empty_blocks()) / total : 0.0;
}

std::vector<std::uint8_t> BlockMask::to_dense() const {
  const auto columns = static_cast<std::size_t>(kv_blocks());
  std::vector<std::uint8_t> dense(static_cast<std::size_t>(state_->rows().count()) * columns, 0);
  for (std::int64_t r = 0; r < state_->rows().count(); ++r)
    for (const BlockRun& run : state_->rows().row(r))
      std::fill(dense.data() + static_cast<std::size_t>(r) * columns + run.first,
                dense.data() + static_cast<std::size_t>(r) * columns + run.last,
                static_cast<std::uint8_t>(run.full ? 2 : 1));
  return dense;
}

BlockMask BlockMask::slice(std::optional<int> b, std::optional<int> h) const {
  constexpr std::string_view what = "BlockMask::slice";
  if (b && (*b < 0 || *b >= state_->batch))
    refuse(what, attnc::format("b is {}; it must be 0 to {}", *b, state_->batch - 1));
  if (h && (*h < 0 || *h >= state_->heads))
    refuse(what, attnc::format("h is {}; it must be 0 to {}", *h, state_->heads - 1));
  const State& from = *state_;
  return BlockMaskFactory::make(b ? 1 : from.batch, h ? 1 : from.heads, from.q_len, from.kv_len, from.block_size,
                                from.device, [&](State& state) {
                                  for (int i = b.value_or(0); i <= b.value_or(from.batch - 1); ++i)
                                    for (int j = h.value_or(0); j <= h.value_or(from.heads - 1); ++j)
                                      for (int row = 0; row < from.q_blocks(); ++row) {
                                        for (const BlockRun& run : from.rows().row(from.row_index(i, j, row)))
                                          state.host->rows.append(run);
                                        state.host->rows.end_row();
                                      }
                                });
}

BlockMask BlockMask::slice_q_blocks(int first, int last) const {
  const State& from = *state_;
  if (first < 0 || last < first || last > from.q_blocks())
    refuse("BlockMask::slice_q_blocks",
           attnc::format("[{}, {}) is not within the {} rows of blocks", first, last, from.q_blocks()));
  const auto begin = static_cast<std::int64_t>(first) * from.block_size.q;
  const auto end = std::min<std::int64_t>(static_cast<std::int64_t>(last) * from.block_size.q, from.q_len);
  const int rows = first == last ? 0 : static_cast<int>(end - begin);
  return BlockMaskFactory::make(from.batch, from.heads, rows, from.kv_len, from.block_size, from.device,
                                [&](State& state) {
                                  for (int b = 0; b < from.batch; ++b)
                                    for (int h = 0; h < from.heads; ++h)
                                      for (int row = first; row < last; ++row) {
                                        for (const BlockRun& run : from.rows().row(from.row_index(b, h, row)))
                                          state.host->rows.append(run);
                                        state.host->rows.end_row();
                                      }
                                });
}

bool BlockMask::operator==(const BlockMask& other) const {
  if (state_ == other.state_) return true;
  if (!state_ || !other.state_) return false;
  const State &a = *state_, &b = *other.state_;
  return a.batch == b.batch && a.heads == b.heads && a.q_len == b.q_len && a.kv_len == b.kv_len &&
         a.block_size == b.block_size && a.device == b.device && a.rows().offsets == b.rows().offsets &&
         a.rows().runs == b.rows().runs;
}

BlockMask operator&(const BlockMask& a, const BlockMask& b) {
  return BlockMaskFactory::combine("BlockMask &", a, b, [](int x, int y) { return std::min(x, y); });
}
BlockMask operator|(const BlockMask& a, const BlockMask& b) {
  return BlockMaskFactory::combine("BlockMask |", a, b, [](int x, int y) { return std::max(x, y); });
}

BlockMask operator~(const BlockMask& a) { return BlockMaskFactory::complement(a); }

}  // namespace attnc
