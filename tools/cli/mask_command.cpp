// SPDX-License-Identifier: Apache-2.0
// attnc mask: which blocks of the score matrix hold work.

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "dsl/format.h"
#include "mod_arguments.h"
#include "picture.h"
#include "progress.h"

namespace attnc::cli {
namespace {

struct MaskArguments {
  ModArguments mods;
  int q_len = 0;
  std::optional<int> kv_len;
  int batch = 1, heads = 1;
  int show_b = 0, show_h = 0;
  std::string in, block_size = "128x128", png;
  bool json = false;
};

/// [B][H][q_blocks] lists; a list holds the blocks that count.
nlohmann::json nested(const BlockMask& mask, std::span<const std::int32_t> counts,
                      std::span<const std::int32_t> indices, int width) {
  nlohmann::json all = nlohmann::json::array();
  std::size_t row = 0;
  for (int b = 0; b < mask.batch(); ++b) {
    nlohmann::json heads = nlohmann::json::array();
    for (int h = 0; h < mask.heads(); ++h) {
      nlohmann::json rows = nlohmann::json::array();
      for (int q = 0; q < mask.q_blocks(); ++q, ++row) {
        if (indices.empty()) {
          rows.push_back(counts[row]);
        } else {
          const auto list =
              indices.subspan(row * static_cast<std::size_t>(width), static_cast<std::size_t>(counts[row]));
          rows.push_back(std::vector<std::int32_t>(list.begin(), list.end()));
        }
      }
      heads.push_back(std::move(rows));
    }
    all.push_back(std::move(heads));
  }
  return all;
}

void print_json(const BlockMask& mask, const MaskArguments& arguments) {
  const nlohmann::ordered_json out = {
      {"mask_mod", arguments.mods.mask_mod},
      {"batch", mask.batch()},
      {"heads", mask.heads()},
      {"q_len", mask.q_len()},
      {"kv_len", mask.kv_len()},
      {"block_size", {mask.block_size().q, mask.block_size().kv}},
      {"q_blocks", mask.q_blocks()},
      {"kv_blocks", mask.kv_blocks()},
      {"full_blocks", mask.full_blocks()},
      {"partial_blocks", mask.partial_blocks()},
      {"empty_blocks", mask.empty_blocks()},
      {"sparsity", mask.sparsity()},
      {"build_ms", mask.stats().build_ms},
      {"proved_full", mask.stats().proved_full},
      {"proved_empty", mask.stats().proved_empty},
      {"evaluated", mask.stats().evaluated},
      {"kv_num_blocks", nested(mask, mask.kv_num_blocks(), {}, 0)},
      {"kv_indices", nested(mask, mask.kv_num_blocks(), mask.kv_indices(), mask.kv_width())},
      {"full_kv_num_blocks", nested(mask, mask.full_kv_num_blocks(), {}, 0)},
      {"full_kv_indices", nested(mask, mask.full_kv_num_blocks(), mask.full_kv_indices(), mask.full_kv_width())},
  };
  attnc::print(stdout, "{}\n", out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
}

void print_text(const BlockMask& mask, const MaskArguments& arguments) {
  const std::int64_t total = mask.full_blocks() + mask.partial_blocks() + mask.empty_blocks();
  const auto percent = [&](std::int64_t count) {
    return total == 0 ? 0.0 : 100.0 * static_cast<double>(count) / static_cast<double>(total);
  };
  attnc::print(stdout, "mask_mod  {}\n", arguments.mods.mask_mod);
  attnc::print(stdout, "{} x {} tokens, blocks of {} x {}, batch {}, heads {}\n\n", mask.q_len(), mask.kv_len(),
               mask.block_size().q, mask.block_size().kv, mask.batch(), mask.heads());
  attnc::print(stdout, "  full     {:>10}  {:5.1f} %   every element kept, mask_mod not asked\n", mask.full_blocks(),
               percent(mask.full_blocks()));
  attnc::print(stdout, "  partial  {:>10}  {:5.1f} %   mask_mod asked for each element\n", mask.partial_blocks(),
               percent(mask.partial_blocks()));
  attnc::print(stdout, "  empty    {:>10}  {:5.1f} %   skipped\n", mask.empty_blocks(), percent(mask.empty_blocks()));
  attnc::print(stdout, "  sparsity {:>16.1f} %\n\n", mask.sparsity());
  const BlockMaskStats& stats = mask.stats();
  attnc::print(stdout, "built in {:.2f} ms: {} blocks proved full, {} proved empty, {} looked at element by element\n",
               stats.build_ms, stats.proved_full, stats.proved_empty, stats.evaluated);
  if (mask.q_len() == 0 || mask.kv_len() == 0) return;
  if (mask.batch() > 1 || mask.heads() > 1) attnc::print(stdout, "b {} h {}:\n", arguments.show_b, arguments.show_h);
  constexpr int columns = 64;
  const std::string picture = mask.to_string(arguments.show_b, arguments.show_h, columns);
  std::size_t at = 0;
  attnc::print(stdout, "\n");
  while (at < picture.size()) {
    const std::size_t end = picture.find('\n', at);
    attnc::print(stdout, "  |{}|\n", picture.substr(at, end - at));
    at = end + 1;
  }
  attnc::print(stdout, "   █ full  ░ partial  (blank) empty; q_idx downwards, kv_idx to the right\n");
}

void check_shown(const MaskArguments& arguments) {
  for (const auto& [option, value, count] :
       {std::tuple{"--show-b", arguments.show_b, arguments.batch}, {"--show-h", arguments.show_h, arguments.heads}})
    if (value < 0 || value >= count)
      throw Error(ErrorCode::invalid_argument, attnc::format("{} {}: it must be 0 to {}", option, value, count - 1));
}

void run(const MaskArguments& arguments) {
  const BlockSize block_size = parse_block_size(arguments.block_size);
  for (const auto& [option, value] : {std::pair{"--batch", arguments.batch}, {"--heads", arguments.heads}})
    if (value < 1)
      throw Error(ErrorCode::invalid_argument, attnc::format("{} {}: it must be at least 1", option, value));
  check_shown(arguments);
  std::optional<SafetensorsFile> in;
  if (!arguments.in.empty()) in.emplace(arguments.in);
  const BoundMods mods(arguments.mods, in ? &*in : nullptr);
  std::optional<OutputFile> png;
  if (!arguments.png.empty()) png.emplace("--png", arguments.png);

  const BoundMods::Values values = mods.mask_values();
  BlockMaskOptions options;
  options.block_size = block_size;
  options.params = values.params;
  options.buffers = values.buffers;
  BlockMask mask;
  {
    const Progress progress("deciding blocks");
    mask = BlockMask::create(mods.mask_mod, arguments.batch, arguments.heads, arguments.q_len,
                             arguments.kv_len.value_or(arguments.q_len), options);
  }
  if (png) {
    if (mask.q_len() == 0 || mask.kv_len() == 0)
      throw Error(ErrorCode::invalid_argument, "--png: there is nothing to draw, a length is 0");
    const Progress progress("drawing");
    draw_mask(mask, mods.mask_mod, values, arguments.show_b, arguments.show_h, arguments.mods.mask_mod,
              attnc::format("{}", attnc::join(arguments.mods.params, " ")))
        .write_png(*png);
  }
  if (arguments.json) {
    print_json(mask, arguments);
  } else {
    print_text(mask, arguments);
    if (png) attnc::print(stdout, "wrote {}\n", png->path());
  }
}

Action declare(CLI::App& app) {
  auto arguments = std::make_shared<MaskArguments>();
  declare_mods(app, arguments->mods, false);
  app.get_option("--mask-mod")->required();
  app.add_option("--q-len", arguments->q_len, "Length of the queries")->required()->type_name("N");
  app.add_option("--kv-len", arguments->kv_len, "Length of the keys; as --q-len if left out")->type_name("N");
  app.add_option("--batch", arguments->batch, "Batches the mask tells apart")->type_name("B")->capture_default_str();
  app.add_option("--heads", arguments->heads, "Heads the mask tells apart")->type_name("H")->capture_default_str();
  app.add_option("--in", arguments->in, "safetensors file with the tensors of --buffer")->type_name("FILE");
  app.add_option("--block-size", arguments->block_size, "Queries and keys a block, multiples of 16")
      ->type_name("QxKV")
      ->capture_default_str();
  app.add_option("--png", arguments->png, "Draw the mask to this file")->type_name("FILE");
  app.add_option("--show-b", arguments->show_b, "Batch to draw")->type_name("B")->capture_default_str();
  app.add_option("--show-h", arguments->show_h, "Head to draw")->type_name("H")->capture_default_str();
  app.add_flag("--json", arguments->json, "Print counts and tables as JSON");
  return [arguments] { run(*arguments); };
}

}  // namespace

const Subcommand mask_command = {
    "mask", "Show which blocks of the score matrix a mask keeps",
    "Examples:\n"
    "  attnc mask --mask-mod 'q_idx >= kv_idx' --q-len 2048\n"
    "  attnc mask --mask-mod 'q_idx >= kv_idx && q_idx - kv_idx < window' --param window=1024 --q-len 8192 --png "
    "window.png\n"
    "  attnc mask --mask-mod 'abs(q_idx / 56 - kv_idx / 56) < 5 && abs(q_idx % 56 - kv_idx % 56) < 5' --q-len 3136 "
    "--png near.png\n"
    "  attnc mask --mask-mod 'doc[q_idx] == doc[kv_idx]' --in documents.safetensors --buffer doc --q-len 4096 --json",
    declare};

}  // namespace attnc::cli
