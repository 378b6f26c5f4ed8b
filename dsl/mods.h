// SPDX-License-Identifier: Apache-2.0
// score_mod and mask_mod: what makes one attention different from another, as a value.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "export.h"
#include "expr.h"
#include "source_location.h"

namespace attnc {

/// Limits on one mod. Over them, Error(invalid_expression) says which limit and the size met.
struct ModLimits {
  static constexpr int max_nodes = 16384;         ///< distinct operations
  static constexpr int max_text_bytes = 1 << 16;  ///< text form
  static constexpr int max_nesting = 256;         ///< text form: parentheses, brackets, unary operators
  static constexpr int max_captures = 64;         ///< parameters, and likewise buffers
};

/// A modified score, f32 in natural units. Default-constructed: the score as it is.
class ATTNC_API ScoreMod {
 public:
  ScoreMod() = default;
  /// Converts a bool or integer result to f32.
  explicit ScoreMod(const Expr& result) : root_(cast(result, Type::f32).ptr()) {}
  bool is_identity() const { return root_ == nullptr; }
  Expr result() const { return Expr(root_); }  ///< requires !is_identity()

 private:
  NodePtr root_;
};

/// Which keys a query keeps. Default-constructed: all of them.
class ATTNC_API MaskMod {
 public:
  MaskMod() = default;
  /// Converts an integer result to bool (x != 0). Throws Error(invalid_expression) for a float, or if it reads `score`.
  explicit MaskMod(const Expr& result);
  bool is_everything() const { return root_ == nullptr; }
  Expr result() const { return Expr(root_); }  ///< requires !is_everything()

 private:
  NodePtr root_;
};

ATTNC_API MaskMod operator&(const MaskMod& a, const MaskMod& b);
ATTNC_API MaskMod operator|(const MaskMod& a, const MaskMod& b);
ATTNC_API MaskMod operator!(const MaskMod& a);

/// What the text form may name besides the coordinates.
struct Captures {
  std::vector<ParamDecl> params;
  std::vector<BufferDecl> buffers;
};

/// The text form. Throws Error(invalid_expression) with a caret under the place.
ATTNC_API ScoreMod score_mod(std::string_view text, const Captures& captures = {});
ATTNC_API MaskMod mask_mod(std::string_view text, const Captures& captures = {});
/// The text form's expression itself, whatever its type. `allow_score`: whether `score` may be read.
ATTNC_API Expr parse_expression(std::string_view text, const Captures& captures, bool allow_score,
                                std::string_view what);

/// Adds "(mod traced at file:line)" to an Error raised while tracing.
[[noreturn]] ATTNC_API void rethrow_with_location(const Error& error, std::string_view what,
                                                  const SourceLocation& where);

/// Traces `f(Score score, Index b, Index h, Index q_idx, Index kv_idx)`: f is called once, with symbols.
/// Throws Error(invalid_expression) with the file and line of this call.
template <class F>
requires std::is_invocable_v<F, Score, Index, Index, Index, Index> ScoreMod
score_mod(F&& f, SourceLocation where = SourceLocation::current()) {
  try {
    return ScoreMod(Expr(std::forward<F>(f)(input(Input::score), input(Input::b), input(Input::h), input(Input::q_idx),
                                            input(Input::kv_idx))));
  } catch (const Error& error) {
    rethrow_with_location(error, "score_mod", where);
  }
}

/// Traces `f(Index b, Index h, Index q_idx, Index kv_idx)`.
template <class F>
requires std::is_invocable_v<F, Index, Index, Index, Index> MaskMod
mask_mod(F&& f, SourceLocation where = SourceLocation::current()) {
  try {
    return MaskMod(
        Expr(std::forward<F>(f)(input(Input::b), input(Input::h), input(Input::q_idx), input(Input::kv_idx))));
  } catch (const Error& error) {
    rethrow_with_location(error, "mask_mod", where);
  }
}

}  // namespace attnc
