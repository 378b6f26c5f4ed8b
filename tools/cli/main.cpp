// SPDX-License-Identifier: Apache-2.0
// attnc, the command line tool. Exit status: 0 done, 2 the user's error, 3 no such device, 1 a bug.

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "command.h"
#include "dsl/error.h"
#include "dsl/format.h"
#include "dsl/text_source.h"

namespace attnc::cli {
namespace {

constexpr const char* about =
    "attnc, the attention compiler: one line in, one fused attention kernel out.\n"
    "\n"
    "A mod is an expression over score, b, h, q_idx, kv_idx, q_len, kv_len, your parameters and your buffers:\n"
    "  score_mod   30 * tanh(score / 30)                          what becomes of a score\n"
    "  mask_mod    q_idx >= kv_idx && q_idx - kv_idx < 1024       which keys a query keeps";

constexpr const char* examples =
    "Start here:\n"
    "  attnc doctor\n"
    "  attnc mask --mask-mod 'q_idx >= kv_idx' --q-len 2048 --png causal.png\n"
    "  attnc run --in qkv.safetensors --out result.safetensors --score-mod '30 * tanh(score / 30)'\n"
    "Each subcommand explains itself with examples: attnc run --help";

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::no_device:
      return exit_no_device;
    case ErrorCode::internal:
      return exit_bug;
    default:
      return exit_user_error;
  }
}

/// A misspelt subcommand is an error of its own; CLI11 would say that one is required.
void check_subcommand(int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::string names;
  for (const Subcommand& subcommand : subcommands()) {
    if (std::string_view(argv[1]) == subcommand.name) return;
    names += attnc::format("{}{}", names.empty() ? "" : ", ", subcommand.name);
  }
  throw Error(ErrorCode::invalid_argument,
              attnc::format("there is no subcommand {}; there are {}", text::in_quotes(argv[1]), names));
}

int run_main(int argc, char** argv) {
  CLI::App app(about, "attnc");
  app.footer(examples);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("attnc ") + ATTNC_VERSION);
  Action action;
  for (const Subcommand& subcommand : subcommands()) {
    CLI::App& child = *app.add_subcommand(subcommand.name, subcommand.summary);
    child.footer(subcommand.examples);
    child.parse_complete_callback([&action, made = subcommand.declare(child)] { action = made; });
  }
  try {
    check_subcommand(argc, argv);
    app.parse(argc, argv);
    action();
    if (std::fflush(stdout) != 0) throw Error(ErrorCode::io, "stdout: the output could not be written");
    return exit_done;
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" with status 0.
    const int status = app.exit(error);
    return status == 0 ? exit_done : exit_user_error;
  } catch (const Error& error) {
    attnc::print(stderr, "attnc: {}\n", error.what());
    if (error.code() == ErrorCode::internal) attnc::print(stderr, "attnc: this is a bug of attnc; please report it\n");
    return status_of(error.code());
  } catch (const std::bad_alloc&) {
    attnc::print(stderr, "attnc: out of memory\n");
    return exit_user_error;
  }
}

}  // namespace
}  // namespace attnc::cli

int main(int argc, char** argv) {
  try {
    return attnc::cli::run_main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "attnc: %s\nattnc: this is a bug of attnc; please report it\n", error.what());
    return attnc::cli::exit_bug;
  }
}
