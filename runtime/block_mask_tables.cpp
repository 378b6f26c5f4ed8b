// SPDX-License-Identifier: Apache-2.0
// Index tables from runs: count, scan, fill.
#include <algorithm>

#include "runtime/block_mask_state.h"

namespace attnc {
namespace {

/// Lists with their counts set and room for the indices.
void allocate(BlockLists& lists) {
  lists.width = 1;
  for (const std::int32_t n : lists.num_blocks) lists.width = std::max(lists.width, static_cast<int>(n));
  lists.indices.assign(lists.num_blocks.size() * static_cast<std::size_t>(lists.width), 0);
}

BlockSide by_row(const BlockRows& rows) {
  BlockSide tables;
  const auto count = static_cast<std::size_t>(rows.count());
  tables.partial.num_blocks.assign(count, 0);
  tables.full.num_blocks.assign(count, 0);
  for (std::size_t r = 0; r < count; ++r)
    for (const BlockRun& run : rows.row(static_cast<std::int64_t>(r)))
      (run.full ? tables.full : tables.partial).num_blocks[r] += run.last - run.first;
  allocate(tables.partial);
  allocate(tables.full);
  for (std::size_t r = 0; r < count; ++r) {
    std::int32_t* partial = tables.partial.indices.data() + r * static_cast<std::size_t>(tables.partial.width);
    std::int32_t* full = tables.full.indices.data() + r * static_cast<std::size_t>(tables.full.width);
    for (const BlockRun& run : rows.row(static_cast<std::int64_t>(r))) {
      std::int32_t*& at = run.full ? full : partial;
      for (std::int32_t block = run.first; block < run.last; ++block) *at++ = block;
    }
  }
  return tables;
}

/// The transpose: rows of one (b, h) are visited in ascending order, so every column's list ascends.
BlockSide by_column(const BlockRows& rows, std::int64_t groups, int q_blocks, int kv_blocks) {
  BlockSide tables;
  const auto count = static_cast<std::size_t>(groups * kv_blocks);
  tables.partial.num_blocks.assign(count, 0);
  tables.full.num_blocks.assign(count, 0);
  auto visit = [&](auto&& entry) {
    for (std::int64_t g = 0; g < groups; ++g)
      for (int i = 0; i < q_blocks; ++i)
        for (const BlockRun& run : rows.row(g * q_blocks + i)) {
          BlockLists& lists = run.full ? tables.full : tables.partial;
          for (std::int32_t block = run.first; block < run.last; ++block)
            entry(lists, static_cast<std::size_t>(g * kv_blocks + block), i);
        }
  };
  visit([](BlockLists& lists, std::size_t column, int) { ++lists.num_blocks[column]; });
  allocate(tables.partial);
  allocate(tables.full);
  std::fill(tables.partial.num_blocks.begin(), tables.partial.num_blocks.end(), 0);
  std::fill(tables.full.num_blocks.begin(), tables.full.num_blocks.end(), 0);
  visit([](BlockLists& lists, std::size_t column, int q_block) {
    lists.indices[column * static_cast<std::size_t>(lists.width) +
                  static_cast<std::size_t>(lists.num_blocks[column]++)] = q_block;
  });
  return tables;
}

}  // namespace

namespace {

/// Runs from planes of bits, repeated over what the mask does not tell apart.
BlockRows rows_from_bits(const cuda::DeviceMaskContents& contents, const cuda::DeviceMaskSpec& from, int batch,
                         int heads, int q_blocks, int kv_blocks) {
  BlockRows rows;
  for (int b = 0; b < batch; ++b)
    for (int h = 0; h < heads; ++h)
      for (int i = 0; i < q_blocks; ++i) {
        const std::int64_t row =
            (static_cast<std::int64_t>(from.batch == 1 ? 0 : b) * from.heads + (from.heads == 1 ? 0 : h)) * q_blocks +
            i;
        for (int w = 0; w < contents.words; ++w) {
          const auto at = static_cast<std::size_t>(row * contents.words + w);
          const std::uint32_t full = contents.full[at], present = full | contents.partial[at];
          if (full == ~0u || (present == full && present == 0)) {
            if (full != 0) rows.append({w * 32, std::min(w * 32 + 32, kv_blocks), true});
            continue;
          }
          for (int bit = 0; bit < 32; ++bit)
            if (present >> bit & 1) rows.append({w * 32 + bit, w * 32 + bit + 1, (full >> bit & 1) != 0});
        }
        rows.end_row();
      }
  return rows;
}

}  // namespace

const BlockMaskHostSide& BlockMask::State::view() const {
  host->rows_once.run([this] {
    if (built != nullptr) {
      const cuda::DeviceMaskContents contents = built->download();
      const cuda::DeviceMaskSpec& spec = built->spec();
      host->rows = rows_from_bits(contents, spec, batch, heads, q_blocks(), kv_blocks());
      host->stats = contents.stats;
      const std::int64_t copies = static_cast<std::int64_t>(batch) * heads / (spec.batch * spec.heads);
      for (std::int64_t* count :
           {&host->stats.proved_full, &host->stats.proved_empty, &host->stats.evaluated, &host->stats.overflowing_rows})
        *count *= copies;
    }
    host->stats.build_ms = build_ms;
    for (const BlockRun& run : host->rows.runs)
      (run.full ? host->full_blocks : host->partial_blocks) += run.last - run.first;
  });
  return *host;
}

const BlockSide& BlockMask::State::kv_tables() const {
  host->kv_once.run([this] { host->kv = by_row(rows()); });
  return host->kv;
}

const BlockSide& BlockMask::State::q_tables() const {
  host->q_once.run(
      [this] { host->q = by_column(rows(), static_cast<std::int64_t>(batch) * heads, q_blocks(), kv_blocks()); });
  return host->q;
}

int BlockMask::kv_width() const { return state_->kv_tables().partial.width; }
int BlockMask::full_kv_width() const { return state_->kv_tables().full.width; }
int BlockMask::q_width() const { return state_->q_tables().partial.width; }
int BlockMask::full_q_width() const { return state_->q_tables().full.width; }
std::span<const std::int32_t> BlockMask::kv_num_blocks() const { return state_->kv_tables().partial.num_blocks; }
std::span<const std::int32_t> BlockMask::kv_indices() const { return state_->kv_tables().partial.indices; }
std::span<const std::int32_t> BlockMask::full_kv_num_blocks() const { return state_->kv_tables().full.num_blocks; }
std::span<const std::int32_t> BlockMask::full_kv_indices() const { return state_->kv_tables().full.indices; }
std::span<const std::int32_t> BlockMask::q_num_blocks() const { return state_->q_tables().partial.num_blocks; }
std::span<const std::int32_t> BlockMask::q_indices() const { return state_->q_tables().partial.indices; }
std::span<const std::int32_t> BlockMask::full_q_num_blocks() const { return state_->q_tables().full.num_blocks; }
std::span<const std::int32_t> BlockMask::full_q_indices() const { return state_->q_tables().full.indices; }

BlockTables BlockMaskAccess::tables(const BlockMask& mask) {
  const BlockMask::State& state = *mask.state_;
  const BlockSide& kv = state.kv_tables();
  BlockTables t;
  t.kv_num_blocks = kv.partial.num_blocks.data();
  t.kv_indices = kv.partial.indices.data();
  t.full_kv_num_blocks = kv.full.num_blocks.data();
  t.full_kv_indices = kv.full.indices.data();
  t.indices_row_stride = kv.partial.width;
  t.full_indices_row_stride = kv.full.width;
  t.batch = state.batch;
  t.heads = state.heads;
  t.q_blocks = state.q_blocks();
  t.kv_blocks = state.kv_blocks();
  t.block_size = state.block_size;
  t.device = state.device;
  return t;
}

std::span<const BlockRun> BlockMaskAccess::row_runs(const BlockMask& mask, int b, int h, int q_block) {
  return mask.state_->rows().row(mask.state_->row_index(b, h, q_block));
}

std::shared_ptr<void> BlockMaskAccess::device_copy(const BlockMask& mask,
                                                   const std::function<std::shared_ptr<void>()>& make) {
  BlockMaskHostSide& host = *mask.state_->host;
  host.device_once.run([&] { host.device_copy = make(); });
  return host.device_copy;
}

const cuda::DeviceMask* BlockMaskAccess::built_on_device(const BlockMask& mask) { return mask.state_->built.get(); }

}  // namespace attnc
