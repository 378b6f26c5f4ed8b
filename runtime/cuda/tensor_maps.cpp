// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/tensor_maps.h"

#include <array>

#include "dsl/error.h"

namespace attnc::cuda {
namespace {

constexpr std::int64_t max_stride_bytes = std::int64_t{1} << 40;
constexpr int chunk_columns = 64;  // of 16-bit elements: one row of the 128-byte swizzle

/// Everything a map is made of.
struct MapKey {
  const void* data = nullptr;
  std::array<std::int64_t, 4> shape{};
  std::array<std::int64_t, 3> stride_bytes{};
  int box_rows = 0;
  DType dtype = DType::bf16;
  bool operator==(const MapKey&) const = default;
};

MapKey key_of(const TensorView& view, int box_rows) {
  MapKey key;
  key.data = view.data;
  key.box_rows = box_rows;
  key.dtype = view.dtype;
  const auto element = static_cast<std::int64_t>(size_bytes(view.dtype));
  std::int64_t dense = view.shape[3] * element;
  for (int d = 3; d >= 0; --d) {
    const auto i = static_cast<std::size_t>(d);
    key.shape[i] = view.shape[i];
    if (d == 3) continue;
    // The stride of an extent of 1 is never used, but must be valid.
    key.stride_bytes[i] = view.shape[i] <= 1 ? (dense + 15) / 16 * 16 : view.stride_elems[i] * element;
    dense = std::max(dense, key.stride_bytes[i]);
  }
  return key;
}

CUtensorMap encode(const MapKey& key) {
  const std::uint64_t dims[4] = {static_cast<std::uint64_t>(key.shape[3]), static_cast<std::uint64_t>(key.shape[2]),
                                 static_cast<std::uint64_t>(key.shape[1]), static_cast<std::uint64_t>(key.shape[0])};
  const std::uint64_t strides[3] = {static_cast<std::uint64_t>(key.stride_bytes[2]),
                                    static_cast<std::uint64_t>(key.stride_bytes[1]),
                                    static_cast<std::uint64_t>(key.stride_bytes[0])};
  const std::uint32_t box[4] = {chunk_columns, static_cast<std::uint32_t>(key.box_rows), 1, 1};
  const std::uint32_t steps[4] = {1, 1, 1, 1};
  CUtensorMap map;
  const int dtype = key.dtype == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  check(driver().tensor_map_encode_tiled(&map, dtype, 4, const_cast<void*>(key.data), dims, strides, box, steps,
                                         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                         CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "describing a tensor to the copy engine");
  return map;
}

enum Role { role_q, role_k, role_v, roles };

const CUtensorMap& remembered(Role role, const MapKey& key) {
  struct Entry {
    MapKey key;
    CUtensorMap map;
  };
  // A training step or a decoder cycles through a few dozen tensors. The tensors of one call never push each other out:
  // each role has entries of its own. Encoding takes about a microsecond.
  constexpr int entries_log2 = 4;
  static thread_local std::array<std::array<Entry, 1 << entries_log2>, roles> recent{};
  // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): addresses of tensors differ in few bits.
  const std::uint64_t hash = (reinterpret_cast<std::uintptr_t>(key.data) >> 4) * 0x9e3779b97f4a7c15u;
  Entry& entry = recent[role][hash >> (64 - entries_log2)];
  if (!(entry.key == key)) {
    entry.map = encode(key);
    entry.key = key;
  }
  return entry.map;
}

bool can_encode(const TensorView& view) {
  const auto element = static_cast<std::int64_t>(size_bytes(view.dtype));
  if (element != 2 || reinterpret_cast<std::uintptr_t>(view.data) % 16 != 0) return false;
  for (std::size_t d = 0; d < 3; ++d) {
    if (view.shape[d] <= 1) continue;
    const std::int64_t stride = view.stride_elems[d] * element;
    // Stride 0 (broadcasting) is not taken by the engine either.
    if (stride <= 0 || stride % 16 != 0 || stride >= max_stride_bytes) return false;
  }
  return true;
}

}  // namespace

bool can_encode_tensor_maps(const ForwardCall& call) {
  return can_encode(call.q) && can_encode(call.k) && can_encode(call.v) && call.kv_len > 0;
}

TensorMaps encode_tensor_maps(const plan::TilePlan& plan, const ForwardCall& call) {
  TensorMaps maps;
  maps.q = remembered(role_q, key_of(call.q, plan.tile_q));
  maps.k = remembered(role_k, key_of(call.k, plan.tile_kv));
  maps.v = remembered(role_v, key_of(call.v, plan.tile_kv));
  return maps;
}

}  // namespace attnc::cuda
