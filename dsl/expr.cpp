// SPDX-License-Identifier: Apache-2.0
#include "expr.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "dsl/format.h"

namespace attnc {
namespace {

[[noreturn]] void type_error(const std::string& message) { throw Error(ErrorCode::invalid_expression, message); }

std::shared_ptr<Node> new_node(Op op, Type type) {
  auto node = std::make_shared<Node>();
  node->op = op;
  node->type = type;
  return node;
}

Type wider(Type a, Type b) {
  if (a == Type::boolean) a = Type::i32;
  if (b == Type::boolean) b = Type::i32;
  return std::max(a, b);  // enumerators are ordered boolean < i32 < i64 < f32
}

/// What a user would call the operation: its spelling in the text form where it has one.
std::string spelled(Op op) { return std::string(info(op).text.empty() ? info(op).mnemonic : info(op).text); }

Expr build(Op op, Type type, const std::vector<Expr>& operands) {
  auto node = new_node(op, type);
  node->operands.reserve(operands.size());
  for (const Expr& operand : operands) node->operands.push_back(operand.ptr());
  return Expr(NodePtr(std::move(node)));
}

std::vector<Expr> cast_all(const std::vector<Expr>& operands, Type type) {
  std::vector<Expr> result;
  result.reserve(operands.size());
  for (const Expr& operand : operands) result.push_back(cast(operand, type));
  return result;
}

Expr make_param(const std::string& name, Type type, double real, std::int64_t integer, bool has_default) {
  auto decl = std::make_shared<ParamDecl>();
  decl->name = name;
  decl->type = type;
  decl->default_value = real;
  decl->default_int = integer;
  decl->has_default = has_default;
  return param(std::move(decl));
}

Expr logical_or_bits(Op logical, Op bits, const Expr& a, const Expr& b) {
  const bool both_bool = a.type() == Type::boolean && b.type() == Type::boolean;
  return apply(both_bool ? logical : bits, {a, b});
}

}  // namespace

Node::~Node() {
  // A chain of a million operations must not recurse a million deep, and a destructor must not allocate: nodes that
  // wait for a turn are linked through the slot of the operand that went first.
  for (NodePtr& operand : operands) {
    NodePtr current = std::move(operand);
    NodePtr waiting;
    while (current) {
      if (current.use_count() == 1 && !current->operands.empty()) {
        // Sole owner: nobody else can see the node, so changing its operand list is safe.
        auto& rest = const_cast<Node&>(*current).operands;
        NodePtr last = std::move(rest.back());
        rest.pop_back();
        if (!rest.empty()) {
          rest.push_back(std::move(waiting));
          waiting = std::move(current);
        }
        current = std::move(last);
      } else {
        current = std::move(waiting);
        if (current) {
          auto& rest = const_cast<Node&>(*current).operands;
          waiting = std::move(rest.back());
          rest.pop_back();
        }
      }
    }
  }
}

Expr::Expr(double value) : Expr(literal(value, Type::f32)) {}
Expr::Expr(float value) : Expr(literal(static_cast<double>(value), Type::f32)) {}
Expr::Expr(int value) : Expr(literal(static_cast<std::int64_t>(value), Type::i32)) {}
Expr::Expr(long value) : Expr(static_cast<long long>(value)) {}
Expr::Expr(long long value)
    : Expr(literal(static_cast<std::int64_t>(value), value >= std::numeric_limits<std::int32_t>::min() &&
                                                             value <= std::numeric_limits<std::int32_t>::max()
                                                         ? Type::i32
                                                         : Type::i64)) {}
Expr::Expr(bool value) : Expr(literal(static_cast<std::int64_t>(value), Type::boolean)) {}

Expr literal(double value, Type type) {
  if (type != Type::f32)
    type_error(attnc::format("a literal of type {} needs an integer value, got {}", name(type), value));
  auto node = new_node(Op::literal, type);
  node->real = static_cast<double>(static_cast<float>(value));
  return Expr(NodePtr(std::move(node)));
}

Expr literal(std::int64_t value, Type type) {
  if (type == Type::f32) return literal(static_cast<double>(value), type);
  auto node = new_node(Op::literal, type);
  node->integer = type == Type::boolean ? (value != 0) : type == Type::i32 ? static_cast<std::int32_t>(value) : value;
  return Expr(NodePtr(std::move(node)));
}

Expr input(Input which) {
  auto node = new_node(Op::input, type_of(which));
  node->input = which;
  return Expr(NodePtr(std::move(node)));
}

Expr param(std::shared_ptr<const ParamDecl> decl) {
  if (decl->name.empty()) type_error("a parameter needs a name");
  auto node = new_node(Op::param, decl->type);
  node->param = std::move(decl);
  return Expr(NodePtr(std::move(node)));
}

Expr param(const std::string& name, double v) { return make_param(name, Type::f32, v, 0, true); }
Expr param(const std::string& name, float v) { return make_param(name, Type::f32, static_cast<double>(v), 0, true); }
Expr param(const std::string& name, int v) { return make_param(name, Type::i32, v, v, true); }
Expr param(const std::string& name, long long v) {
  return make_param(name, Type::i64, static_cast<double>(v), static_cast<std::int64_t>(v), true);
}
Expr param(const std::string& name, bool v) { return make_param(name, Type::boolean, v, v, true); }
Expr param(const std::string& name, Type type) { return make_param(name, type, 0, 0, false); }

Buffer::Buffer(BufferDecl decl) : decl_(std::make_shared<const BufferDecl>(std::move(decl))) {
  if (decl_->name.empty()) type_error("a buffer needs a name");
  if (decl_->rank < 0 || decl_->rank > 5)
    type_error(attnc::format("buffer '{}' has rank {}; a captured buffer has rank 0 to 5", decl_->name, decl_->rank));
}

Buffer buffer(const std::string& name, DType dtype, int rank) { return Buffer(BufferDecl{name, dtype, rank}); }

Expr Buffer::at(const std::vector<Expr>& indices) const {
  if (static_cast<int>(indices.size()) != decl_->rank)
    type_error(attnc::format("buffer '{}' has rank {} but is indexed with {} {}", decl_->name, decl_->rank,
                             indices.size(), indices.size() == 1 ? "index" : "indices"));
  std::vector<Expr> converted;
  converted.reserve(indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const Type type = indices[i].type();
    if (type == Type::f32)
      type_error(attnc::format("index {} of buffer '{}' is f32; an index is an integer: use i32(...)", i, decl_->name));
    converted.push_back(type == Type::boolean ? cast(indices[i], Type::i32) : indices[i]);
  }
  auto node = new_node(Op::load, loaded_type(decl_->dtype));
  node->buffer = decl_;
  for (const Expr& index : converted) node->operands.push_back(index.ptr());
  return Expr(NodePtr(std::move(node)));
}

Expr cast(const Expr& value, Type type) {
  if (value.type() == type) return value;
  if (type == Type::boolean) {  // x != 0
    if (value.type() == Type::f32) return apply(Op::ne, {value, literal(0.0, Type::f32)});
    return apply(Op::ne, {value, literal(std::int64_t{0}, value.type())});
  }
  // A literal converts where it stands, so that `score * 2` and `score * 2.0` are one program.
  const Node& node = value.node();
  if (node.op == Op::literal && node.type != Type::f32) return literal(node.integer, type);
  return build(Op::cast, type, {value});
}

Expr apply(Op op, std::initializer_list<Expr> operands) { return attnc::apply(op, std::vector<Expr>(operands)); }

Expr apply(Op op, const std::vector<Expr>& operands) {
  const OpInfo& row = info(op);
  if (row.arity >= 0 && static_cast<int>(operands.size()) != row.arity)
    type_error(attnc::format("{} takes {} {}, got {}", spelled(op), row.arity, row.arity == 1 ? "operand" : "operands",
                             operands.size()));
  switch (row.typing) {
    case Typing::numeric: {
      Type type = Type::boolean;
      for (const Expr& operand : operands) type = wider(type, operand.type());
      const bool rounds = op == Op::floor || op == Op::ceil || op == Op::round;
      if (rounds && type != Type::f32) return cast(operands[0], type);
      return build(op, type, cast_all(operands, type));
    }
    case Typing::integer: {
      Type type = Type::boolean;
      for (const Expr& operand : operands) {
        if (operand.type() == Type::f32)
          type_error(attnc::format("'{}' works on integers, but an operand is f32: use i32(...)", spelled(op)));
        type = wider(type, operand.type());
      }
      return build(op, type, cast_all(operands, type));
    }
    case Typing::real:
      return build(op, Type::f32, cast_all(operands, Type::f32));
    case Typing::compare: {
      const bool booleans = operands[0].type() == Type::boolean && operands[1].type() == Type::boolean;
      if (booleans && (op == Op::eq || op == Op::ne)) return build(op, Type::boolean, operands);
      return build(op, Type::boolean, cast_all(operands, wider(operands[0].type(), operands[1].type())));
    }
    case Typing::logical:
      return build(op, Type::boolean, cast_all(operands, Type::boolean));
    case Typing::select: {
      const Expr condition = cast(operands[0], Type::boolean);
      const bool booleans = operands[1].type() == Type::boolean && operands[2].type() == Type::boolean;
      const Type type = booleans ? Type::boolean : wider(operands[1].type(), operands[2].type());
      return build(op, type, {condition, cast(operands[1], type), cast(operands[2], type)});
    }
    case Typing::leaf:
    case Typing::load:
    case Typing::cast:
      break;
  }
  throw Error(ErrorCode::internal, attnc::format("apply() does not build '{}'", row.mnemonic));
}

Expr operator&(const Expr& a, const Expr& b) { return logical_or_bits(Op::logical_and, Op::bit_and, a, b); }
Expr operator|(const Expr& a, const Expr& b) { return logical_or_bits(Op::logical_or, Op::bit_or, a, b); }
Expr operator^(const Expr& a, const Expr& b) { return logical_or_bits(Op::ne, Op::bit_xor, a, b); }
Expr operator~(const Expr& a) { return apply(a.type() == Type::boolean ? Op::logical_not : Op::bit_not, {a}); }

}  // namespace attnc
