// SPDX-License-Identifier: Apache-2.0
#include "runtime/validate.h"

#include <cmath>
#include <limits>

#include "compiler/bounds/bounds.h"
#include "dsl/format.h"

namespace attnc {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

std::string shape_text(const TensorView& view) {
  return attnc::format("[{}]", attnc::join(view.shape.begin(), view.shape.begin() + view.rank, ", "));
}

void check_view(const TensorView& view, std::string_view name, int rank, DType dtype) {
  if (view.rank != rank)
    refuse(attnc::format("{} has rank {} (shape {}); it must have rank {}", name, view.rank, shape_text(view), rank));
  if (view.dtype != dtype)
    refuse(attnc::format("{} is {}; it must be {}", name, attnc::name(view.dtype), attnc::name(dtype)));
  for (int i = 0; i < rank; ++i) {
    const std::int64_t extent = view.shape[static_cast<std::size_t>(i)];
    if (extent < 0 || extent > std::numeric_limits<std::int32_t>::max())
      refuse(attnc::format("{} has shape {}; an extent must be 0 to 2^31 - 1", name, shape_text(view)));
  }
  if (view.elements() == 0) return;
  if (view.data == nullptr) refuse(attnc::format("{} is a null pointer with shape {}", name, shape_text(view)));
  if (reinterpret_cast<std::uintptr_t>(view.data) % size_bytes(view.dtype) != 0)
    refuse(attnc::format("{} at {} is not aligned to its element size, {} bytes", name, view.data,
                         size_bytes(view.dtype)));
  const auto last = static_cast<std::size_t>(rank - 1);
  if (rank == 4 && view.shape[last] > 1 && view.stride_elems[last] != 1)
    refuse(attnc::format("{} has stride {} in its innermost dimension; it must be 1", name, view.stride_elems[last]));
}

struct ByteRange {
  std::intptr_t first = 0, last = -1;  // closed; empty when last < first
};

ByteRange range_of(const TensorView& view) {
  if (view.empty() || view.elements() == 0) return {};
  const auto size = static_cast<std::intptr_t>(size_bytes(view.dtype));
  auto first = reinterpret_cast<std::intptr_t>(view.data);
  auto last = first + size - 1;
  for (int i = 0; i < view.rank; ++i) {
    const auto d = static_cast<std::size_t>(i);
    const std::intptr_t reach = (view.shape[d] - 1) * view.stride_elems[d] * size;
    (reach < 0 ? first : last) += reach;
  }
  return {first, last};
}

/// Two views that interleave without sharing an element, as slices of one packed tensor do: equal strides, and columns
/// that do not meet within a row.
bool interleaved(const TensorView& a, const TensorView& b) {
  if (a.rank != 4 || b.rank != 4 || size_bytes(a.dtype) != size_bytes(b.dtype)) return false;
  std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
  for (std::size_t d = 0; d < 3; ++d) {
    if (a.stride_elems[d] != b.stride_elems[d] && a.shape[d] > 1 && b.shape[d] > 1) return false;
    for (const TensorView* view : {&a, &b})
      if (view->shape[d] > 1) smallest = std::min(smallest, std::abs(view->stride_elems[d]));
  }
  const auto size = static_cast<std::int64_t>(size_bytes(a.dtype));
  const std::int64_t distance =
      (reinterpret_cast<std::intptr_t>(b.data) - reinterpret_cast<std::intptr_t>(a.data)) / size;
  if (smallest == std::numeric_limits<std::int64_t>::max() || smallest == 0) return false;
  const std::int64_t phase = ((distance % smallest) + smallest) % smallest;
  return phase >= a.shape[3] && smallest - phase >= b.shape[3];
}

void check_no_overlap(const TensorView& written, std::string_view written_name, const TensorView& other,
                      std::string_view other_name) {
  const ByteRange a = range_of(written), b = range_of(other);
  if (a.last < a.first || b.last < b.first || a.last < b.first || b.last < a.first || interleaved(written, other))
    return;
  refuse(attnc::format("{} overlaps {} in memory; an output must not share memory with another tensor", written_name,
                       other_name));
}

void check_self_overlap(const TensorView& view, std::string_view name) {
  for (int i = 0; i < view.rank; ++i) {
    const auto d = static_cast<std::size_t>(i);
    if (view.shape[d] > 1 && view.stride_elems[d] == 0)
      refuse(attnc::format("{} has stride 0 in dimension {} of extent {}; an output cannot be broadcast", name, i,
                           view.shape[d]));
  }
}

template <class Decls>
bool declares(const Decls& decls, const std::string& name) {
  for (const auto& decl : decls)
    if (decl.name == name) return true;
  return false;
}

template <class Decls>
std::string known_names(const Decls& decls) {
  std::string list;
  for (const auto& decl : decls) list += (list.empty() ? "" : ", ") + decl.name;
  return list.empty() ? "none" : list;
}

ir::Bindings::Scalar bind_param(const ParamDecl& decl, std::span<const ParamValue> params, std::string_view what) {
  for (const ParamValue& value : params) {
    if (value.name != decl.name) continue;
    if (decl.type == Type::f32) return {value.real, 0};
    if (!value.is_integer)
      refuse(attnc::format("{}: parameter '{}' is {} and cannot take the value {}; give an integer", what, decl.name,
                           name(decl.type), value.real));
    if (decl.type == Type::i32 && value.integer != static_cast<std::int32_t>(value.integer))
      refuse(attnc::format("{}: parameter '{}' is i32 and cannot take the value {}", what, decl.name, value.integer));
    return {0, decl.type == Type::boolean ? value.integer != 0 : value.integer};
  }
  if (!decl.has_default)
    refuse(attnc::format("{}: parameter '{}' ({}) has no value and no default", what, decl.name, name(decl.type)));
  return {decl.default_value, decl.default_int};
}

ir::BoundBuffer bind_buffer(const BufferDecl& decl, std::span<const BufferValue> buffers, std::string_view what) {
  for (const BufferValue& value : buffers) {
    if (value.name != decl.name) continue;
    check_view(value.view, attnc::format("{}: buffer '{}'", what, decl.name), value.view.rank, value.view.dtype);
    if (value.view.dtype != decl.dtype)
      refuse(attnc::format("{}: buffer '{}' is {}; it was declared {}", what, decl.name, name(value.view.dtype),
                           name(decl.dtype)));
    if (value.view.rank != decl.rank)
      refuse(attnc::format("{}: buffer '{}' has rank {} (shape {}); it was declared with rank {}", what, decl.name,
                           value.view.rank, shape_text(value.view), decl.rank));
    ir::BoundBuffer bound;
    bound.data = value.view.data;
    bound.dtype = value.view.dtype;
    const auto rank = static_cast<std::ptrdiff_t>(decl.rank);
    bound.shape.assign(value.view.shape.begin(), value.view.shape.begin() + rank);
    bound.stride_elems.assign(value.view.stride_elems.begin(), value.view.stride_elems.begin() + rank);
    return bound;
  }
  refuse(attnc::format("{}: buffer '{}' ({} of rank {}) is captured by the mod but was not given", what, decl.name,
                       name(decl.dtype), decl.rank));
}

}  // namespace

