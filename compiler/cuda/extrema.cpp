// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/extrema.h"

#include "dsl/format.h"

namespace attnc::cuda {

std::vector<ExtremaTables> extrema_tables(const bounds::ClassifierProgram& classifier, const ir::Program& classified,
                                          const ir::Program& declared) {
  std::vector<ExtremaTables> tables;
  for (std::size_t i = 0; i < classifier.extrema.size(); ++i) {
    const auto& extrema = classifier.extrema[i];
    const std::string& name = classified.buffers[static_cast<std::size_t>(extrema.source_slot)].name;
    int source = 0;
    for (std::size_t slot = 0; slot < declared.buffers.size(); ++slot)
      if (declared.buffers[slot].name == name) source = static_cast<int>(slot);
    ExtremaTables* found = nullptr;
    for (ExtremaTables& known : tables)
      if (known.source_slot == source && known.dimension == extrema.dimension) found = &known;
    if (found == nullptr) found = &tables.emplace_back(ExtremaTables{source, extrema.dimension, -1, -1});
    (extrema.maximum ? found->maximum_slot : found->minimum_slot) =
        static_cast<int>(declared.buffers.size()) + static_cast<int>(i);
  }
  return tables;
}

ir::Program with_extrema(ir::Program declared, const bounds::ClassifierProgram& classifier) {
  for (const auto& extrema : classifier.extrema)
    declared.buffers.push_back(classifier.program.buffers[static_cast<std::size_t>(extrema.buffer_slot)]);
  return declared;
}

ParamLayout layout_with_extrema(const ir::Program& declared, const bounds::ClassifierProgram& classifier,
                                const ir::Program& classified) {
  ParamLayout layout = param_layout(with_extrema(declared, classifier));
  layout.extrema = extrema_tables(classifier, classified, declared);
  layout.extrema_granule = classifier.granule;
  return layout;
}

std::string extent_text(const std::string& buffer_text, int dimension) {
  return attnc::format("extent_i32({}, {})", buffer_text, dimension);
}

}  // namespace attnc::cuda
