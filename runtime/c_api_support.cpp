// SPDX-License-Identifier: Apache-2.0
#include "runtime/c_api_support.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>

#include "dsl/error.h"
#include "dsl/types.h"

namespace attnc::c_api {

// The C header spells the C++ enumerators out; they are one numbering.
static_assert(ATTNC_INVALID_EXPRESSION == static_cast<int>(ErrorCode::invalid_expression));
static_assert(ATTNC_INVALID_ARGUMENT == static_cast<int>(ErrorCode::invalid_argument));
static_assert(ATTNC_UNSUPPORTED == static_cast<int>(ErrorCode::unsupported));
static_assert(ATTNC_NO_DEVICE == static_cast<int>(ErrorCode::no_device));
static_assert(ATTNC_OUT_OF_MEMORY == static_cast<int>(ErrorCode::out_of_memory));
static_assert(ATTNC_IO == static_cast<int>(ErrorCode::io));
static_assert(ATTNC_INTERNAL == static_cast<int>(ErrorCode::internal));
static_assert(ATTNC_DTYPE_F32 == static_cast<int>(DType::f32) && ATTNC_DTYPE_F16 == static_cast<int>(DType::f16));
static_assert(ATTNC_DTYPE_BF16 == static_cast<int>(DType::bf16) && ATTNC_DTYPE_I64 == static_cast<int>(DType::i64));
static_assert(ATTNC_DTYPE_I32 == static_cast<int>(DType::i32) && ATTNC_DTYPE_I8 == static_cast<int>(DType::i8));
static_assert(ATTNC_DTYPE_U8 == static_cast<int>(DType::u8) && ATTNC_DTYPE_BOOL == static_cast<int>(DType::boolean));
static_assert(ATTNC_TYPE_BOOL == static_cast<int>(Type::boolean) && ATTNC_TYPE_I32 == static_cast<int>(Type::i32));
static_assert(ATTNC_TYPE_I64 == static_cast<int>(Type::i64) && ATTNC_TYPE_F32 == static_cast<int>(Type::f32));
static_assert(ATTNC_DEVICE_CPU == static_cast<int>(Device::Kind::cpu) &&
              ATTNC_DEVICE_CUDA == static_cast<int>(Device::Kind::cuda));
static_assert(ATTNC_MAX_RANK == TensorView::max_rank);

namespace {

/// Stands in for an error there is no memory for. Never freed, never changed; the message fits the small-string buffer,
/// so that making it allocates nothing.
attnc_error& no_memory_error() {
  static attnc_error error{ATTNC_OUT_OF_MEMORY, "out of memory"};
  return error;
}

attnc_status report(attnc_error** error, attnc_status status, const char* message) noexcept {
  if (error == nullptr) return status;
  try {
    *error = new attnc_error{status, message};
  } catch (...) {
    *error = &no_memory_error();
    return ATTNC_OUT_OF_MEMORY;  // the two always agree
  }
  return status;
}

void check_array(const void* data, std::size_t count, const char* what) {
  if (data == nullptr && count != 0)
    throw_invalid_argument(attnc::format("{} is NULL, but its count is {}", what, count));
}

const char* required_name(const char* name, const char* what, std::size_t index) {
  if (name == nullptr) throw_invalid_argument(attnc::format("{}[{}].name is NULL", what, index));
  return name;
}

}  // namespace

attnc_status report_current_exception(attnc_error** error) noexcept {
  try {
    throw;
  } catch (const Error& e) {
    return report(error, static_cast<attnc_status>(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return report(error, ATTNC_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return report(error, ATTNC_INTERNAL, e.what());
  } catch (...) {
    return report(error, ATTNC_INTERNAL, "an exception of unknown type");
  }
}

void throw_invalid_argument(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

void require(const void* pointer, const char* what) {
  if (pointer == nullptr) throw_invalid_argument(attnc::format("{} is NULL", what));
}

void check_struct(const void* caller, std::size_t size, std::size_t oldest, std::size_t known, const char* name) {
  if (size < oldest)
    throw_invalid_argument(attnc::format(
        "{}.struct_size is {}; it must be sizeof({}), at least {} (use its _INIT macro)", name, size, name, oldest));
  const auto* bytes = static_cast<const unsigned char*>(caller);
  for (std::size_t i = known; i < size; ++i)
    if (bytes[i] != 0)
      throw Error(ErrorCode::unsupported,
                  attnc::format("{} sets a member at byte {}, which this version of attnc (C API {}) does not know",
                                name, i, ATTNC_C_API_VERSION));
}

DType to_dtype(attnc_dtype dtype, const char* what) {
  if (dtype < ATTNC_DTYPE_F32 || dtype > ATTNC_DTYPE_BOOL)
    throw_invalid_argument(
        attnc::format("{} is {}, which is no attnc_dtype (0 to {})", what, dtype, int{ATTNC_DTYPE_BOOL}));
  return static_cast<DType>(dtype);
}

Device to_device(attnc_device device, const char* what) {
  if (device.kind != ATTNC_DEVICE_CPU && device.kind != ATTNC_DEVICE_CUDA)
    throw_invalid_argument(
        attnc::format("{}.kind is {}; it must be ATTNC_DEVICE_CPU or ATTNC_DEVICE_CUDA", what, device.kind));
  if (device.index < 0)
    throw_invalid_argument(attnc::format("{}.index is {}; it must not be negative", what, device.index));
  return {static_cast<Device::Kind>(device.kind), device.index};
}

TensorView to_view(const attnc_tensor& tensor, const char* what) {
  if (tensor.rank < 0 || tensor.rank > ATTNC_MAX_RANK)
    throw_invalid_argument(attnc::format("{}.rank is {}; it must be 0 to {}", what, tensor.rank, int{ATTNC_MAX_RANK}));
  TensorView view;
  view.data = tensor.data;
  view.dtype = to_dtype(tensor.dtype, attnc::format("{}.dtype", what).c_str());
  view.rank = tensor.rank;
  for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.rank); ++i) {
    if (tensor.shape[i] < 0)
      throw_invalid_argument(
          attnc::format("{}.shape[{}] is {}; an extent is never negative", what, i, tensor.shape[i]));
    view.shape[i] = tensor.shape[i];
    view.stride_elems[i] = tensor.stride_elems[i];
  }
  return view;
}

TensorView to_view(const attnc_tensor* tensor, const char* what) {
  require(tensor, what);
  return to_view(*tensor, what);
}

Captures to_captures(const attnc_param_decl* params, std::size_t num_params, const attnc_buffer_decl* buffers,
                     std::size_t num_buffers) {
  check_array(params, num_params, "params");
  check_array(buffers, num_buffers, "buffers");
  Captures captures;
  for (std::size_t i = 0; i < num_params; ++i) {
    const attnc_param_decl& p = params[i];
    if (p.type < ATTNC_TYPE_BOOL || p.type > ATTNC_TYPE_F32)
      throw_invalid_argument(attnc::format("params[{}].type is {}, which is no attnc_type", i, p.type));
    captures.params.push_back({required_name(p.name, "params", i), static_cast<Type>(p.type), p.default_real,
                               p.default_integer, p.has_default != 0});
  }
  for (std::size_t i = 0; i < num_buffers; ++i)
    captures.buffers.push_back({required_name(buffers[i].name, "buffers", i),
                                to_dtype(buffers[i].dtype, attnc::format("buffers[{}].dtype", i).c_str()),
                                buffers[i].rank});
  return captures;
}

std::vector<ParamValue> to_param_values(const attnc_param_value* params, std::size_t count) {
  check_array(params, count, "params");
  std::vector<ParamValue> values;
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const char* name = required_name(params[i].name, "params", i);
    if (params[i].is_integer != 0)
      values.emplace_back(name, static_cast<long long>(params[i].integer));
    else
      values.emplace_back(name, params[i].real);
  }
  return values;
}

std::vector<BufferValue> to_buffer_values(const attnc_buffer_value* buffers, std::size_t count) {
  check_array(buffers, count, "buffers");
  std::vector<BufferValue> values;
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const char* name = required_name(buffers[i].name, "buffers", i);
    values.push_back({name, to_view(buffers[i].tensor, name)});
  }
  return values;
}

char* copy_text(const std::string& text) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

}  // namespace attnc::c_api