void validate_options(const AttentionOptions& options) {
  if (options.dtype != DType::f32 && options.dtype != DType::f16 && options.dtype != DType::bf16)
    throw Error(ErrorCode::unsupported,
                attnc::format("dtype is {}; attention works on f32, f16 or bf16", name(options.dtype)));
  for (const auto& [value, what] : {std::pair{options.head_dim, "head_dim"},
                                    {options.head_dim_v == 0 ? options.head_dim : options.head_dim_v, "head_dim_v"}})
    if (value < 1 || value > 256)
      throw Error(ErrorCode::unsupported, attnc::format("{} is {}; it must be 1 to 256", what, value));
  if (options.device.kind == Device::Kind::cuda && (options.head_dim % 8 != 0 || options.head_dim_v % 8 != 0))
    throw Error(ErrorCode::unsupported,
                attnc::format("head_dim is {} and head_dim_v {}; on a GPU they must be multiples of 8",
                              options.head_dim, options.head_dim_v == 0 ? options.head_dim : options.head_dim_v));
  if (options.device.index < 0)
    refuse(attnc::format("device index is {}; it must not be negative", options.device.index));
}

ir::Bindings bind_captures(const ir::Program& program, const ir::Program& declared, std::span<const ParamValue> params,
                           std::span<const BufferValue> buffers, std::string_view what) {
  for (const ParamValue& value : params)
    if (!declares(declared.params, value.name))
      refuse(attnc::format("{}: there is no parameter '{}' in this variant; it has: {}", what, value.name,
                           known_names(declared.params)));
  for (const BufferValue& value : buffers)
    if (!declares(declared.buffers, value.name))
      refuse(attnc::format("{}: there is no buffer '{}' in this variant; it has: {}", what, value.name,
                           known_names(declared.buffers)));
  ir::Bindings bindings;
  bindings.params.reserve(program.params.size());
  bindings.buffers.reserve(program.buffers.size());
  for (const ParamDecl& decl : program.params) bindings.params.push_back(bind_param(decl, params, what));
  for (const BufferDecl& decl : program.buffers) bindings.buffers.push_back(bind_buffer(decl, buffers, what));
  return bindings;
}

