// SPDX-License-Identifier: Apache-2.0
// The judge of every backend: docs/semantics.md evaluated in fp64, the same formula evaluated plainly in the tested
// dtype, and the tolerance rule between them. Not part of libattnc: the tests and `attnc run --check` link it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"
#include "runtime/tensor.h"

namespace attnc::oracle {

/// Inputs of one attention on host memory. Shapes as Attention::forward; lse is not needed.
struct ReferenceInputs {
  TensorView q, k, v;
  float scale = 1;
  ir::Bindings bindings;  ///< in the program's order
};

struct RowId {
  int b = 0, h = 0, q = 0;
};

struct ReferenceRow {
  RowId id;
  std::vector<double> gold;   ///< [head_dim_v], fp64 throughout
  double gold_lse = 0;        ///< natural log; -inf for a row with no key
  std::vector<double> plain;  ///< the plain evaluation in the tested dtype with fp32 accumulation
};

/// Evaluates the given rows. `program` is the lowered program, not canonicalized: the oracle shares no pass with what
/// it judges. Cost: rows * kv_len.
std::vector<ReferenceRow> reference_rows(const ir::Program& program, const ReferenceInputs& inputs,
                                         const std::vector<RowId>& rows);

/// Every row if there are at most `limit`, else the first, the last, tile edges and a seeded random choice.
std::vector<RowId> choose_rows(int batch, int heads, int q_len, int limit, std::uint64_t seed);

struct Errors {
  double mean = 0, max = 0;              ///< |out - gold|
  double plain_mean = 0, plain_max = 0;  ///< |plain - gold|
};
/// Over the rows, elements whose gold is NaN left out.
Errors measure(const std::vector<ReferenceRow>& rows, const TensorView& out);

/// Applies semantics.md's tolerance to the rows. `lse` may be empty. Returns "" when it holds, else what failed.
std::string judge(const std::vector<ReferenceRow>& rows, const TensorView& out, const TensorView& lse);

/// One element of a host tensor as double / stored with the dtype's rounding.
double read_element(const TensorView& view, const std::int64_t* index);
void write_element(const TensorView& view, const std::int64_t* index, double value);

}  // namespace attnc::oracle
