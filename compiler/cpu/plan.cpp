// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/plan.h"

#include "dsl/format.h"

namespace attnc::cpu {
namespace {

/// Vectors of head_dim_v per register block: the count that pads least, then the one that loads least per FMA.
int choose_out_vectors(int vectors, int max_vectors) {
  int best = 1, best_padded = vectors;
  for (int n = 2; n <= max_vectors; ++n) {
    const int padded = (vectors + n - 1) / n * n;
    // One vector a block makes the broadcasts dominate: accept an eighth of padding to avoid it.
    if (padded <= best_padded || (best == 1 && padded * 8 <= vectors * 9)) best = n, best_padded = padded;
  }
  return best;
}

}  // namespace

CpuPlan CpuPlan::choose(const CpuTarget& target, DType dtype, int head_dim_qk, int head_dim_v) {
  CpuPlan plan;
  plan.dtype = dtype;
  plan.head_dim_qk = head_dim_qk;
  plan.head_dim_v = head_dim_v;
  plan.lanes = target.vector_bits / 32;
  const bool many_registers = target.vector_registers >= 32;
  // Accumulators must cover latency times issue rate of FMA (8 to 10) and leave registers for the operands.
  plan.q_vectors = many_registers && plan.lanes == 4 ? 4 : 2;
  plan.key_rows = many_registers ? (plan.q_vectors == 4 ? 4 : 8) : 6;
  const int out_vectors_needed = (head_dim_v + plan.lanes - 1) / plan.lanes;
  plan.out_vectors = choose_out_vectors(out_vectors_needed, many_registers ? 4 : 2);
  plan.out_rows = many_registers ? (plan.out_vectors >= 3 ? 4 : 8) : (plan.out_vectors >= 2 ? 4 : 8);
  return plan;
}

std::string CpuPlan::to_string() const {
  return attnc::format(
      "CpuPlan(dtype={}, head_dim_qk={}, head_dim_v={}, lanes={}, q_vectors={}, key_rows={}, out_rows={}, "
      "out_vectors={}, max_rows={}, max_keys={})",
      name(dtype), head_dim_qk, head_dim_v, lanes, q_vectors, key_rows, out_rows, out_vectors, max_rows, max_keys);
}

}  // namespace attnc::cpu
