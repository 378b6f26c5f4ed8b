// SPDX-License-Identifier: Apache-2.0
// Tensors the tool owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "runtime/tensor.h"

namespace attnc::cli {

/// Contiguous, row-major, 64-byte aligned host memory. Movable. Uninitialized when made.
class HostTensor {
 public:
  HostTensor() = default;
  /// Throws std::bad_alloc. The product of the extents and the element size must fit 63 bits.
  HostTensor(DType dtype, std::vector<std::int64_t> shape) : dtype_(dtype), shape_(std::move(shape)) {
    bytes_ = size_bytes(dtype);
    for (const std::int64_t extent : shape_) bytes_ *= static_cast<std::size_t>(extent);
    // At least one byte: an empty tensor has an address too.
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, (bytes_ / alignment + 1) * alignment)));
    if (!memory_) throw std::bad_alloc();
  }

  DType dtype() const { return dtype_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::span<std::byte> bytes() { return {memory_.get(), bytes_}; }
  std::span<const std::byte> bytes() const { return {memory_.get(), bytes_}; }

  /// Rank at most TensorView::max_rank.
  TensorView view() const { return view_of(memory_.get()); }
  /// The same tensor at another address (a copy on a device).
  TensorView view_of(void* data) const {
    TensorView view;
    view.data = data;
    view.dtype = dtype_;
    view.rank = static_cast<int>(shape_.size());
    std::int64_t stride = 1;
    for (std::size_t i = shape_.size(); i-- > 0;) {
      view.shape[i] = shape_[i];
      view.stride_elems[i] = stride;
      stride *= shape_[i];
    }
    return view;
  }

 private:
  static constexpr std::size_t alignment = 64;
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  DType dtype_ = DType::f32;
  std::vector<std::int64_t> shape_;
  std::size_t bytes_ = 0;
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace attnc::cli
