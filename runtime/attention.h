// SPDX-License-Identifier: Apache-2.0
// The public entry: an attention variant, compiled once per signature, run on any shape.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../dsl/export.h"
#include "../dsl/mods.h"
#include "bindings.h"
#include "block_mask.h"
#include "tensor.h"

namespace attnc {

/// What makes a variant. Everything here is part of its identity; nothing here is a shape.
struct AttentionOptions {
  ScoreMod score_mod{};
  MaskMod mask_mod{};
  DType dtype = DType::f32;  ///< of q, k, v and out: f32, f16 or bf16
  int head_dim = 64;         ///< of q and k: 1 to 256 (GPU: a multiple of 8)
  int head_dim_v = 0;        ///< of v and out; 0: as head_dim
  Device device = Device::cpu();
  bool precise = false;     ///< no approximate transcendentals
  std::string cache_dir{};  ///< "": ATTNC_CACHE_DIR, then the XDG cache directory; see docs/cache.md
  LogCallback log{};        ///< none: silent
};

/// Per call. Views and spans need to live until forward returns (on a GPU, device memory until the stream has passed).
struct ForwardOptions {
  TensorView lse{};                        ///< optional output, f32 [B, Hq, Sq]: natural-log sum of exponentials
  std::optional<float> scale{};            ///< softmax scale; default 1/sqrt(head_dim)
  std::span<const ParamValue> params{};    ///< parameters without a value here take their default
  std::span<const BufferValue> buffers{};  ///< every captured buffer
  const BlockMask* block_mask = nullptr;   ///< optional; blocks in neither list are skipped
  void* stream = nullptr;                  ///< CUDA stream (CUstream); ignored on the CPU
};

/// A compiled attention variant. Safe to use from many threads at once; copies share the compiled code.
///
///   q [B, Hq, Sq, D], k [B, Hkv, Skv, D], v [B, Hkv, Skv, Dv], out [B, Hq, Sq, Dv]; innermost stride 1, other strides
///   any. Hq is a multiple of Hkv. Shapes, strides, parameter values and buffer contents never recompile.
class ATTNC_API Attention {
 public:
  /// Checks the mods and options. Compiles nothing yet. Throws Error.
  explicit Attention(AttentionOptions options);

  /// Compiles now (or loads from the cache) whatever the first forward would need. Idempotent.
  void prepare() const;

  /// out = softmax(score_mod(scale * q k^T) where mask_mod) v, as docs/semantics.md says. CPU: returns when done, using
  /// oneTBB's current arena. GPU: enqueues on options.stream and returns. Throws Error before any work for bad input.
  void forward(const TensorView& q, const TensorView& k, const TensorView& v, const TensorView& out,
               const ForwardOptions& options = {}) const;

  const AttentionOptions& options() const;

  /// One stage of the compiler as text, for people: "ir", "placement", "bounds", "plan", "signature", "cuda", "llvm",
  /// "ptx", "sass". `target`: "" for this variant's device, or "cpu", "sm_80", "sm_90a", ...
  /// Throws Error(invalid_argument) for an unknown stage, Error(unsupported) for one this build cannot show.
  std::string explain(std::string_view stage, std::string_view target = "") const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace attnc
