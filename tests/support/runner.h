// SPDX-License-Identifier: Apache-2.0
// One test body, every backend: a Runner runs a Problem somewhere and brings the outputs back.
#pragma once

#include <memory>
#include <string>

#include "runtime/attention.h"
#include "tests/support/mod_cases.h"
#include "tests/support/problem.h"

namespace attnc::testing {

class Runner {
 public:
  virtual ~Runner() = default;
  virtual Device device() const = 0;
  /// Runs on `problem`'s inputs and fills its out and lse. `block_mask` may be null.
  virtual void forward(const Attention& attention, Problem& problem, const ModCase& mods,
                       const BlockMask* block_mask) = 0;
};

class CpuRunner : public Runner {
 public:
  Device device() const override { return Device::cpu(); }
  void forward(const Attention& attention, Problem& problem, const ModCase& mods, const BlockMask* block_mask) override;
};

/// The case's Attention for a spec on a device.
Attention make_attention(const ModCase& mods, const ProblemSpec& spec, Device device);

/// Builds the problem, binds the case, runs, judges. "" when all is well. `with_block_mask`: also builds and passes a
/// BlockMask of this block size (0: none).
std::string run_and_judge(Runner& runner, const Attention& attention, const ModCase& mods, const ProblemSpec& spec,
                          int row_limit = 64, int block_q = 0, int block_kv = 0);

}  // namespace attnc::testing
