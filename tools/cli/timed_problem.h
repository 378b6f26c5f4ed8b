// SPDX-License-Identifier: Apache-2.0
// The problem that `attnc bench` and `attnc tune` time: arguments, tensors, captures and block mask.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device_memory.h"
#include "mod_arguments.h"
#include "runtime/attention.h"
#include "runtime/cuda/device.h"
#include "timing.h"

namespace attnc::cli {

/// As typed.
struct ProblemArguments {
  ModArguments mods;
  std::string in, dtype, device = "cpu", block_size, element_bits, q_len = "1024", kv_len;
  int batch = 1, heads = 8, kv_heads = 0, head_dim = 64, head_dim_v = 0;
  bool precise = false, portable = false;
  Repeats repeats;
};
/// Declares the options that describe a problem, its device, and how often to run it.
void declare_problem(CLI::App& app, ProblemArguments& arguments);

struct Lengths {
  int q = 0, kv = 0;
};

/// The arguments, checked; what does not depend on lengths.
struct ProblemSpec {
  /// Throws Error(invalid_argument, invalid_expression, io).
  explicit ProblemSpec(const ProblemArguments& arguments);

  BoundMods mods;  ///< declared buffers have no values yet
  std::vector<Lengths> lengths;
  DType dtype = DType::f32;
  Device device;
  std::optional<BlockSize> block_size;  ///< none: without a BlockMask
  ElementBits element_bits = ElementBits::automatic;
  int batch = 1, heads = 1, kv_heads = 1, head_dim = 64, head_dim_v = 64;
  bool precise = false, portable = false;

  AttentionOptions options() const;
};

/// Tensors and captures of one pair of lengths, on the device, contiguous (but see `portable`).
class TimedProblem {
 public:
  /// Draws contents for what has none. `spec` must outlive it, and its mods carry this problem's buffers from now on.
  /// Throws Error, out_of_memory among them.
  TimedProblem(ProblemSpec& spec, Lengths lengths);

  /// Enqueues one forward on the default stream; on the CPU, runs it.
  void forward(const Attention& attention) const;
  void synchronize();
  /// Median and spread of forward alone.
  Times time(const Attention& attention, const Repeats& repeats, DeviceTimer* timer) const;
  /// The result of the last forward, for comparing.
  const HostTensor& fetch();

  const BlockMask& block_mask() const { return block_mask_; }
  /// 4 B H Sq Skv D; with unequal head dimensions, 2 B H Sq Skv (D + Dv).
  double dense_flop() const;
  /// q, k, v and out, each once.
  double bytes() const;

 private:
  TensorView placed(const HostTensor& tensor, bool copy);

  const ProblemSpec& spec_;
  Lengths lengths_;
  std::optional<CudaMemory> cuda_;
  HostTensor q_, k_, v_, out_;
  TensorView q_view_, k_view_, v_view_, out_view_, out_memory_;
  BoundMods::Values values_;
  BlockMask block_mask_;
};

/// The part of the score matrix that a mask keeps, over all batches and heads.
struct KeptShare {
  double share = 1;
  bool sampled = false;  ///< partial blocks were sampled: the standard error is below 0.002 of their area
};
KeptShare kept_share(const ProblemSpec& spec, Lengths lengths);

}  // namespace attnc::cli
