// SPDX-License-Identifier: Apache-2.0
#include "command.h"

namespace attnc::cli {

const std::vector<Subcommand>& subcommands() {
  static const std::vector<Subcommand> list = {run_command,  mask_command,  explain_command, bench_command,
                                               tune_command, cache_command, doctor_command};
  return list;
}

}  // namespace attnc::cli
