// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir/interpret.h"

#include <cstring>

#include "compiler/ir/half.h"
#include "compiler/ir/semantics.h"

namespace attnc::ir {
namespace {

/// One element of a bound buffer; out of range gives 0. Real types land in `real`, others in `integer`.
void load_element(const BoundBuffer& buffer, const std::int64_t* index, double& real, std::int64_t& integer) {
  real = 0;
  integer = 0;
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < buffer.shape.size(); ++i) {
    if (index[i] < 0 || index[i] >= buffer.shape[i]) return;
    offset += index[i] * buffer.stride_elems[i];
  }
  const auto* base =
      static_cast<const std::byte*>(buffer.data) + offset * static_cast<std::int64_t>(size_bytes(buffer.dtype));
  auto read = [base]<class T>(T value) {
    std::memcpy(&value, base, sizeof value);
    return value;
  };
  switch (buffer.dtype) {
    case DType::f32:
      real = read(float{});
      break;
    case DType::f16:
      real = f16_to_float(read(std::uint16_t{}));
      break;
    case DType::bf16:
      real = bf16_to_float(read(std::uint16_t{}));
      break;
    case DType::i64:
      integer = read(std::int64_t{});
      break;
    case DType::i32:
      integer = read(std::int32_t{});
      break;
    case DType::i8:
      integer = read(std::int8_t{});
      break;
    case DType::u8:
      integer = read(std::uint8_t{});
      break;
    case DType::boolean:
      integer = read(std::uint8_t{}) != 0;
      break;
  }
}

}  // namespace

Bindings Bindings::defaults(const Program& program) {
  Bindings bindings;
  for (const ParamDecl& decl : program.params) bindings.params.push_back({decl.default_value, decl.default_int});
  bindings.buffers.resize(program.buffers.size());
  return bindings;
}

Interpreter::Interpreter(const Program& program, const Bindings& bindings, Precision precision)
    : program_(program), bindings_(bindings), precision_(precision) {}

void Interpreter::run(const LaneContext& context, int count, const std::int32_t* q_idx, const std::int32_t* kv_idx,
                      const double* score, double* score_out, std::uint8_t* mask_out) {
  const auto lanes = static_cast<std::size_t>(count);
  real_.resize(program_.insts.size() * lanes);
  integer_.resize(program_.insts.size() * lanes);
  auto real = [&](ValueId id) { return real_.data() + static_cast<std::size_t>(id) * lanes; };
  auto integer = [&](ValueId id) { return integer_.data() + static_cast<std::size_t>(id) * lanes; };

  for (ValueId id = 0; id < static_cast<ValueId>(program_.insts.size()); ++id) {
    const Inst& inst = program_[id];
    const auto [x, y, z, u, w] = inst.operands;
    (void)u, (void)w;
    double* r = real(id);
    std::int64_t* n = integer(id);
    const bool is_real = inst.type == Type::f32;
    switch (inst.op) {
      case Op::literal:
        for (std::size_t i = 0; i < lanes; ++i) r[i] = inst.real, n[i] = inst.integer;
        break;
      case Op::input:
        for (std::size_t i = 0; i < lanes; ++i) switch (inst.input) {
            case Input::score:
            case Input::dot:
              r[i] = score ? score[i] : 0;
              break;
            case Input::scale:
              r[i] = context.scale;
              break;
            case Input::b:
              n[i] = context.b;
              break;
            case Input::h:
              n[i] = context.h;
              break;
            case Input::q_idx:
              n[i] = q_idx[i];
              break;
            case Input::kv_idx:
              n[i] = kv_idx[i];
              break;
            case Input::q_len:
              n[i] = context.q_len;
              break;
            case Input::kv_len:
              n[i] = context.kv_len;
              break;
          }
        break;
      case Op::param: {
        const Bindings::Scalar& value = bindings_.params[static_cast<std::size_t>(inst.slot)];
        for (std::size_t i = 0; i < lanes; ++i)
          r[i] = static_cast<double>(static_cast<float>(value.real)), n[i] = value.integer;
        break;
      }
      case Op::load: {
        const BoundBuffer& buffer = bindings_.buffers[static_cast<std::size_t>(inst.slot)];
        std::int64_t index[max_operands];
        for (std::size_t i = 0; i < lanes; ++i) {
          for (std::size_t d = 0; d < inst.operand_count; ++d) index[d] = integer(inst.operands[d])[i];
          load_element(buffer, index, r[i], n[i]);
        }
        break;
      }
      case Op::eq:
      case Op::ne:
      case Op::lt:
      case Op::le:
      case Op::gt:
      case Op::ge:
        if (program_[x].type == Type::f32)
          for (std::size_t i = 0; i < lanes; ++i) n[i] = semantics::compare_op(inst.op, real(x)[i], real(y)[i]);
        else
          for (std::size_t i = 0; i < lanes; ++i) n[i] = semantics::compare_op(inst.op, integer(x)[i], integer(y)[i]);
        break;
      case Op::logical_and:
        for (std::size_t i = 0; i < lanes; ++i) n[i] = integer(x)[i] & integer(y)[i];
        break;
      case Op::logical_or:
        for (std::size_t i = 0; i < lanes; ++i) n[i] = integer(x)[i] | integer(y)[i];
        break;
      case Op::logical_not:
        for (std::size_t i = 0; i < lanes; ++i) n[i] = !integer(x)[i];
        break;
      case Op::select:
        for (std::size_t i = 0; i < lanes; ++i) {
          const ValueId chosen = integer(x)[i] ? y : z;
          r[i] = real(chosen)[i];
          n[i] = integer(chosen)[i];
        }
        break;
      case Op::cast: {
        const Type from = program_[x].type;
        for (std::size_t i = 0; i < lanes; ++i) {
          if (from == Type::f32)
            n[i] = semantics::real_to_integer(real(x)[i], inst.type);
          else if (is_real)
            r[i] = static_cast<double>(integer(x)[i]);
          else
            n[i] = semantics::wrap(integer(x)[i], inst.type);
        }
        break;
      }
      default:
        if (is_real)
          for (std::size_t i = 0; i < lanes; ++i)
            r[i] =
                semantics::real_op(inst.op, real(x)[i], y == no_value ? 0 : real(y)[i], z == no_value ? 0 : real(z)[i]);
        else
          for (std::size_t i = 0; i < lanes; ++i)
            n[i] = semantics::integer_op(inst.op, inst.type, integer(x)[i], y == no_value ? 0 : integer(y)[i]);
        break;
    }
    if (is_real && precision_ == Precision::single)
      for (std::size_t i = 0; i < lanes; ++i) r[i] = static_cast<double>(static_cast<float>(r[i]));
  }
  if (score_out && program_.score != no_value) std::memcpy(score_out, real(program_.score), lanes * sizeof(double));
  if (mask_out && program_.mask != no_value)
    for (std::size_t i = 0; i < lanes; ++i) mask_out[i] = static_cast<std::uint8_t>(integer(program_.mask)[i]);
}

}  // namespace attnc::ir
