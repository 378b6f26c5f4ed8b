// SPDX-License-Identifier: Apache-2.0
// The oracle: evaluates a program literally as semantics.md says, floats in fp64, integers exactly.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "compiler/ir/program.h"

namespace attnc::ir {

/// A captured buffer bound to host memory. Strides in elements; any sign.
struct BoundBuffer {
  const void* data = nullptr;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> stride_elems;
};

/// Values of a program's parameters and buffers, in the program's order. A float parameter uses `real`.
struct Bindings {
  struct Scalar {
    double real = 0;
    std::int64_t integer = 0;
  };
  std::vector<Scalar> params;
  std::vector<BoundBuffer> buffers;
  /// Every parameter at its default.
  static Bindings defaults(const Program& program);
};

/// The coordinates shared by a run of lanes.
struct LaneContext {
  std::int32_t b = 0, h = 0, q_len = 0, kv_len = 0;
  double scale = 1;
};

/// Evaluates both results for `count` lanes at once. Lane i has q_idx[i], kv_idx[i] and score[i] (natural units; pass
/// null when the program reads no score). In kernel form `score` stands for `dot`.
/// Writes score_out[i] (if the program has a score and score_out is not null) and mask_out[i] likewise.
/// Reentrant: scratch belongs to the object, so use one object per thread.
class Interpreter {
 public:
  /// In `single` precision every f32 result is rounded to float: the plain evaluation that semantics.md's tolerance
  /// compares with. Otherwise floats stay fp64 throughout.
  enum class Precision { fp64, single };
  Interpreter(const Program& program, const Bindings& bindings, Precision precision = Precision::fp64);
  void run(const LaneContext& context, int count, const std::int32_t* q_idx, const std::int32_t* kv_idx,
           const double* score, double* score_out, std::uint8_t* mask_out);

 private:
  const Program& program_;
  const Bindings& bindings_;
  Precision precision_;
  std::vector<double> real_;           // [value][lane], f32 values
  std::vector<std::int64_t> integer_;  // [value][lane], others
};

}  // namespace attnc::ir
