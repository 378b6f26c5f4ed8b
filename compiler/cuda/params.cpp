// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda/params.h"

#include <iterator>
#include <set>

#include "compiler/cuda/operations.h"
#include "dsl/format.h"

namespace attnc::cuda {
namespace {

std::string_view element_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::i64:
      return "int64";
    case DType::i32:
      return "int32";
    case DType::i8:
      return "int8";
    case DType::u8:
      return "uint8";
    case DType::boolean:
      return "bool8";
  }
  return "?";
}

std::int32_t view_bytes(int rank) { return (8 + 16 * rank + 4 * rank + 7) / 8 * 8; }

std::string safe(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    text += plain ? c : '_';
  }
  return text;
}

template <class Decl>
std::vector<std::string> names_of(const std::vector<Decl>& decls, char prefix, bool canonical) {
  std::vector<std::string> names;
  std::set<std::string> used;
  for (std::size_t i = 0; i < decls.size(); ++i) {
    std::string name =
        canonical ? attnc::format("{}{}", prefix, i) : attnc::format("{}_{}", prefix, safe(decls[i].name));
    // Two names can become one when made safe.
    if (!used.insert(name).second) name += attnc::format("_{}", i);
    used.insert(name);
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

ParamLayout param_layout(const ir::Program& program) {
  ParamLayout layout;
  std::int32_t offset = 0;
  // Widest first, so that nothing needs padding: views, 8-byte scalars, 4-byte scalars.
  for (const BufferDecl& decl : program.buffers) {
    layout.buffers.push_back({decl.dtype, decl.rank, offset});
    offset += view_bytes(decl.rank);
  }
  layout.params.resize(program.params.size());
  for (const int bytes : {8, 4}) {
    for (std::size_t i = 0; i < program.params.size(); ++i) {
      const Type type = program.params[i].type;
      if ((type == Type::i64 ? 8 : 4) != bytes) continue;
      layout.params[i] = {type, offset};
      offset += bytes;
    }
  }
  layout.size_bytes = offset == 0 ? 8 : (offset + 7) / 8 * 8;
  return layout;
}

std::vector<std::string> param_names(const ir::Program& program, bool canonical) {
  return names_of(program.params, 'p', canonical);
}
std::vector<std::string> buffer_names(const ir::Program& program, bool canonical) {
  return names_of(program.buffers, 'b', canonical);
}

std::string print_params(const ir::Program& program, bool canonical) {
  const auto params = param_names(program, canonical);
  const auto buffers = buffer_names(program, canonical);
  std::string text = "  struct alignas(8) Params {\n";
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    attnc::append(text, "    BufferView<{}, {}> {};\n", element_type(program.buffers[i].dtype), program.buffers[i].rank,
                  buffers[i]);
  }
  for (const int bytes : {8, 4}) {
    for (std::size_t i = 0; i < params.size(); ++i) {
      const Type type = program.params[i].type;
      if ((type == Type::i64 ? 8 : 4) != bytes) continue;
      attnc::append(text, "    {} {};\n", type == Type::boolean ? "int32" : device_type(type), params[i]);
    }
  }
  if (params.empty() && buffers.empty()) text += "    int64 unused;\n";
  return text + "  };\n";
}

std::string print_layout_checks(const ir::Program& program, std::string_view mods) {
  const ParamLayout layout = param_layout(program);
  return attnc::format("static_assert(sizeof({}::Params) == {}, \"host and device disagree on Params\");\n", mods,
                       layout.size_bytes);
}

}  // namespace attnc::cuda
