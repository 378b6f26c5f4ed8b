// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensor.h"

#include "dsl/format.h"

namespace attnc {

TensorView::TensorView(void* d, DType t, std::initializer_list<std::int64_t> extents) : data(d), dtype(t) {
  if (extents.size() > static_cast<std::size_t>(max_rank))
    throw Error(ErrorCode::invalid_argument,
                attnc::format("a TensorView has rank {}; the greatest is {}", extents.size(), max_rank));
  rank = static_cast<int>(extents.size());
  std::size_t i = 0;
  for (std::int64_t extent : extents) {
    if (extent < 0)
      throw Error(ErrorCode::invalid_argument, attnc::format("a TensorView has shape [{}]; an extent is never negative",
                                                             attnc::join(extents, ", ")));
    shape[i++] = extent;
  }
  std::int64_t stride = 1;
  for (std::size_t dim = extents.size(); dim-- > 0;) {
    stride_elems[dim] = stride;
    stride *= shape[dim];
  }
}

TensorView::TensorView(void* d, DType t, std::initializer_list<std::int64_t> extents,
                       std::initializer_list<std::int64_t> strides)
    : TensorView(d, t, extents) {
  if (strides.size() != extents.size())
    throw Error(ErrorCode::invalid_argument,
                attnc::format("a TensorView of rank {} got {} strides", extents.size(), strides.size()));
  std::size_t i = 0;
  for (std::int64_t stride : strides) stride_elems[i++] = stride;
}

}  // namespace attnc
