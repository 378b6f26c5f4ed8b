// SPDX-License-Identifier: Apache-2.0
#include "mods.h"

#include <unordered_set>

#include "dsl/format.h"

namespace attnc {
namespace {

bool reads_score(const NodePtr& root) {
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> pending{root.get()};
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    if (!seen.insert(node).second) continue;
    if (node->op == Op::input && node->input == Input::score) return true;
    for (const NodePtr& operand : node->operands) pending.push_back(operand.get());
  }
  return false;
}

}  // namespace

MaskMod::MaskMod(const Expr& result) {
  if (result.type() == Type::f32)
    throw Error(ErrorCode::invalid_expression,
                "a mask_mod gives true or false, but this one is f32: compare it with something");
  if (reads_score(result.ptr()))
    throw Error(ErrorCode::invalid_expression,
                "a mask_mod must not read the score: whether a key is kept depends on b, h, q_idx, kv_idx");
  root_ = cast(result, Type::boolean).ptr();
}

MaskMod operator&(const MaskMod& a, const MaskMod& b) {
  if (a.is_everything()) return b;
  if (b.is_everything()) return a;
  return MaskMod(a.result() && b.result());
}

MaskMod operator|(const MaskMod& a, const MaskMod& b) {
  if (a.is_everything() || b.is_everything()) return {};
  return MaskMod(a.result() || b.result());
}

MaskMod operator!(const MaskMod& a) { return MaskMod(a.is_everything() ? Expr(false) : !a.result()); }

void rethrow_with_location(const Error& error, std::string_view what, const SourceLocation& where) {
  throw Error(error.code(), attnc::format("{}\n({} traced at {}:{})", error.what(), what, where.file, where.line));
}

}  // namespace attnc
