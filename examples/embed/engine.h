// SPDX-License-Identifier: Apache-2.0
// The public face of a library that uses attnc inside. Nothing of attnc shows here.
#pragma once

/// out = attention(q, k, v) over a causal window; all [heads, length, 32] f32, contiguous. Returns null, or a message
/// that lives until the thread's next call. `window` may change from call to call.
__attribute__((visibility("default"))) const char* engine_window_attention(const float* q, const float* k,
                                                                           const float* v, float* out, int heads,
                                                                           int length, int window);
