// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/block_mask_source.h"

#include <algorithm>
#include <cstdint>

#include "compiler/bounds/bounds.h"
#include "compiler/bounds/evaluate.h"
#include "compiler/cuda/embedded_templates.h"
#include "compiler/cuda/functions.h"
#include "compiler/cuda/kernel_source.h"
#include "compiler/ir/print.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

/// Raise when a signature's text changes its meaning.
constexpr int signature_schema = 2;

/// What the files of block_mask/ include from elsewhere.
constexpr std::string_view shared_templates[] = {"contract.cuh", "dependent_launch.cuh", "mods_prelude.cuh",
                                                 "precise.cuh", "prelude.cuh"};

/// Larger classifiers cost more than the looking they save.
constexpr std::size_t max_classifier_insts = 1024;

std::vector<std::string> spelled(const std::vector<std::string>& fields) {
  std::vector<std::string> texts;
  for (const std::string& field : fields) texts.push_back("p." + field);
  return texts;
}

std::string print_keep(const ir::Program& program, const std::vector<std::string>& params,
                       const std::vector<std::string>& buffers, const PrintOptions& options) {
  constexpr std::string_view signature = "bool keep(const Params& p, const TileContext& t, int q_idx, int kv_idx)";
  if (program.mask == ir::no_value) return attnc::format("  static {} {{ return true; }}\n", signature);
  const DeviceProgram device = make_device_program(program, {program.mask}, params, buffers, options);
  return print_whole_function(device, device.results[0], signature, options);
}

std::string print_classifier(const bounds::ClassifierProgram& classifier, const ir::Program& program,
                             std::vector<std::string> params, std::vector<std::string> buffers,
                             const PrintOptions& options) {
  if (!classifier.useful) {
    return "  static BlockVerdict classify(const Params&, const TileContext&, const Uniform&, const BlockRange&) {\n"
           "    return BlockVerdict::partial;\n  }\n";
  }
  // The classifier's captures: the program's with the same slots, then the block's ranges, extents and tables.
  const std::vector<std::string> own_buffers = buffers;
  params.resize(classifier.program.params.size());
  const char* const ranges[] = {"range.q_first", "range.q_last", "range.kv_first", "range.kv_last"};
  for (int i = 0; i < bounds::ClassifierProgram::range_param_count; ++i)
    params[static_cast<std::size_t>(classifier.first_range_param + i)] = ranges[i];
  for (const auto& extent : classifier.extents)
    params[static_cast<std::size_t>(extent.param)] =
        extent_text(own_buffers[static_cast<std::size_t>(extent.source_slot)], extent.dimension);
  buffers.resize(classifier.program.buffers.size());
  const auto table_fields = buffer_names(with_extrema(program, classifier), options.canonical_names);
  for (std::size_t i = 0; i < classifier.extrema.size(); ++i)
    buffers[static_cast<std::size_t>(classifier.extrema[i].buffer_slot)] =
        "p." + table_fields[program.buffers.size() + i];
  const DeviceProgram device = make_device_program(
      classifier.program, {classifier.may_be_true, classifier.may_be_false}, params, buffers, options);
  return print_classify(device, device.results[0], device.results[1], options);
}

/// FNV-1a over 64 bits: it tells our own texts apart, it does not defend against anybody.
std::string templates_digest() {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const EmbeddedTemplate& file : embedded_templates()) {
    if (!file.name.starts_with("block_mask/") &&
        std::find(std::begin(shared_templates), std::end(shared_templates), file.name) == std::end(shared_templates))
      continue;
    for (const std::string_view part : {file.name, file.text}) {
      for (const char byte : part) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
      hash = (hash ^ 0xff) * 0x100000001b3u;  // separates the pieces
    }
  }
  return attnc::format("{:016x}", hash);
}

std::string entry(std::string_view name, int threads, std::string_view parameters, std::string_view body) {
  return attnc::format("extern \"C\" __global__ void __launch_bounds__({}) {}({}) {{\n  {}\n}}\n", threads, name,
                       parameters, body);
}

constexpr std::string_view arguments = "const __grid_constant__ attnc::block_mask::Arguments args";

/// What the program of a purpose includes and defines.
struct Entries {
  std::string_view file;
  std::string text;
};

Entries mask_entries(MaskPurpose purpose) {
  const std::string both = attnc::format("{}, const __grid_constant__ attnc::mods::Mask::Params params", arguments);
  switch (purpose) {
    case MaskPurpose::small:
      return {"small.cuh",
              entry(mask_small_entry, 512, both, "attnc::block_mask::decide_small<attnc::mods::Mask>(args, params);")};
    case MaskPurpose::bits:
      return {"bits.cuh",
              entry(mask_bits_entry, 512,
                    attnc::format("{}, attnc::uint32* bits, const __grid_constant__ attnc::mods::Mask::Params params",
                                  arguments),
                    "attnc::block_mask::write_bits<attnc::mods::Mask>(args, bits, params);")};
    default:
      return {"classify.cuh",
              entry(mask_classify_entry, 128, both, "attnc::block_mask::classify<attnc::mods::Mask>(args, params);") +
                  entry(mask_decide_entry, 128, both, "attnc::block_mask::decide<attnc::mods::Mask>(args, params);")};
  }
}

