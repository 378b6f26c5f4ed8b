// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/bindings_abi.h"

#include <algorithm>

namespace attnc::cpu {
namespace {
alignas(8) constexpr std::byte no_element[8] = {};
}  // namespace

BindingOrder::BindingOrder(const ir::Program& program, const ir::Program& source) {
  auto match = [](const auto& wanted, const auto& available, std::vector<std::size_t>& order) {
    for (const auto& decl : wanted) {
      const auto found =
          std::find_if(available.begin(), available.end(), [&](const auto& a) { return a.name == decl.name; });
      if (found == available.end()) throw Error(ErrorCode::internal, "a pass invented the capture '" + decl.name + "'");
      order.push_back(static_cast<std::size_t>(found - available.begin()));
    }
  };
  match(program.params, source.params, params);
  match(program.buffers, source.buffers, buffers);
}

BindingsAbi::BindingsAbi(const ir::Program& program, const BindingOrder& order, const ir::Bindings& bindings) {
  for (std::size_t i = 0; i < program.params.size(); ++i) {
    ParamAbi param{};
    if (program.params[i].type == Type::f32)
      param.real = static_cast<float>(bindings.params[order.params[i]].real);
    else
      param.integer = bindings.params[order.params[i]].integer;
    params_.push_back(param);
  }
  for (std::size_t i = 0; i < program.buffers.size(); ++i) {
    const ir::BoundBuffer& bound = bindings.buffers[order.buffers[i]];
    BufferAbi buffer{};
    std::copy(bound.shape.begin(), bound.shape.end(), buffer.shape);
    std::copy(bound.stride_elems.begin(), bound.stride_elems.end(), buffer.stride_elems);
    const bool has_elements = std::find(bound.shape.begin(), bound.shape.end(), 0) == bound.shape.end();
    buffer.data = has_elements && bound.data != nullptr ? bound.data : no_element;
    buffers_.push_back(buffer);
  }
}

}  // namespace attnc::cpu
