// SPDX-License-Identifier: Apache-2.0
// How much of the score matrix a mask keeps: whole blocks by proof, the others by looking.
#include <algorithm>
#include <random>

#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/block_mask_exact.h"
#include "runtime/validate.h"
#include "timed_problem.h"

namespace attnc::cli {
namespace {

/// Looking at every element of partial blocks is affordable up to here; beyond, so many are drawn.
constexpr double most_elements = 4e6;
constexpr int samples = 1 << 16;
constexpr std::size_t chunk = 4096;

/// The elements of partial blocks, all of them or some by chance.
class PartialElements {
 public:
  PartialElements(const ProblemSpec& spec, const BoundMods::Values& values, const BlockMask& mask)
      : mask_(mask),
        declared_(ir::lower({}, spec.mods.mask_mod)),
        program_(passes::canonicalize(declared_)),
        bindings_(bind_captures(program_, declared_, values.params, values.buffers, "the kept share")),
        elements_(interpret_mask(program_, bindings_, mask.q_len(), mask.kv_len())) {
    const std::vector<std::uint8_t> kinds = mask.to_dense();
    std::size_t at = 0;
    for (int b = 0; b < mask.batch(); ++b)
      for (int h = 0; h < mask.heads(); ++h)
        for (int q = 0; q < mask.q_blocks(); ++q)
          for (int kv = 0; kv < mask.kv_blocks(); ++kv, ++at) {
            const Block block{b, h, q * mask.block_size().q, kv * mask.block_size().kv};
            if (kinds[at] == 2) full_ += rows(block) * columns(block);
            if (kinds[at] == 1) partial_.push_back(block), partial_area_ += rows(block) * columns(block);
          }
  }

  double full() const { return full_; }
  double partial_area() const { return partial_area_; }

  double count_all() {
    double kept = 0;
    for (const Block& block : partial_)
      for (int q = 0; q < rows(block); ++q) {
        for (int kv = 0; kv < columns(block); ++kv) add(block.q + q, block.kv + kv);
        kept += ask(block);
      }
    return kept;
  }

  /// Independent draws over the area of the partial blocks.
  double estimate() {
    std::mt19937 random(1);
    // Blocks at the edges are smaller, so a block counts as often as its area says.
    std::vector<double> areas;
    for (const Block& block : partial_) areas.push_back(rows(block) * columns(block));
    std::discrete_distribution<std::size_t> pick(areas.begin(), areas.end());
    std::vector<std::size_t> drawn(samples);
    for (std::size_t& index : drawn) index = pick(random);
    std::sort(drawn.begin(), drawn.end());  // one batch and head after the other
    double kept = 0;
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      const Block& block = partial_[drawn[i]];
      add(block.q + static_cast<int>(random() % static_cast<unsigned>(rows(block))),
          block.kv + static_cast<int>(random() % static_cast<unsigned>(columns(block))));
      const bool last = i + 1 == drawn.size();
      if (last || q_idx_.size() == chunk || partial_[drawn[i + 1]].b != block.b || partial_[drawn[i + 1]].h != block.h)
        kept += ask(block);
    }
    return kept / samples * partial_area_;
  }

 private:
  struct Block {
    int b, h, q, kv;
  };
  double rows(const Block& block) const { return std::min(mask_.block_size().q, mask_.q_len() - block.q); }
  double columns(const Block& block) const { return std::min(mask_.block_size().kv, mask_.kv_len() - block.kv); }
  void add(int q, int kv) {
    q_idx_.push_back(q);
    kv_idx_.push_back(kv);
  }
  double ask(const Block& block) {
    keeps_.resize(q_idx_.size());
    elements_->points(block.b, block.h, static_cast<int>(q_idx_.size()), q_idx_.data(), kv_idx_.data(), keeps_.data());
    q_idx_.clear();
    kv_idx_.clear();
    return static_cast<double>(
        std::count_if(keeps_.begin(), keeps_.end(), [](std::uint8_t keep) { return keep != 0; }));
  }

  const BlockMask& mask_;
  ir::Program declared_, program_;
  ir::Bindings bindings_;
  std::unique_ptr<MaskElements> elements_;
  std::vector<Block> partial_;
  double full_ = 0, partial_area_ = 0;
  std::vector<std::int32_t> q_idx_, kv_idx_;
  std::vector<std::uint8_t> keeps_;
};

}  // namespace

KeptShare kept_share(const ProblemSpec& spec, Lengths lengths) {
  if (spec.mods.mask_mod.is_everything()) return {};
  const BoundMods::Values values = spec.mods.mask_values();
  BlockMaskOptions options;
  options.params = values.params;
  options.buffers = values.buffers;
  const BlockMask mask =
      BlockMask::create(spec.mods.mask_mod, spec.mods.mask_reads(Input::b) ? spec.batch : 1,
                        spec.mods.mask_reads(Input::h) ? spec.heads : 1, lengths.q, lengths.kv, options);
  PartialElements elements(spec, values, mask);
  const bool sampled = elements.partial_area() > most_elements;
  const double kept = elements.full() + (sampled ? elements.estimate() : elements.count_all());
  const double all = static_cast<double>(lengths.q) * lengths.kv * mask.batch() * mask.heads();
  return {kept / all, sampled};
}

}  // namespace attnc::cli
