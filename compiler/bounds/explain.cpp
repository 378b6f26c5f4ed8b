// SPDX-License-Identifier: Apache-2.0
// What the analysis knows about a mod, for people.

#include <array>
#include <cmath>

#include "compiler/bounds/bounds.h"
#include "compiler/bounds/concrete.h"
#include "compiler/bounds/evaluate.h"
#include "compiler/ir/print.h"
#include "dsl/format.h"

namespace attnc::bounds {
namespace {

std::string text_of(const Range<Concrete>& r) {
  switch (r.type) {
    case Type::boolean:
      return r.may_be_true && r.may_be_false ? "true or false" : r.may_be_true ? "true" : "false";
    case Type::f32: {
      if (std::isinf(r.real_lo) && std::isinf(r.real_hi)) return r.may_be_nan ? "anything" : "anything but NaN";
      return attnc::format("[{:.6g}, {:.6g}]{}", r.real_lo, r.real_hi, r.may_be_nan ? " or NaN" : "");
    }
    default: {
      std::string text = r.lo == r.hi                                           ? attnc::format("{}", r.lo)
                         : r.lo == type_min(r.type) && r.hi == type_max(r.type) ? "anything"
                                                                                : attnc::format("[{}, {}]", r.lo, r.hi);
      if (r.modulus > 1) text += attnc::format(", {} mod {}", r.residue, r.modulus);
      return text;
    }
  }
}

const char* name(RowSafety::Witness witness) {
  switch (witness) {
    case RowSafety::Witness::same_index:
      return "kv_idx = q_idx";
    case RowSafety::Witness::first_key:
      return "kv_idx = 0";
    case RowSafety::Witness::last_key:
      return "kv_idx = kv_len - 1";
    case RowSafety::Witness::lower_right:
      return "kv_idx = q_idx + kv_len - q_len";
  }
  return "?";
}

bool needs_lengths(RowSafety::Witness witness) {
  return witness == RowSafety::Witness::same_index || witness == RowSafety::Witness::lower_right;
}

/// How a kernel decides its tiles, and why so.
std::string explain_classifier(const ir::Program& program, const ClassifierProgram& classifier) {
  std::string text = attnc::format("classifier: {} instructions a block, {} tables of minima and maxima\n",
                                   classifier.program.insts.size(), classifier.extrema.size());
  std::string names;
  for (const auto& extrema : classifier.extrema) {
    const std::string& name = program.buffers[static_cast<std::size_t>(extrema.source_slot)].name;
    if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  }
  if (names.empty())
    text += "tiles: without a BlockMask, a GPU kernel classifies them itself; nothing it reads varies inside a block\n";
  else
    text += attnc::format(
        "tiles: without a BlockMask, a GPU kernel classifies them itself, by minima and maxima of {} that a small "
        "kernel "
        "takes before each launch\n",
        names);
  return text +
         "       with a BlockMask, its tables decide and nothing is classified: worth it where one mask serves "
         "many calls\n";
}

std::string explain_mask(const ir::Program& program, const Knowledge& knowledge, const Box& box) {
  if (program.mask == ir::no_value) return "mask: none; every key is kept\n";
  std::string text;
  switch (classify(program, knowledge, box)) {
    case Verdict::full:
      text += "mask: true everywhere\n";
      break;
    case Verdict::empty:
      text += "mask: false everywhere\n";
      break;
    case Verdict::partial:
      text += "mask: depends on the element\n";
      break;
  }
  if (const auto band = row_band(program)) {
    text += attnc::format("band: row keeps %{} <= kv_idx < %{}, computed once a row:\n", band->lo, band->hi);
    const std::string printed = ir::print(band->program);
    std::size_t at = 0;
    while (at < printed.size()) {
      const std::size_t end = printed.find('\n', at);
      const std::string line = printed.substr(at, end - at);
      at = end + 1;
      if (line.starts_with('%') && std::stoul(line.substr(1)) >= program.insts.size()) text += "  " + line + '\n';
    }
  } else {
    text += "band: no; the mask is asked for each element of a partial block\n";
  }

  const RowSafety safety = row_safety(program);
  bool proved = false;
  for (const RowSafety::Candidate& candidate : safety.candidates) {
    if (!candidate.always || proved) continue;
    text += attnc::format("rows: every row keeps {}{}\n", name(candidate.witness),
                          needs_lengths(candidate.witness) ? ", where q_len <= kv_len" : "");
    proved = true;
  }
  if (!proved && safety.candidates.empty()) text += "rows: nothing proves that a row keeps a key\n";
  if (!proved && !safety.candidates.empty()) {
    text += "rows: each call may prove that every row keeps one of";
    for (const RowSafety::Candidate& candidate : safety.candidates)
      text += attnc::format(" ({})", name(candidate.witness));
    text += '\n';
  }

  ClassifierOptions options;
  options.use_extrema = true;
  const ClassifierProgram classifier = make_classifier(program, options);
  if (classifier.useful)
    text += explain_classifier(program, classifier);
  else
    text += "classifier: none; every block would be undecided\n";
  return text;
}

}  // namespace

std::string explain_bounds(const ir::Program& program, const Knowledge& knowledge, const Box& box) {
  std::string text =
      attnc::format("; ranges over b [{}, {}], h [{}, {}], q_idx [{}, {}], kv_idx [{}, {}], parameters {}\n",
                    box.b_first, box.b_last, box.h_first, box.h_last, box.q_first, box.q_last, box.kv_first,
                    box.kv_last, knowledge.bindings ? "as bound" : "of any value");
  Concrete algebra(knowledge);
  algebra.set_box(box);
  std::vector<Range<Concrete>> ranges(program.insts.size());
  for (ir::ValueId id = 0; id < static_cast<ir::ValueId>(program.insts.size()); ++id)
    ranges[static_cast<std::size_t>(id)] = evaluate(algebra, program, id, ranges.data());

  const std::string printed = ir::print(program);
  std::size_t at = 0;
  while (at < printed.size()) {
    const std::size_t end = printed.find('\n', at);
    const std::string line = printed.substr(at, end - at);
    at = end + 1;
    text += line.starts_with('%') ? attnc::format("{:<44}; {}\n", line, text_of(ranges[std::stoul(line.substr(1))]))
                                  : line + '\n';
  }

  text += explain_mask(program, knowledge, box);
  if (program.score == ir::no_value)
    text += "score: as it is, unbounded\n";
  else if (const auto bound = score_bound(program, knowledge, box))
    text += attnc::format("score: within +-{:.6g} wherever it is not NaN\n", *bound);
  else if (const ir::Bindings defaults = ir::Bindings::defaults(program);
           const auto bound = knowledge.bindings ? std::nullopt : score_bound(program, {&defaults, nullptr}, box))
    text += attnc::format("score: no bound for all parameters; within +-{:.6g} for their defaults\n", *bound);
  else
    text += "score: no bound\n";

  const LoadGuards guards = load_guards(program);
  for (const LoadCondition& condition : guards.conditions)
    text += attnc::format("guard: %{} needs none where {}\n", condition.load, condition.text);
  for (const ir::ValueId load : guards.kept)
    text += attnc::format("guard: %{} is always checked; its index is not arithmetic on coordinates\n", load);
  return text;
}

}  // namespace attnc::bounds
