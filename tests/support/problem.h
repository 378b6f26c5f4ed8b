// SPDX-License-Identifier: Apache-2.0
// A random attention problem on host memory: inputs, NaN-filled outputs, guard margins around everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dsl/mods.h"
#include "runtime/bindings.h"
#include "runtime/tensor.h"
#include "tests/support/reference.h"

namespace attnc::testing {

/// How [B, H, S, D] lies in memory.
enum class Layout {
  bhsd,
  bshd,
  sliced
};  ///< sliced: a view inside a larger [B, H, S + 3, D + 8] tensor, with an offset

/// Bytes with a margin of known garbage on both sides; `view.data` points into `bytes`. A GPU test uploads `bytes`
/// whole.
struct GuardedTensor {
  std::vector<std::byte> bytes;
  TensorView view;
  static GuardedTensor create(DType dtype, const std::vector<std::int64_t>& shape, Layout layout = Layout::bhsd);
  GuardedTensor() = default;
  GuardedTensor(const GuardedTensor& other) { *this = other; }
  GuardedTensor& operator=(const GuardedTensor& other);  ///< keeps view.data inside the own bytes
  std::size_t data_offset_bytes = 0;
  void fill_normal(std::uint64_t seed, double deviation = 1.0);
  void fill_nan();
  /// "" when every byte that is no element of the view still holds the garbage create() put there.
  std::string check_guards(const char* name) const;
};

struct ProblemSpec {
  DType dtype = DType::f32;
  int batch = 1, q_heads = 1, kv_heads = 1, q_len = 64, kv_len = 64, head_dim = 64, head_dim_v = 64;
  Layout layout = Layout::bhsd;
  std::uint64_t seed = 1;
  std::string describe() const;
};

/// Tensors for a spec, plus captured buffers that fit it (see mod_cases.h for which).
struct Problem {
  ProblemSpec spec;
  GuardedTensor q, k, v, out, lse;
  std::map<std::string, GuardedTensor> buffers;
  std::vector<ParamValue> params;
  float scale = 0;

  explicit Problem(const ProblemSpec& spec);
  /// What the mods capture, out of `buffers` and `params` (a call refuses names it does not know).
  std::vector<BufferValue> buffer_values(const ir::Program& program) const;
  std::vector<ParamValue> param_values(const ir::Program& program) const;
  /// For the oracle: inputs with the bindings in `program`'s order.
  ReferenceInputs reference_inputs(const ir::Program& program) const;
  /// Judges out and lse against the fp64 oracle on at most `row_limit` rows, and checks every guard. "" when all is
  /// well.
  std::string check(const ScoreMod& score_mod, const MaskMod& mask_mod, int row_limit = 64) const;
};

}  // namespace attnc::testing
