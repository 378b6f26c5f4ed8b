// SPDX-License-Identifier: Apache-2.0
// How the C API crosses the border: errors, option structs that grow, and views of the caller's structs. Not installed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "dsl/format.h"
#include "dsl/mods.h"
#include "runtime/attention.h"
#include "runtime/bindings.h"
#include "runtime/block_mask.h"
#include "runtime/c_api.h"
#include "runtime/tensor.h"

struct attnc_error {
  attnc_status status = ATTNC_INTERNAL;
  std::string message;
};

struct attnc_attention {
  attnc::Attention attention;
};

struct attnc_block_mask {
  attnc::BlockMask mask;
};

namespace attnc::c_api {

/// Turns the exception being handled into a status and, if `error` is not null, an attnc_error. Never throws: without
/// memory for the error itself, *error is a constant object that attnc_error_free knows.
attnc_status report_current_exception(attnc_error** error) noexcept;

/// Runs `body`; what it throws becomes the returned status and *error.
template <class Body>
attnc_status guarded(attnc_error** error, Body&& body) noexcept {
  if (error != nullptr) *error = nullptr;
  try {
    body();
    return ATTNC_OK;
  } catch (...) {
    return report_current_exception(error);
  }
}

[[noreturn]] void throw_invalid_argument(const std::string& message);
/// Throws Error(invalid_argument) if `pointer` is null.
void require(const void* pointer, const char* what);

/// Checks what a caller says about the size of its struct: at least `oldest` (the size in version 1 of the API); and
/// whatever lies beyond the `known` bytes is 0, or it asks for something this library has not heard of.
void check_struct(const void* caller, std::size_t size, std::size_t oldest, std::size_t known, const char* name);

/// A caller's option struct, completed with zeros where the caller's header was older.
template <class Struct>
Struct read_struct(const Struct* caller, std::size_t oldest, const char* name) {
  require(caller, name);
  std::size_t size;
  std::memcpy(&size, caller, sizeof size);  // all that may be read before the size is known
  check_struct(caller, size, oldest, sizeof(Struct), name);
  Struct full{};
  std::memcpy(static_cast<void*>(&full), caller, std::min(size, sizeof(Struct)));
  return full;
}

/// Fills a caller's result struct as far as the caller's header knew it; members of a newer header become 0.
template <class Struct>
void write_struct(Struct* caller, Struct value, std::size_t oldest, const char* name) {
  require(caller, name);
  std::size_t size;
  std::memcpy(&size, caller, sizeof size);
  if (size < oldest) check_struct(caller, size, oldest, sizeof(Struct), name);
  value.struct_size = size;
  std::memcpy(static_cast<void*>(caller), &value, std::min(size, sizeof(Struct)));
  if (size > sizeof(Struct)) std::memset(reinterpret_cast<char*>(caller) + sizeof(Struct), 0, size - sizeof(Struct));
}

// The caller's plain data as the C++ API takes it. Each throws Error(invalid_argument) naming `what`.
DType to_dtype(attnc_dtype dtype, const char* what);
Device to_device(attnc_device device, const char* what);
TensorView to_view(const attnc_tensor& tensor, const char* what);
TensorView to_view(const attnc_tensor* tensor, const char* what);
Captures to_captures(const attnc_param_decl* params, std::size_t num_params, const attnc_buffer_decl* buffers,
                     std::size_t num_buffers);
std::vector<ParamValue> to_param_values(const attnc_param_value* params, std::size_t count);
std::vector<BufferValue> to_buffer_values(const attnc_buffer_value* buffers, std::size_t count);

/// For attnc_string_free.
char* copy_text(const std::string& text);

}  // namespace attnc::c_api
