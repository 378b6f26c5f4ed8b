// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/pack.h"

#include <algorithm>
#include <cstring>

namespace attnc::cuda {
namespace {

/// A dimension of extent 1 has no stride worth the name; 0 keeps garbage out of alignment and overflow rules.
std::int64_t stride_of(const TensorView& view, std::size_t dimension) {
  return view.shape[dimension] <= 1 ? 0 : view.stride_elems[dimension];
}

TensorArgument tensor(const TensorView& view) {
  return {view.data, stride_of(view, 0), stride_of(view, 1), stride_of(view, 2)};
}

template <class T>
void put(ParamBytes& out, std::size_t offset, const T& value) {
  std::memcpy(out.bytes.data() + offset, &value, sizeof(value));
}

void put_view(ParamBytes& out, const ParamLayout::View& view, const ir::BoundBuffer& buffer) {
  const auto rank = static_cast<std::size_t>(view.rank);
  auto offset = static_cast<std::size_t>(view.offset_bytes);
  put(out, offset, buffer.data);
  offset += sizeof(void*);
  for (std::size_t d = 0; d < rank; ++d, offset += 8) put(out, offset, buffer.stride_elems[d]);
  for (std::size_t d = 0; d < rank; ++d, offset += 8) put(out, offset, buffer.shape[d]);
  for (std::size_t d = 0; d < rank; ++d, offset += 4) {
    put(out, offset, static_cast<std::uint32_t>(std::min<std::int64_t>(buffer.shape[d], std::int64_t{1} << 31)));
  }
}

}  // namespace

ForwardArguments pack_arguments(const ForwardCall& call) {
  ForwardArguments args;
  args.q = tensor(call.q);
  args.k = tensor(call.k);
  args.v = tensor(call.v);
  args.out = tensor(call.out);
  if (!call.lse.empty()) {
    args.lse = static_cast<float*>(call.lse.data);
    args.lse_batch_stride_elems = call.lse.stride_elems[0];
    args.lse_head_stride_elems = call.lse.stride_elems[1];
  }
  args.batch = call.batch;
  args.q_heads = call.q_heads;
  args.kv_heads = std::max(call.kv_heads, 1);
  args.q_len = call.q_len;
  args.kv_len = call.kv_len;
  args.scale = call.scale;
  return args;
}

void pack_params(const ir::Bindings& bindings, const ParamLayout& layout, ParamBytes& out) {
  std::memset(out.bytes.data(), 0, static_cast<std::size_t>(layout.size_bytes));
  for (std::size_t i = 0; i < layout.buffers.size(); ++i) put_view(out, layout.buffers[i], bindings.buffers[i]);
  for (std::size_t i = 0; i < layout.params.size(); ++i) {
    const ParamLayout::Scalar& scalar = layout.params[i];
    const ir::Bindings::Scalar& value = bindings.params[i];
    const auto offset = static_cast<std::size_t>(scalar.offset_bytes);
    switch (scalar.type) {
      case Type::f32:
        put(out, offset, static_cast<float>(value.real));
        break;
      case Type::i64:
        put(out, offset, value.integer);
        break;
      case Type::i32:
        put(out, offset, static_cast<std::int32_t>(value.integer));
        break;
      case Type::boolean:
        put(out, offset, static_cast<std::int32_t>(value.integer != 0));
        break;
    }
  }
}

int row_alignment_bytes(const ForwardCall& call) {
  std::uint64_t bits = 16;
  for (const TensorView* view : {&call.q, &call.k, &call.v, &call.out}) {
    bits |= reinterpret_cast<std::uintptr_t>(view->data);
    const std::uint64_t element = size_bytes(view->dtype);
    for (std::size_t d = 0; d < 3; ++d) bits |= static_cast<std::uint64_t>(stride_of(*view, d)) * element;
  }
  return static_cast<int>(bits & (~bits + 1));  // the lowest bit set
}

}  // namespace attnc::cuda
