// SPDX-License-Identifier: Apache-2.0
// The C API with its handles in owning pointers, for tests.
#pragma once

#include <attnc/attnc.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace attnc::c_api_test {

template <auto free_function>
struct Free {
  template <class T>
  void operator()(T* handle) const {
    free_function(handle);
  }
};
using ErrorPtr = std::unique_ptr<attnc_error, Free<attnc_error_free>>;
using AttentionPtr = std::unique_ptr<attnc_attention, Free<attnc_attention_free>>;
using BlockMaskPtr = std::unique_ptr<attnc_block_mask, Free<attnc_block_mask_free>>;
using TextPtr = std::unique_ptr<char, Free<attnc_string_free>>;

/// What a call said: for EXPECT_EQ(said(...), "ok") or a look at the message.
struct Answer {
  attnc_status status = ATTNC_OK;
  std::string message;
};
template <class Call>
Answer ask(Call&& call) {
  attnc_error* raw = reinterpret_cast<attnc_error*>(1);  // a call has to set it, whatever happens
  Answer answer;
  answer.status = call(&raw);
  ErrorPtr error(raw);
  if ((answer.status == ATTNC_OK) != (error == nullptr) || attnc_error_status(raw) != answer.status)
    answer.message = "status and error disagree";
  else
    answer.message = attnc_error_message(raw);
  return answer;
}

template <class Struct>
Struct sized() {
  Struct s{};
  s.struct_size = sizeof(Struct);
  return s;
}

inline attnc_tensor tensor(const void* data, attnc_dtype dtype, std::vector<std::int64_t> shape) {
  attnc_tensor t{};
  attnc_tensor_contiguous(&t, const_cast<void*>(data), dtype, static_cast<std::int32_t>(shape.size()), shape.data(),
                          nullptr);
  return t;
}

/// Numbers that differ from element to element, reproducibly.
inline std::vector<float> numbers(std::size_t n, int seed) {
  std::vector<float> v(n);
  std::uint32_t state = 12345u + static_cast<std::uint32_t>(seed);
  for (float& x : v) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return v;
}

}  // namespace attnc::c_api_test
