// SPDX-License-Identifier: Apache-2.0
// The C API over Attention.
#include <cstddef>
#include <memory>

#include "runtime/c_api_support.h"

namespace attnc::c_api {
namespace {

constexpr std::size_t kOldestAttentionOptions = offsetof(attnc_attention_options, log_user_data) + sizeof(void*);
constexpr std::size_t kOldestForwardOptions = offsetof(attnc_forward_options, stream) + sizeof(void*);

AttentionOptions to_options(const attnc_attention_options* caller) {
  const auto c = read_struct(caller, kOldestAttentionOptions, "attnc_attention_options");
  const Captures captures = to_captures(c.params, c.num_params, c.buffers, c.num_buffers);
  AttentionOptions options;
  if (c.score_mod != nullptr) options.score_mod = score_mod(std::string_view(c.score_mod), captures);
  if (c.mask_mod != nullptr) options.mask_mod = mask_mod(std::string_view(c.mask_mod), captures);
  options.dtype = to_dtype(c.dtype, "dtype");
  options.head_dim = c.head_dim;
  options.head_dim_v = c.head_dim_v;
  options.precise = c.precise != 0;
  options.device = to_device(c.device, "device");
  if (c.cache_dir != nullptr) options.cache_dir = c.cache_dir;
  if (c.log != nullptr)
    options.log = [log = c.log, user_data = c.log_user_data](std::string_view category, std::string_view message) {
      log(user_data, std::string(category).c_str(), std::string(message).c_str());
    };
  return options;
}

}  // namespace
}  // namespace attnc::c_api

using attnc::c_api::guarded;
using attnc::c_api::require;
using attnc::c_api::to_view;

extern "C" {

attnc_status attnc_attention_create(const attnc_attention_options* options, attnc_attention** out,
                                    attnc_error** error) {
  return guarded(error, [&] {
    require(out, "out");
    *out = new attnc_attention{attnc::Attention(attnc::c_api::to_options(options))};
  });
}

void attnc_attention_free(attnc_attention* attention) { delete attention; }

attnc_status attnc_attention_prepare(const attnc_attention* attention, attnc_error** error) {
  return guarded(error, [&] {
    require(attention, "attention");
    attention->attention.prepare();
  });
}

attnc_status attnc_attention_forward(const attnc_attention* attention, const attnc_tensor* q, const attnc_tensor* k,
                                     const attnc_tensor* v, const attnc_tensor* out,
                                     const attnc_forward_options* options, attnc_error** error) {
  return guarded(error, [&] {
    using namespace attnc::c_api;
    require(attention, "attention");
    attnc_forward_options c{};
    if (options != nullptr) c = read_struct(options, kOldestForwardOptions, "attnc_forward_options");
    const std::vector<attnc::ParamValue> params = to_param_values(c.params, c.num_params);
    const std::vector<attnc::BufferValue> buffers = to_buffer_values(c.buffers, c.num_buffers);
    attnc::ForwardOptions call;
    if (c.lse != nullptr) {
      call.lse = to_view(*c.lse, "lse");
      require(c.lse->data, "lse.data");
    }
    if (c.scale != nullptr) call.scale = *c.scale;
    call.params = params;
    call.buffers = buffers;
    if (c.block_mask != nullptr) call.block_mask = &c.block_mask->mask;
    call.stream = c.stream;
    attention->attention.forward(to_view(q, "q"), to_view(k, "k"), to_view(v, "v"), to_view(out, "out"), call);
  });
}

attnc_status attnc_attention_explain(const attnc_attention* attention, const char* stage, const char* target,
                                     char** text, attnc_error** error) {
  return guarded(error, [&] {
    require(attention, "attention");
    require(stage, "stage");
    require(text, "text");
    *text = attnc::c_api::copy_text(attention->attention.explain(stage, target == nullptr ? "" : target));
  });
}

}  // extern "C"
