// SPDX-License-Identifier: Apache-2.0
// Kernels around single matrix products of templates/sm90/wgmma.cuh, of every width, for the test that runs them and
// the test that only compiles them.
#pragma once

#include <string>
#include <vector>

#include "dsl/format.h"

namespace attnc::testing {

/// Reduction of the shared-memory product, as of head_dim: two chunks of 64 columns, the second not full.
inline constexpr int wgmma_columns = 80;
/// Reduction of the register product: keys of one tile, and tiles added up in one accumulator.
inline constexpr int wgmma_keys = 32, wgmma_tiles = 3;

/// Every multiple of 8: a value product is as wide as head_dim_v, a score product as a tile of keys.
inline std::vector<int> wgmma_widths() {
  std::vector<int> widths;
  for (int n = 8; n <= 256; n += 8) widths.push_back(n);
  return widths;
}

/// Entries shared_<n> and register_<n> of each width n, 128 threads, dynamic shared memory of wgmma_smem_bytes.
/// Arguments: a, b (16-bit, contiguous), d (fp32 64 x n), never (false).
///   shared_<n>    d = a b^T, a [64, 80], b [n, 80]
///   register_<n>  d = a b,   a [64, 96], b [96, n], in three tiles of 32 keys whose operands share their registers
inline std::string wgmma_source(bool is_bf16, const std::vector<int>& widths) {
  std::string source = attnc::format(R"(#include "sm90/wgmma.cuh"
namespace attnc::sm90 {{
constexpr bool is_bf16 = {};
constexpr int columns = {}, keys = {}, tiles = {};
)",
                                     is_bf16, wgmma_columns, wgmma_keys, wgmma_tiles);
  source += R"(
// As the copy engine writes a tile: chunks of 64 columns, the 16-byte pieces of a row swizzled by its number.
template <int rows>
__forceinline__ void store_tile(uint8* tile, const uint16* from, int width) {
  for (int i = threadIdx.x; i < rows * width; i += 128) {
    const int row = i / width, column = i % width;
    const int piece = column % 64 / 8 ^ row % 8;
    uint8* at = tile + column / 64 * rows * chunk_row_bytes + row * chunk_row_bytes + piece * 16 + column % 8 * 2;
    *reinterpret_cast<uint16*>(at) = from[i];
  }
}

__forceinline__ uint8* aligned_shared() {
  extern __shared__ uint8 dynamic_shared[];
  return dynamic_shared + (1024 - shared_address(dynamic_shared) % 1024) % 1024;
}

__forceinline__ int first_row() { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4; }

template <int n>
__forceinline__ void store_result(float* d, const float (&result)[n / 2]) {
  for (int r = 0; r < n / 2; ++r) {
    const int row = first_row() + r / 2 % 2 * 8, column = r / 4 * 8 + threadIdx.x % 4 * 2 + r % 2;
    d[row * n + column] = result[r];
  }
}

template <int n>
__forceinline__ void shared_product(const uint16* a, const uint16* b, float* d) {
  uint8* tile_a = aligned_shared();
  uint8* tile_b = tile_a + tile_bytes(64, columns);
  store_tile<64>(tile_a, a, columns);
  store_tile<n>(tile_b, b, columns);
  proxy_fence();
  __syncthreads();
  const MatrixDescriptor left = k_major_descriptor(shared_address(tile_a));
  const MatrixDescriptor right = k_major_descriptor(shared_address(tile_b));
  float result[n / 2];
  fence_registers(result);
  wgmma_fence();
  WgmmaShared<n, is_bf16, false>::run(result, left.at(0), right.at(0));
#pragma unroll
  for (int step = 1; step < columns / 16; ++step) {
    WgmmaShared<n, is_bf16, true>::run(result, left.at(k_major_step<64>(step)), right.at(k_major_step<n>(step)));
  }
  wgmma_commit();
  wgmma_wait<0>();
  fence_registers(result);
  store_result<n>(d, result);
}

template <int n>
__forceinline__ void register_product(const uint16* a, const uint16* b, float* d, bool never) {
  uint8* tile_b = aligned_shared();
  float result[n / 2];
#pragma unroll
  for (int r = 0; r < n / 2; ++r) result[r] = 0.0f;
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile) {
    __syncthreads();
    store_tile<keys>(tile_b, b + tile * keys * n, n);
    proxy_fence();
    __syncthreads();
    uint32 operand[keys / 4];
#pragma unroll
    for (int r = 0; r < keys / 4; ++r) {
      const int row = first_row() + r % 2 * 8, key = tile * keys + r / 2 * 8 + threadIdx.x % 4 * 2;
      operand[r] = *reinterpret_cast<const uint32*>(a + row * tiles * keys + key);
    }
    const MatrixDescriptor right = mn_major_descriptor<keys>(shared_address(tile_b));
    fence_registers(result);
    fence_registers(operand);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < keys / 16; ++step) {
      WgmmaRegister<n, is_bf16>::run(result, operand + 4 * step, right.at(mn_major_step(step)));
    }
    wgmma_commit();
    wgmma_wait<0>();
    fence_registers(result);
    fence_registers(operand);
    keep_operands(operand, never, reinterpret_cast<uint32*>(tile_b));
  }
  store_result<n>(d, result);
}
}  // namespace attnc::sm90
)";
  for (const int n : widths) {
    source += attnc::format(R"(
extern "C" __global__ void __launch_bounds__(128, 1)
shared_{0}(const attnc::uint16* a, const attnc::uint16* b, float* d, int) {{
  attnc::sm90::shared_product<{0}>(a, b, d);
}}
extern "C" __global__ void __launch_bounds__(128, 1)
register_{0}(const attnc::uint16* a, const attnc::uint16* b, float* d, int never) {{
  attnc::sm90::register_product<{0}>(a, b, d, never != 0);
}}
)",
                            n);
  }
  return source;
}

/// Enough for either kernel at any width.
inline constexpr int wgmma_smem_bytes = 1024 + (64 + 256) * 128 * 2;

}  // namespace attnc::testing
