// SPDX-License-Identifier: Apache-2.0
// Symbolic values. A mod is traced by calling it once with `Expr` coordinates; each operator below builds a node.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "error.h"
#include "export.h"
#include "ops.h"
#include "types.h"

namespace attnc {

/// A scalar known at run time: its value may change from call to call and never causes a recompile.
struct ParamDecl {
  std::string name;
  Type type = Type::f32;         ///< i32, i64, f32 or boolean
  double default_value = 0;      ///< used when a call binds no value (floats)
  std::int64_t default_int = 0;  ///< likewise for integer types
  bool has_default = true;
};

/// A captured tensor: bound per call by name. Indexing outside it gives 0 and never faults.
struct BufferDecl {
  std::string name;
  DType dtype = DType::f32;
  int rank = 1;  ///< 0 to 5
};

struct Node;
using NodePtr = std::shared_ptr<const Node>;

/// One operation of an expression. Immutable; shared between expressions; destroyed iteratively, so depth is no danger.
struct ATTNC_API Node {
  Op op = Op::literal;
  Type type = Type::f32;
  Input input = Input::score;                ///< op == input
  double real = 0;                           ///< op == literal, type f32 (already rounded to float)
  std::int64_t integer = 0;                  ///< op == literal, other types
  std::shared_ptr<const ParamDecl> param;    ///< op == param
  std::shared_ptr<const BufferDecl> buffer;  ///< op == load
  std::vector<NodePtr> operands;

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();
};

/// A symbolic value: cheap to copy, never empty.
///
/// Numbers convert: 2.5f and 2.5 are f32, 3 is i32 (i64 if it needs to be), true is bool. Mixed types convert as Typing
/// says; what does not type-check throws Error(invalid_expression) naming the operation and the types.
/// There is no conversion to bool: `if (q >= kv)` cannot be traced. Use `where(q >= kv, a, b)`.
class ATTNC_API Expr {
 public:
  Expr(double value);     // NOLINT: literals convert
  Expr(float value);      // NOLINT
  Expr(int value);        // NOLINT
  Expr(long value);       // NOLINT
  Expr(long long value);  // NOLINT
  Expr(bool value);       // NOLINT
  explicit Expr(NodePtr node) : node_(std::move(node)) {}

  const Node& node() const { return *node_; }
  const NodePtr& ptr() const { return node_; }
  Type type() const { return node_->type; }
  explicit operator bool() const = delete;

 private:
  NodePtr node_;
};

using Score = Expr;
using Index = Expr;

/// Builds `op` over `operands` after converting them as the operation's Typing says.
/// Throws Error(invalid_expression) when they do not type-check. The base of every operator and function here.
ATTNC_API Expr apply(Op op, std::initializer_list<Expr> operands);
ATTNC_API Expr apply(Op op, const std::vector<Expr>& operands);
/// Explicit conversion; see ops.def for its meaning. A conversion to the value's own type is the value itself.
ATTNC_API Expr cast(const Expr& value, Type type);
/// A literal of exactly this type.
ATTNC_API Expr literal(double value, Type type);
ATTNC_API Expr literal(std::int64_t value, Type type);
/// A coordinate or length.
ATTNC_API Expr input(Input which);

/// A run-time scalar with a default. The type is the value's: float and double f32, int i32, long long i64, bool bool.
ATTNC_API Expr param(const std::string& name, double default_value);
ATTNC_API Expr param(const std::string& name, float default_value);
ATTNC_API Expr param(const std::string& name, int default_value);
ATTNC_API Expr param(const std::string& name, long long default_value);
ATTNC_API Expr param(const std::string& name, bool default_value);
/// A run-time scalar that every call must bind.
ATTNC_API Expr param(const std::string& name, Type type);
ATTNC_API Expr param(std::shared_ptr<const ParamDecl> decl);

/// A captured tensor, to be indexed inside a mod: `doc[q]`, `bias(h, q - kv + 1024)`.
class ATTNC_API Buffer {
 public:
  explicit Buffer(BufferDecl decl);
  /// Rank-1 indexing. Throws Error(invalid_expression) if the buffer has another rank or the index is a float.
  Expr operator[](const Expr& index) const { return at({index}); }
  template <class... Indices>
  Expr operator()(const Indices&... indices) const {
    return at({Expr(indices)...});
  }
  Expr at(const std::vector<Expr>& indices) const;
  const BufferDecl& decl() const { return *decl_; }
  const std::shared_ptr<const BufferDecl>& ptr() const { return decl_; }

