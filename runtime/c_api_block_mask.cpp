// SPDX-License-Identifier: Apache-2.0
// The C API over BlockMask.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "runtime/c_api_support.h"

namespace attnc::c_api {
namespace {

constexpr std::size_t kOldestOptions = offsetof(attnc_block_mask_options, reserved) + sizeof(int32_t);
constexpr std::size_t kOldestRebuild = offsetof(attnc_block_mask_rebuild_options, stream) + sizeof(void*);
constexpr std::size_t kOldestInfo = offsetof(attnc_block_mask_info, build_ms) + sizeof(double);
constexpr std::size_t kOldestTables = offsetof(attnc_block_mask_tables, full_q_width) + sizeof(int32_t);
constexpr std::size_t kOldestKvBlocks = offsetof(attnc_kv_blocks, block_kv) + sizeof(int32_t);

BlockSize to_block_size(int32_t q, int32_t kv) { return {q == 0 ? BlockSize{}.q : q, kv == 0 ? BlockSize{}.kv : kv}; }

ElementBits to_element_bits(attnc_element_bits value) {
  switch (value) {
    case ATTNC_ELEMENT_BITS_AUTOMATIC:
      return ElementBits::automatic;
    case ATTNC_ELEMENT_BITS_ALWAYS:
      return ElementBits::always;
    case ATTNC_ELEMENT_BITS_NEVER:
      return ElementBits::never;
    default:
      throw_invalid_argument(attnc::format("element_bits is {}, which is no attnc_element_bits (0 to {})", value,
                                           int{ATTNC_ELEMENT_BITS_NEVER}));
  }
}

BlockMask create(const attnc_block_mask_options* caller) {
  const auto c = read_struct(caller, kOldestOptions, "attnc_block_mask_options");
  require(c.mask_mod, "mask_mod");
  const MaskMod mask =
      mask_mod(std::string_view(c.mask_mod), to_captures(c.params, c.num_params, c.buffers, c.num_buffers));
  const std::vector<ParamValue> params = to_param_values(c.param_values, c.num_param_values);
  const std::vector<BufferValue> buffers = to_buffer_values(c.buffer_values, c.num_buffer_values);
  BlockMaskOptions options;
  options.block_size = to_block_size(c.block_q, c.block_kv);
  options.device = to_device(c.device, "device");
  options.stream = c.stream;
  options.params = params;
  options.buffers = buffers;
  options.separate_full_blocks = c.only_partial_blocks == 0;
  options.element_bits = to_element_bits(c.element_bits);
  return BlockMask::create(mask, c.batch == 0 ? 1 : c.batch, c.heads == 0 ? 1 : c.heads, c.q_len, c.kv_len, options);
}

int64_t ceil_div(int64_t n, int64_t divisor) { return (n + divisor - 1) / divisor; }

BlockMask from_kv_blocks(const attnc_kv_blocks* caller) {
  const auto c = read_struct(caller, kOldestKvBlocks, "attnc_kv_blocks");
  const BlockSize block = to_block_size(c.block_q, c.block_kv);
  const int batch = c.batch == 0 ? 1 : c.batch;
  const int heads = c.heads == 0 ? 1 : c.heads;
  // The spans' lengths follow from these, so they have to make sense before BlockMask can say what is wrong with the
  // rest.
  if (batch < 1 || heads < 1)
    throw_invalid_argument(attnc::format("batch is {} and heads {}; neither may be negative", c.batch, c.heads));
  if (c.q_len < 0 || c.kv_len < 0)
    throw_invalid_argument(attnc::format("q_len is {} and kv_len {}; neither may be negative", c.q_len, c.kv_len));
  if (block.q < 1 || block.kv < 1)
    throw_invalid_argument(attnc::format("the block size is {} x {}; both are 16 to 512", block.q, block.kv));
  if (c.kv_width < 0 || c.full_kv_width < 0)
    throw_invalid_argument(
        attnc::format("kv_width is {} and full_kv_width {}; neither may be negative", c.kv_width, c.full_kv_width));
  std::int64_t rows = 0;
  if (__builtin_mul_overflow(std::int64_t{batch} * heads, ceil_div(c.q_len, block.q), &rows) ||
      rows > (std::int64_t{1} << 31))
    throw_invalid_argument(
        attnc::format("batch {} x heads {} x q_len {} has more than 2^31 rows of blocks", batch, heads, c.q_len));
  const std::int64_t kv_blocks = ceil_div(c.kv_len, block.kv);
  const auto table = [](const int32_t* data, std::int64_t size, const char* what) {
    if (size != 0) require(data, what);
    return std::span<const std::int32_t>(data, static_cast<std::size_t>(size));
  };
  const auto indices = [&](const int32_t* data, int32_t width, const char* what) {
    return table(data, rows * (width == 0 ? kv_blocks : width), what);
  };
  const std::span<const std::int32_t> num_blocks = table(c.kv_num_blocks, rows, "kv_num_blocks");
  const std::span<const std::int32_t> partial_indices = indices(c.kv_indices, c.kv_width, "kv_indices");
  std::span<const std::int32_t> full_num_blocks, full_indices;
  if (c.full_kv_num_blocks != nullptr || c.full_kv_indices != nullptr) {
    full_num_blocks = table(c.full_kv_num_blocks, rows, "full_kv_num_blocks");
    full_indices = indices(c.full_kv_indices, c.full_kv_width, "full_kv_indices");
  }
  return BlockMask::from_kv_blocks(num_blocks, partial_indices, full_num_blocks, full_indices, batch, heads, c.q_len,
                                   c.kv_len, block, to_device(c.device, "device"));
}

void rebuild(BlockMask& mask, const attnc_block_mask_rebuild_options* caller) {
  const auto c = read_struct(caller, kOldestRebuild, "attnc_block_mask_rebuild_options");
  const std::vector<ParamValue> params = to_param_values(c.param_values, c.num_param_values);
  const std::vector<BufferValue> buffers = to_buffer_values(c.buffer_values, c.num_buffer_values);
  mask.rebuild({c.stream, params, buffers});
}

/// A function that makes a mask: checks `out`, stores the result.
template <class Make>
attnc_status make(attnc_block_mask** out, attnc_error** error, Make&& body) {
  return guarded(error, [&] {
    require(out, "out");
    *out = new attnc_block_mask{body()};
  });
}

std::optional<int> all_if_minus_one(int32_t index) { return index == -1 ? std::nullopt : std::optional<int>(index); }

}  // namespace
}  // namespace attnc::c_api

