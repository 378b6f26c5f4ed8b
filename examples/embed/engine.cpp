// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

#include <attnc/attnc.h>

#include <string>

namespace {

/// Made once, used from any thread.
const attnc::Attention& attention() {
  using namespace attnc;
  static const Attention made({.mask_mod = stock::sliding_window(param("window", 1)), .head_dim = 32});
  return made;
}

}  // namespace

const char* engine_window_attention(const float* q, const float* k, const float* v, float* out, int heads, int length,
                                    int window) {
  thread_local std::string message;
  try {
    const auto view = [&](const float* data) {
      return attnc::TensorView(data, attnc::DType::f32, {1, heads, length, 32});
    };
    const attnc::ParamValue params[] = {{"window", window}};
    attention().forward(view(q), view(k), view(v), view(out), {.params = params});
    return nullptr;
  } catch (const attnc::Error& error) {
    message = error.code() == attnc::ErrorCode::no_device ? "no device" : error.what();
    return message.c_str();
  }
}