std::string signature_text(std::string_view what, const plan::Target& target, std::string_view toolchain,
                           const std::vector<std::string>& flags, std::string_view source) {
  return attnc::format("attnc cuda {}, schema {}\ntarget {}\nnvrtc {}\nflags {}\ntemplates {}\nsource\n{}", what,
                       signature_schema, target.name(), toolchain, attnc::join(flags, " "), templates_digest(), source);
}

}  // namespace

int extrema_granule(int q_block, int kv_block) {
  const int bits = q_block | kv_block | 64;
  return bits & -bits;
}

BlockMaskSource make_block_mask_source(const ir::Program& program, int granule, MaskPurpose purpose,
                                       bool canonical_names, bool line_directives) {
  PrintOptions options;
  options.precise = true;
  options.canonical_names = canonical_names;
  options.line_directives = line_directives;
  bounds::ClassifierOptions classifier_options;
  classifier_options.granule = granule;
  classifier_options.use_extrema = true;
  // Elements as bits are looked at one by one: nothing is classified.
  bounds::ClassifierProgram classifier;
  if (purpose != MaskPurpose::bits) classifier = bounds::make_classifier(program, classifier_options);
  if (classifier.program.insts.size() > max_classifier_insts) classifier.useful = false;
  if (!classifier.useful) classifier.extrema.clear();
  const ir::Program captures = with_extrema(program, classifier);

  BlockMaskSource source;
  source.layout = layout_with_extrema(program, classifier, program);
  const std::vector<std::string> params = spelled(param_names(captures, canonical_names));
  std::vector<std::string> buffers = spelled(buffer_names(captures, canonical_names));
  buffers.resize(program.buffers.size());
  const Entries entries = mask_entries(purpose);
  source.text = attnc::format(
      "// Generated by attnc: builds the tables of a block mask. templates/contract.cuh says what classify means.\n"
      "#include \"mods_prelude.cuh\"\n#include \"block_mask/{}\"\n\nnamespace attnc::mods {{\n\nstruct Mask "
      "{{\n  struct Uniform {{}};\n{}{}{}}};\n"
      "{}\n}}  // namespace attnc::mods\n\n#line 1 \"entries\"\n{}",
      entries.file, print_params(captures, canonical_names), print_keep(program, params, buffers, options),
      print_classifier(classifier, program, params, buffers, options), print_layout_checks(captures, "Mask"),
      entries.text);
  return source;
}

bool is_dear_to_evaluate(const ir::Program& program, const plan::Target& target) {
  // Operations an element; unpacking takes about two. Measured: docs/bounds.md. A mask that captures buffers is decided
  // anew for new contents, and its bits with it.
  const auto& insts = program.insts;
  const bool captures = program.mask != ir::no_value && [&] {
    const std::vector<ir::ValueId> values = bounds::cone(program, program.mask);
    return std::any_of(values.begin(), values.end(),
                       [&](ir::ValueId id) { return insts[static_cast<std::size_t>(id)].op == Op::load; });
  }();
  const int dear_keep_cost = captures ? 5 : 2;
  KernelRequest request;
  request.block_table = true;
  request.target = target;
  const ModsTraits traits = make_kernel_source(program, request, false).traits;
  return traits.mask_kind == MaskKind::general && traits.keep_cost >= dear_keep_cost;
}

TablePurpose extrema_purpose(const ir::Program& program) {
  const auto is_line = [](const BufferDecl& buffer) { return buffer.rank == 1 && buffer.dtype == DType::i32; };
  return std::all_of(program.buffers.begin(), program.buffers.end(), is_line) ? TablePurpose::extrema_of_lines
                                                                              : TablePurpose::extrema;
}

std::string make_block_table_source(TablePurpose purpose) {
  if (purpose == TablePurpose::extrema || purpose == TablePurpose::extrema_of_lines) {
    const std::string_view kind = purpose == TablePurpose::extrema ? "any" : "lines";
    return "// Extremes of captured buffers, for the masks of attnc.\n#include \"block_mask/extrema.cuh\"\n\n" +
           entry(mask_extrema_entry, 1024, "const __grid_constant__ attnc::extrema::Arguments args",
                 attnc::format("attnc::extrema::summarize<attnc::extrema::Buffers::{}>(args);", kind));
  }
  if (purpose == TablePurpose::small_lists) {
    return "// Lists of few blocks, for the masks of attnc.\n#include \"block_mask/small_lists.cuh\"\n\n" +
           entry(mask_small_lists_entry, 512, arguments, "attnc::block_mask::list_small(args);");
  }
  return "// Lists of blocks, for the masks of attnc.\n#include \"block_mask/lists.cuh\"\n\n" +
         entry(mask_count_entry, 128, arguments, "attnc::block_mask::count(args);") +
         entry(mask_scan_entry, 1024, arguments, "attnc::block_mask::scan(args);") +
         entry(mask_fill_entry, 128, arguments, "attnc::block_mask::fill(args);");
}

std::string make_block_table_signature(TablePurpose purpose, const plan::Target& target, std::string_view toolchain,
                                       const std::vector<std::string>& flags) {
  return signature_text("block tables", target, toolchain, flags, make_block_table_source(purpose));
}

std::string make_block_mask_signature(const ir::Program& program, int granule, MaskPurpose purpose,
                                      const plan::Target& target, std::string_view toolchain,
                                      const std::vector<std::string>& flags) {
  const BlockMaskSource source = make_block_mask_source(program, granule, purpose, true, false);
  return signature_text("block mask", target, toolchain, flags, source.text);
}

}  // namespace attnc::cuda