using namespace attnc::c_api;

extern "C" {

attnc_status attnc_block_mask_create(const attnc_block_mask_options* options, attnc_block_mask** out,
                                     attnc_error** error) {
  return make(out, error, [&] { return create(options); });
}

attnc_status attnc_block_mask_from_kv_blocks(const attnc_kv_blocks* blocks, attnc_block_mask** out,
                                             attnc_error** error) {
  return make(out, error, [&] { return from_kv_blocks(blocks); });
}

attnc_status attnc_block_mask_slice(const attnc_block_mask* mask, int32_t batch, int32_t head, attnc_block_mask** out,
                                    attnc_error** error) {
  return make(out, error, [&] {
    require(mask, "mask");
    return mask->mask.slice(all_if_minus_one(batch), all_if_minus_one(head));
  });
}

attnc_status attnc_block_mask_slice_q_blocks(const attnc_block_mask* mask, int32_t first, int32_t last,
                                             attnc_block_mask** out, attnc_error** error) {
  return make(out, error, [&] {
    require(mask, "mask");
    return mask->mask.slice_q_blocks(first, last);
  });
}

attnc_status attnc_block_mask_and(const attnc_block_mask* a, const attnc_block_mask* b, attnc_block_mask** out,
                                  attnc_error** error) {
  return make(out, error, [&] {
    require(a, "a");
    require(b, "b");
    return a->mask & b->mask;
  });
}

attnc_status attnc_block_mask_or(const attnc_block_mask* a, const attnc_block_mask* b, attnc_block_mask** out,
                                 attnc_error** error) {
  return make(out, error, [&] {
    require(a, "a");
    require(b, "b");
    return a->mask | b->mask;
  });
}

attnc_status attnc_block_mask_not(const attnc_block_mask* mask, attnc_block_mask** out, attnc_error** error) {
  return make(out, error, [&] {
    require(mask, "mask");
    return ~mask->mask;
  });
}

attnc_status attnc_block_mask_rebuild(attnc_block_mask* mask, const attnc_block_mask_rebuild_options* options,
                                      attnc_error** error) {
  return guarded(error, [&] {
    require(mask, "mask");
    rebuild(mask->mask, options);
  });
}

void attnc_block_mask_free(attnc_block_mask* mask) { delete mask; }

attnc_status attnc_block_mask_get_info(const attnc_block_mask* mask, attnc_block_mask_info* out, attnc_error** error) {
  return guarded(error, [&] {
    require(mask, "mask");
    const attnc::BlockMask& m = mask->mask;
    attnc_block_mask_info info{};
    info.batch = m.batch();
    info.heads = m.heads();
    info.q_len = m.q_len();
    info.kv_len = m.kv_len();
    info.q_blocks = m.q_blocks();
    info.kv_blocks = m.kv_blocks();
    info.block_q = m.block_size().q;
    info.block_kv = m.block_size().kv;
    info.device = {static_cast<attnc_device_kind>(m.device().kind), m.device().index};
    info.sparsity = m.sparsity();
    info.full_blocks = m.full_blocks();
    info.partial_blocks = m.partial_blocks();
    info.empty_blocks = m.empty_blocks();
    info.proved_full = m.stats().proved_full;
    info.proved_empty = m.stats().proved_empty;
    info.evaluated = m.stats().evaluated;
    info.build_ms = m.stats().build_ms;
    write_struct(out, info, kOldestInfo, "attnc_block_mask_info");
  });
}

attnc_status attnc_block_mask_get_tables(const attnc_block_mask* mask, attnc_block_mask_tables* out,
                                         attnc_error** error) {
  return guarded(error, [&] {
    require(mask, "mask");
    const attnc::BlockMask& m = mask->mask;
    attnc_block_mask_tables tables{};
    tables.kv_num_blocks = m.kv_num_blocks().data();
    tables.kv_indices = m.kv_indices().data();
    tables.full_kv_num_blocks = m.full_kv_num_blocks().data();
    tables.full_kv_indices = m.full_kv_indices().data();
    tables.q_num_blocks = m.q_num_blocks().data();
    tables.q_indices = m.q_indices().data();
    tables.full_q_num_blocks = m.full_q_num_blocks().data();
    tables.full_q_indices = m.full_q_indices().data();
    tables.kv_width = m.kv_width();
    tables.full_kv_width = m.full_kv_width();
    tables.q_width = m.q_width();
    tables.full_q_width = m.full_q_width();
    write_struct(out, tables, kOldestTables, "attnc_block_mask_tables");
  });
}

attnc_status attnc_block_mask_to_dense(const attnc_block_mask* mask, uint8_t* out, size_t capacity,
                                       attnc_error** error) {
  return guarded(error, [&] {
    require(mask, "mask");
    require(out, "out");
    const std::vector<std::uint8_t> dense = mask->mask.to_dense();
    if (capacity < dense.size())
      throw_invalid_argument(
          attnc::format("capacity is {} bytes; batch * heads * q_blocks * kv_blocks is {}", capacity, dense.size()));
    std::copy(dense.begin(), dense.end(), out);
  });
}

attnc_status attnc_block_mask_to_string(const attnc_block_mask* mask, int32_t batch, int32_t head, int32_t columns,
                                        char** text, attnc_error** error) {
  return guarded(error, [&] {
    require(mask, "mask");
    require(text, "text");
    *text = copy_text(mask->mask.to_string(batch, head, columns));
  });
}

}  // extern "C"
