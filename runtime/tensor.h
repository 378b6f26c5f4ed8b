// SPDX-License-Identifier: Apache-2.0
// Views of the caller's memory. attnc owns no tensor.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "../dsl/error.h"
#include "../dsl/export.h"
#include "../dsl/types.h"

namespace attnc {

/// Where memory lives and work runs.
struct Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;
  static Device cpu() { return {}; }
  static Device cuda(int index = 0) { return {Kind::cuda, index}; }
  bool operator==(const Device&) const = default;
};

/// A borrowed tensor: pointer, element type, shape and strides in elements (any sign, 0 to broadcast). The memory must
/// stay valid until the work that uses it is done (on a GPU: until the stream has passed it).
struct ATTNC_API TensorView {
  static constexpr int max_rank = 5;

  void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  std::array<std::int64_t, max_rank> shape{};
  std::array<std::int64_t, max_rank> stride_elems{};

  TensorView() = default;
  /// Contiguous, row-major. Throws Error(invalid_argument) for a rank over max_rank or a negative extent.
  TensorView(void* data, DType dtype, std::initializer_list<std::int64_t> shape);
  TensorView(const void* data, DType dtype, std::initializer_list<std::int64_t> shape)
      : TensorView(const_cast<void*>(data), dtype, shape) {}
  TensorView(void* data, DType dtype, std::initializer_list<std::int64_t> shape,
             std::initializer_list<std::int64_t> stride_elems);
  TensorView(const void* data, DType dtype, std::initializer_list<std::int64_t> shape,
             std::initializer_list<std::int64_t> stride_elems)
      : TensorView(const_cast<void*>(data), dtype, shape, stride_elems) {}

  bool empty() const { return data == nullptr; }
  std::int64_t elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[static_cast<std::size_t>(i)];
    return n;
  }
};

}  // namespace attnc