 private:
  std::shared_ptr<const BufferDecl> decl_;
};

/// Declares a captured tensor. Throws Error(invalid_expression) for a rank outside 0..5 or an empty name.
ATTNC_API Buffer buffer(const std::string& name, DType dtype, int rank = 1);

/// Lengths of the two sequences, as i32.
inline Expr q_len() { return input(Input::q_len); }
inline Expr kv_len() { return input(Input::kv_len); }

inline Expr operator+(const Expr& a, const Expr& b) { return apply(Op::add, {a, b}); }
inline Expr operator-(const Expr& a, const Expr& b) { return apply(Op::sub, {a, b}); }
inline Expr operator*(const Expr& a, const Expr& b) { return apply(Op::mul, {a, b}); }
/// Integer division rounds toward -inf on every backend, and by zero gives 0. With a float it is IEEE division.
inline Expr operator/(const Expr& a, const Expr& b) { return apply(Op::div, {a, b}); }
/// Floor modulo: the result has the sign of the divisor; by zero it is 0.
inline Expr operator%(const Expr& a, const Expr& b) { return apply(Op::mod, {a, b}); }
inline Expr operator-(const Expr& a) { return apply(Op::neg, {a}); }
inline Expr operator+(const Expr& a) { return a; }
inline Expr operator==(const Expr& a, const Expr& b) { return apply(Op::eq, {a, b}); }
inline Expr operator!=(const Expr& a, const Expr& b) { return apply(Op::ne, {a, b}); }
inline Expr operator<(const Expr& a, const Expr& b) { return apply(Op::lt, {a, b}); }
inline Expr operator<=(const Expr& a, const Expr& b) { return apply(Op::le, {a, b}); }
inline Expr operator>(const Expr& a, const Expr& b) { return apply(Op::gt, {a, b}); }
inline Expr operator>=(const Expr& a, const Expr& b) { return apply(Op::ge, {a, b}); }
/// Both sides are always evaluated; there are no side effects, so no order.
inline Expr operator&&(const Expr& a, const Expr& b) { return apply(Op::logical_and, {a, b}); }
inline Expr operator||(const Expr& a, const Expr& b) { return apply(Op::logical_or, {a, b}); }
inline Expr operator!(const Expr& a) { return apply(Op::logical_not, {a}); }
/// On two booleans & | ^ ~ mean logic, on integers bits.
ATTNC_API Expr operator&(const Expr& a, const Expr& b);
ATTNC_API Expr operator|(const Expr& a, const Expr& b);
ATTNC_API Expr operator^(const Expr& a, const Expr& b);
ATTNC_API Expr operator~(const Expr& a);
inline Expr operator<<(const Expr& a, const Expr& b) { return apply(Op::shl, {a, b}); }
inline Expr operator>>(const Expr& a, const Expr& b) { return apply(Op::shr, {a, b}); }

inline Expr where(const Expr& c, const Expr& a, const Expr& b) { return apply(Op::select, {c, a, b}); }
inline Expr min(const Expr& a, const Expr& b) { return apply(Op::min, {a, b}); }
inline Expr max(const Expr& a, const Expr& b) { return apply(Op::max, {a, b}); }
/// min(max(x, low), high)
inline Expr clamp(const Expr& x, const Expr& low, const Expr& high) { return min(max(x, low), high); }
inline Expr abs(const Expr& x) { return apply(Op::abs, {x}); }
inline Expr sign(const Expr& x) { return apply(Op::sign, {x}); }
inline Expr floor(const Expr& x) { return apply(Op::floor, {x}); }
inline Expr ceil(const Expr& x) { return apply(Op::ceil, {x}); }
inline Expr round(const Expr& x) { return apply(Op::round, {x}); }
inline Expr fma(const Expr& a, const Expr& b, const Expr& c) { return apply(Op::fma, {a, b, c}); }
inline Expr exp(const Expr& x) { return apply(Op::exp, {x}); }
inline Expr exp2(const Expr& x) { return apply(Op::exp2, {x}); }
inline Expr log(const Expr& x) { return apply(Op::log, {x}); }
inline Expr log2(const Expr& x) { return apply(Op::log2, {x}); }
inline Expr sqrt(const Expr& x) { return apply(Op::sqrt, {x}); }
inline Expr rsqrt(const Expr& x) { return apply(Op::rsqrt, {x}); }
inline Expr tanh(const Expr& x) { return apply(Op::tanh, {x}); }
inline Expr sigmoid(const Expr& x) { return apply(Op::sigmoid, {x}); }
inline Expr sin(const Expr& x) { return apply(Op::sin, {x}); }
inline Expr cos(const Expr& x) { return apply(Op::cos, {x}); }
inline Expr erf(const Expr& x) { return apply(Op::erf, {x}); }
inline Expr pow(const Expr& a, const Expr& b) { return apply(Op::pow, {a, b}); }
inline Expr f32(const Expr& x) { return cast(x, Type::f32); }
inline Expr i32(const Expr& x) { return cast(x, Type::i32); }
inline Expr i64(const Expr& x) { return cast(x, Type::i64); }

}  // namespace attnc
