// SPDX-License-Identifier: Apache-2.0
// attnc cache: look after the kernel cache on disk.

#include <cstdint>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "command.h"
#include "dsl/error.h"
#include "dsl/format.h"
#include "runtime/cache/kernel_cache.h"

namespace attnc::cli {
namespace {

struct CacheArguments {
  std::string action, directory;
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t max_entries = std::numeric_limits<std::uint64_t>::max();
  bool json = false;
};

/// A problem of the directory is a miss for a kernel, but the answer for a person who asked.
void check(const std::string& problem) {
  if (!problem.empty()) throw Error(ErrorCode::io, "kernel cache: " + problem);
}

void print(const nlohmann::ordered_json& values, bool json) {
  if (json) {
    attnc::print(stdout, "{}\n", values.dump(2));
    return;
  }
  for (const auto& [key, value] : values.items())
    attnc::print(stdout, "{:<16}{}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
}

void run(const CacheArguments& arguments) {
  KernelCacheOptions options;
  options.directory = arguments.directory;
  KernelCache cache(std::move(options));
  nlohmann::ordered_json values;
  if (arguments.action == "stats") {
    const CacheStats stats = cache.stats();
    check(stats.problem);
    values = {{"directory", stats.directory},     {"entries", stats.entries},     {"bytes", stats.bytes},
              {"max_entries", stats.max_entries}, {"max_bytes", stats.max_bytes}, {"temporaries", stats.temporaries},
              {"set_aside", stats.set_aside}};
  } else if (arguments.action == "verify") {
    const CacheVerified verified = cache.verify();
    check(verified.problem);
    values = {{"good", verified.good}, {"damaged", verified.damaged}};
  } else {
    const CacheRemoved removed =
        arguments.action == "clear" ? cache.clear() : cache.prune(arguments.max_bytes, arguments.max_entries);
    check(removed.problem);
    values = {{"removed_entries", removed.entries}, {"removed_bytes", removed.bytes}};
  }
  print(values, arguments.json);
}

Action declare(CLI::App& app) {
  auto arguments = std::make_shared<CacheArguments>();
  app.add_option("action", arguments->action, "stats, verify, prune or clear")
      ->required()
      ->check(CLI::IsMember({"stats", "verify", "prune", "clear"}));
  app.add_option("--dir", arguments->directory, "The cache's directory; without it ATTNC_CACHE_DIR or the XDG cache");
  app.add_option("--max-bytes", arguments->max_bytes, "prune: keep at most this many bytes")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-entries", arguments->max_entries, "prune: keep at most this many kernels")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--json", arguments->json, "Machine-readable output");
  return [arguments] { run(*arguments); };
}

}  // namespace

const Subcommand cache_command = {
    "cache",
    "Look after the kernel cache: stats, verify, prune, clear",
    "Examples:\n"
    "  attnc cache stats\n"
    "  attnc cache verify               # reads every entry; damaged ones are set aside\n"
    "  attnc cache prune --max-bytes 100000000\n"
    "  attnc cache clear\n",
    declare,
};

}  // namespace attnc::cli
