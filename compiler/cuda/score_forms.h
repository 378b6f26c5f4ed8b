// SPDX-License-Identifier: Apache-2.0
// Other ways to compute the same score that a kernel may prefer: the optional members of templates/contract.cuh.
#pragma once

#include "compiler/cuda/device_program.h"

namespace attnc::cuda {

/// Adds a value for score_shifted to the program: the score plus the free name `shift`, the addition folded into the
/// multiply-add that the score ends with. -1 if the score ends with nothing that would take it. Terms linear in
/// Element::delta come out as two multiply-adds of which a kernel computes one per row and tile.
int add_shifted_score(DeviceProgram& program, int score);

/// score_narrow, score_narrow_scaled and what belongs to them, for scores of the form c * tanh(a * dot) with a and c
/// uniform.
struct NarrowScore {
  int score =
      -1;  ///< an odd polynomial of degree 5 in dot, plus the free name `shift`; -1: the score is of another form
  int factor = -1;        ///< of dot, for small dot
  int bound = -1;         ///< it holds while |score| (log2 units) is at most this
  int query_factor = -1;  ///< narrow_query_factor
  int scaled_score = -1;  ///< score_narrow_scaled
  int scaled_bound = -1;  ///< narrow_scaled_score_bound
};
/// Only for approximate programs: the polynomial's error is that of tanh.approx.
NarrowScore add_narrow_score(DeviceProgram& program, int score);

/// Scores of the form factor * dot + (what no infinity of dot makes finite again), with a uniform factor; `slope` if
/// the rest is slope * (kv_idx - q_idx) with a uniform slope, else -1.
struct LinearScore {
  int factor = -1;
  int slope = -1;
};
LinearScore find_linear_score(DeviceProgram& program, int score);

/// Adds dropped_dot of templates/contract.cuh for the form a kernel prefers; -1 if there is none.
int add_dropped_dot(DeviceProgram& program, const NarrowScore& narrow, const LinearScore& linear);

}  // namespace attnc::cuda
