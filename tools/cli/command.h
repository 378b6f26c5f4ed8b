// SPDX-License-Identifier: Apache-2.0
// How a subcommand joins the program: one file each, one row in commands.cpp.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

namespace attnc::cli {

/// Does the work of one subcommand after its options were read. Prints to stdout; throws attnc::Error.
using Action = std::function<void()>;

struct Subcommand {
  const char* name;
  const char* summary;
  const char* examples;  ///< shown at the end of its help; each line can be pasted into a shell
  /// Declares options on `app`, whose values the returned action uses.
  Action (*declare)(CLI::App& app);
};

/// Every subcommand, in the order of the help. The one place that lists them.
const std::vector<Subcommand>& subcommands();

extern const Subcommand run_command;
extern const Subcommand mask_command;
extern const Subcommand explain_command;
extern const Subcommand bench_command;
extern const Subcommand tune_command;
extern const Subcommand cache_command;
extern const Subcommand doctor_command;

/// The process's exit status.
enum ExitStatus : int { exit_done = 0, exit_bug = 1, exit_user_error = 2, exit_no_device = 3 };

}  // namespace attnc::cli