extern "C" {

int32_t attnc_c_api_version(void) { return ATTNC_C_API_VERSION; }

const char* attnc_version(void) { return ATTNC_VERSION; }

const char* attnc_status_name(attnc_status status) {
  switch (status) {
    case ATTNC_OK:
      return "ok";
    case ATTNC_INVALID_EXPRESSION:
      return "invalid_expression";
    case ATTNC_INVALID_ARGUMENT:
      return "invalid_argument";
    case ATTNC_UNSUPPORTED:
      return "unsupported";
    case ATTNC_NO_DEVICE:
      return "no_device";
    case ATTNC_OUT_OF_MEMORY:
      return "out_of_memory";
    case ATTNC_IO:
      return "io";
    case ATTNC_INTERNAL:
      return "internal";
  }
  return "unknown";
}

attnc_status attnc_error_status(const attnc_error* error) {
  return error == nullptr ? attnc_status{ATTNC_OK} : error->status;
}

const char* attnc_error_message(const attnc_error* error) { return error == nullptr ? "" : error->message.c_str(); }

void attnc_error_free(attnc_error* error) {
  if (error != &attnc::c_api::no_memory_error()) delete error;
}

void attnc_string_free(char* text) { std::free(text); }

attnc_status attnc_tensor_contiguous(attnc_tensor* out, void* data, attnc_dtype dtype, int32_t rank,
                                     const int64_t* shape, attnc_error** error) {
  return attnc::c_api::guarded(error, [&] {
    using namespace attnc::c_api;
    require(out, "out");
    if (rank != 0) require(shape, "shape");
    attnc_tensor tensor{data, dtype, rank, {}, {}};
    if (rank > 0 && rank <= ATTNC_MAX_RANK) std::copy_n(shape, rank, tensor.shape);
    to_view(tensor, "tensor");  // checks
    int64_t stride = 1;
    for (int32_t dim = rank; dim-- > 0;) {
      tensor.stride_elems[dim] = stride;
      if (__builtin_mul_overflow(stride, tensor.shape[dim], &stride))
        throw_invalid_argument("tensor.shape has more than 2^63 elements");
    }
    *out = tensor;
  });
}

}  // extern "C"