ForwardCall validate_forward(const VariantSpec& spec, const ir::Program& declared, const TensorView& q,
                             const TensorView& k, const TensorView& v, const TensorView& out,
                             const ForwardOptions& options) {
  check_view(q, "q", 4, spec.dtype);
  check_view(k, "k", 4, spec.dtype);
  check_view(v, "v", 4, spec.dtype);
  check_view(out, "out", 4, spec.dtype);
  if (q.shape[3] != spec.head_dim_qk)
    refuse(attnc::format("q has shape {}; its last extent must be head_dim, {}", shape_text(q), spec.head_dim_qk));
  if (k.shape[3] != spec.head_dim_qk)
    refuse(attnc::format("k has shape {}; its last extent must be head_dim, {}", shape_text(k), spec.head_dim_qk));
  if (v.shape[3] != spec.head_dim_v)
    refuse(attnc::format("v has shape {}; its last extent must be head_dim_v, {}", shape_text(v), spec.head_dim_v));
  if (k.shape[0] != q.shape[0] || v.shape[0] != q.shape[0])
    refuse(attnc::format("q, k, v have batch {}, {}, {}; they must be equal", q.shape[0], k.shape[0], v.shape[0]));
  if (v.shape[1] != k.shape[1])
    refuse(attnc::format("k has {} heads and v {}; they must be equal", k.shape[1], v.shape[1]));
  if (v.shape[2] != k.shape[2])
    refuse(attnc::format("k has length {} and v {}; they must be equal", k.shape[2], v.shape[2]));
  for (const auto& [length, name] : {std::pair{q.shape[2], "q"}, {k.shape[2], "k"}})
    if (length > bounds::max_length)
      refuse(attnc::format("{} has length {}; the limit is {}", name, length, bounds::max_length));
  if (q.shape[1] != 0 && (k.shape[1] == 0 || q.shape[1] % k.shape[1] != 0))
    refuse(attnc::format("q has {} heads and k {}; the query heads must be a multiple of the kv heads", q.shape[1],
                         k.shape[1]));
  if (out.shape[0] != q.shape[0] || out.shape[1] != q.shape[1] || out.shape[2] != q.shape[2] ||
      out.shape[3] != v.shape[3])
    refuse(attnc::format(
        "out has shape {}; it must be [{}, {}, {}, {}]: batch, heads and length of q, head dimension of v",
        shape_text(out), q.shape[0], q.shape[1], q.shape[2], v.shape[3]));
  check_self_overlap(out, "out");
  check_no_overlap(out, "out", q, "q");
  check_no_overlap(out, "out", k, "k");
  check_no_overlap(out, "out", v, "v");
  if (!options.lse.empty() || options.lse.rank != 0) {
    check_view(options.lse, "lse", 3, DType::f32);
    for (std::size_t d = 0; d < 3; ++d)
      if (options.lse.shape[d] != q.shape[d])
        refuse(attnc::format("lse has shape {}; it must be [{}, {}, {}]: batch, heads and length of q",
                             shape_text(options.lse), q.shape[0], q.shape[1], q.shape[2]));
    check_self_overlap(options.lse, "lse");
    for (const auto& [view, name] : {std::pair{&q, "q"}, {&k, "k"}, {&v, "v"}, {&out, "out"}})
      check_no_overlap(options.lse, "lse", *view, name);
  }

  ForwardCall call;
  call.q = q, call.k = k, call.v = v, call.out = out, call.lse = options.lse;
  call.batch = static_cast<int>(q.shape[0]);
  call.q_heads = static_cast<int>(q.shape[1]);
  call.kv_heads = static_cast<int>(k.shape[1]);
  call.q_len = static_cast<int>(q.shape[2]);
  call.kv_len = static_cast<int>(k.shape[2]);
  call.scale = options.scale ? *options.scale : 1.0f / std::sqrt(static_cast<float>(spec.head_dim_qk));
  if (!std::isfinite(call.scale)) refuse(attnc::format("scale is {}; it must be finite", call.scale));
  call.bindings = bind_captures(spec.program, declared, options.params, options.buffers, "forward");
  for (std::size_t i = 0; i < spec.program.buffers.size(); ++i)
    for (const BufferValue& value : options.buffers)
      if (value.name == spec.program.buffers[i].name)
        check_no_overlap(out, "out", value.view, attnc::format("buffer '{}'", value.name));
  call.stream = options.stream;
  if (options.block_mask != nullptr && *options.block_mask) {
    const BlockMask& mask = *options.block_mask;
    if (mask.q_len() != call.q_len || mask.kv_len() != call.kv_len)
      refuse(attnc::format("block_mask is for {} queries and {} keys; q and k have {} and {}", mask.q_len(),
                           mask.kv_len(), call.q_len, call.kv_len));
    if (mask.batch() != 1 && mask.batch() != call.batch)
      refuse(attnc::format("block_mask has batch {}; it must be 1 or the batch of q, {}", mask.batch(), call.batch));
    if (mask.heads() != 1 && mask.heads() != call.q_heads)
      refuse(
          attnc::format("block_mask has {} heads; it must have 1 or the heads of q, {}", mask.heads(), call.q_heads));
    if (!(mask.device() == spec.device)) refuse("block_mask lives on another device than this Attention");
    call.block_mask = options.block_mask;
  }
  return call;
}

}  // namespace attnc
