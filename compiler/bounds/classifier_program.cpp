// SPDX-License-Identifier: Apache-2.0
// The classifier as code: the interval rules over the algebra that emits instructions.
#include "compiler/bounds/bounds.h"
#include "compiler/bounds/evaluate.h"
#include "compiler/bounds/symbolic.h"

namespace attnc::bounds {
namespace {

std::int16_t add_param(ir::Program& program, const std::string& name) {
  ParamDecl decl;
  decl.name = name;
  decl.type = Type::i32;
  decl.has_default = false;
  program.params.push_back(std::move(decl));
  return static_cast<std::int16_t>(program.params.size() - 1);
}

/// Drops instructions that neither root needs. Params and buffers keep their slots.
void drop_unused(ClassifierProgram& classifier) {
  const ir::Program& from = classifier.program;
  std::vector<char> needed(from.insts.size(), 0);
  for (const ir::ValueId root : {classifier.may_be_true, classifier.may_be_false})
    for (const ir::ValueId id : cone(from, root)) needed[static_cast<std::size_t>(id)] = 1;
  std::vector<ir::ValueId> renamed(from.insts.size(), ir::no_value);
  std::vector<ir::Inst> insts;
  for (std::size_t id = 0; id < from.insts.size(); ++id) {
    if (!needed[id]) continue;
    ir::Inst inst = from.insts[id];
    for (std::size_t i = 0; i < inst.operand_count; ++i)
      inst.operands[i] = renamed[static_cast<std::size_t>(inst.operands[i])];
    renamed[id] = static_cast<ir::ValueId>(insts.size());
    insts.push_back(inst);
  }
  classifier.program.insts = std::move(insts);
  classifier.may_be_true = renamed[static_cast<std::size_t>(classifier.may_be_true)];
  classifier.may_be_false = renamed[static_cast<std::size_t>(classifier.may_be_false)];
}

}  // namespace

Symbolic::Symbolic(ClassifierProgram& out, const ClassifierOptions& options)
    : out_(out), options_(options), emit_(out.program) {}

Scalar Symbolic::first(Input which) {
  switch (which) {
    case Input::q_idx:
      return emit_.param(out_.first_range_param + ClassifierProgram::q_first, Type::i32, 0, max_length - 1);
    case Input::kv_idx:
      return emit_.param(out_.first_range_param + ClassifierProgram::kv_first, Type::i32, 0, max_length - 1);
    case Input::q_len:
    case Input::kv_len:
      return emit_.input(which, 1, max_length);
    default:
      return emit_.input(which, 0, max_length - 1);
  }
}

Scalar Symbolic::last(Input which) {
  switch (which) {
    case Input::q_idx:
      return emit_.param(out_.first_range_param + ClassifierProgram::q_last, Type::i32, 0, max_length - 1);
    case Input::kv_idx:
      return emit_.param(out_.first_range_param + ClassifierProgram::kv_last, Type::i32, 0, max_length - 1);
    default:
      return first(which);
  }
}

Range<Symbolic> Symbolic::param(int slot, Type type) {
  switch (type) {
    case Type::f32:
      return any_real(*this);
    case Type::boolean:
      return decided_truth(*this, Truth{emit_.param(slot, type, 0, 1).id, std::nullopt});
    default: {
      const Scalar value = emit_.param(slot, type, type_min(type), type_max(type));
      return integers(*this, type, value, value);
    }
  }
}

ir::ValueId Symbolic::emit_load(int slot, Type type, const std::vector<ir::ValueId>& index) {
  ir::Inst inst;
  inst.op = Op::load;
  inst.type = type;
  inst.slot = static_cast<std::int16_t>(slot);
  for (const ir::ValueId i : index) inst.operands[inst.operand_count++] = i;
  return emit_.emit(inst);
}

Range<Symbolic> Symbolic::load(const ir::Program& program, const ir::Inst& inst, const Range<Symbolic>* values) {
  const ValueRange unknown = ValueRange::unknown(program.buffers[static_cast<std::size_t>(inst.slot)].dtype);
  int varying = -1, count = 0;
  for (int d = 0; d < inst.operand_count; ++d) {
    const ir::ValueId index = inst.operands[static_cast<std::size_t>(d)];
    if (!is_point(*this, values[index])) varying = d, ++count;
  }
  if (inst.type == Type::f32) return any_real(*this);
  if (count == 0) return load_value(program, inst, values);
  if (count == 1 && options_.use_extrema) return load_runs(program, inst, values, varying);
  if (inst.type == Type::boolean) return any_truth(*this);
  return integers(*this, inst.type, emit_.integer(unknown.lo), emit_.integer(unknown.hi));
}

/// Every index is known when the block is: so is the element.
Range<Symbolic> Symbolic::load_value(const ir::Program& program, const ir::Inst& inst, const Range<Symbolic>* values) {
  const ValueRange all = ValueRange::unknown(program.buffers[static_cast<std::size_t>(inst.slot)].dtype);
  std::vector<ir::ValueId> index;
  for (int d = 0; d < inst.operand_count; ++d) {
    const ir::ValueId operand = inst.operands[static_cast<std::size_t>(d)];
    index.push_back(emit_.as(values[operand].lo, program[operand].type));
  }
  const ir::ValueId id = emit_load(inst.slot, inst.type, index);
  if (inst.type == Type::boolean) return decided_truth(*this, Truth{id, std::nullopt});
  const Scalar value{id, all.lo, all.hi};
  return integers(*this, inst.type, value, value);
}

Scalar Symbolic::extent(int slot, int dimension) {
  for (const ClassifierProgram::ExtentParam& known : out_.extents)
    if (known.source_slot == slot && known.dimension == dimension)
      return emit_.param(known.param, Type::i32, 0, type_max(Type::i32));
  const std::string name =
      out_.program.buffers[static_cast<std::size_t>(slot)].name + ":extent" + std::to_string(dimension);
  out_.extents.push_back({add_param(out_.program, name), slot, dimension});
  return emit_.param(out_.extents.back().param, Type::i32, 0, type_max(Type::i32));
}

int Symbolic::extrema_slot(int source, int dimension, bool maximum) {
  for (const ClassifierProgram::Extrema& known : out_.extrema)
    if (known.source_slot == source && known.dimension == dimension && known.maximum == maximum)
      return known.buffer_slot;
  BufferDecl decl = out_.program.buffers[static_cast<std::size_t>(source)];
  // No user's name has a colon.
  decl.name += std::string(maximum ? ":max" : ":min") + std::to_string(dimension);
  switch (loaded_type(decl.dtype)) {
    case Type::boolean:
      decl.dtype = DType::boolean;
      break;
    case Type::i64:
      decl.dtype = DType::i64;
      break;
    case Type::f32:
      decl.dtype = DType::f32;
      break;
    case Type::i32:
      decl.dtype = DType::i32;
      break;
  }
  out_.program.buffers.push_back(std::move(decl));
  out_.extrema.push_back({static_cast<int>(out_.program.buffers.size()) - 1, source, dimension, maximum});
  return out_.extrema.back().buffer_slot;
}

/// One index varies: minima and maxima of the runs it touches, and 0 where it may miss the buffer.
Range<Symbolic> Symbolic::load_runs(const ir::Program& program, const ir::Inst& inst, const Range<Symbolic>* values,
                                    int dimension) {
  const ValueRange all = ValueRange::unknown(program.buffers[static_cast<std::size_t>(inst.slot)].dtype);
  const Range<Symbolic>& index = values[inst.operands[static_cast<std::size_t>(dimension)]];
  const Scalar zero = integer(0), last_element = sub(extent(inst.slot, dimension), integer(1));
  const Scalar lo = max(index.lo, zero), hi = min(index.hi, last_element);
  const Truth outside = lor(lt(index.lo, zero), lt(last_element, index.hi));
  const Scalar granule = integer(options_.granule);
  const Scalar first_run = div(lo, granule), last_run = div(max(hi, zero), granule);
  // The largest power of two of runs that is not more than the stretch, from either end: together they cover it.
  const Scalar stretch = add(sub(last_run, first_run), integer(1));
  const Truth few = lt(stretch, integer(std::int64_t{1} << ClassifierProgram::levels));
  Scalar level = integer(0);
  for (int k = 1; k < ClassifierProgram::levels; ++k)
    level = select(le(integer(std::int64_t{1} << k), stretch), integer(k), level);
  const Scalar width = emit_.assume(emit_.exact(Op::shl, Type::i32, integer(1), level), 1,
                                    std::int64_t{1} << (ClassifierProgram::levels - 1));
  const Scalar runs = add(div(last_element, granule), integer(1));
  const Scalar row = mul(level, runs);
  const Scalar first_entry = add(row, first_run), last_entry = add(row, sub(add(last_run, integer(1)), width));

  auto extreme = [&](const Scalar& entry, bool maximum) {
    std::vector<ir::ValueId> at;
    for (int d = 0; d < inst.operand_count; ++d) {
      const ir::ValueId operand = inst.operands[static_cast<std::size_t>(d)];
      at.push_back(d == dimension ? emit_.as(entry, Emitter::fits32(entry) ? Type::i32 : Type::i64)
                                  : emit_.as(values[operand].lo, program[operand].type));
    }
    return emit_load(extrema_slot(inst.slot, dimension, maximum), inst.type, at);
  };
  const Truth unsure = lor(lnot(few), outside);
  if (inst.type == Type::boolean) {
    auto either = [&](bool maximum) {
      const Truth a{extreme(first_entry, maximum), std::nullopt}, b{extreme(last_entry, maximum), std::nullopt};
      return maximum ? lor(a, b) : land(a, b);
    };
    return truth<Symbolic>(lor(lnot(few), either(true)), lor(unsure, lnot(either(false))));
  }
  auto whole = [&](bool maximum) {
    const Scalar a{extreme(first_entry, maximum), all.lo, all.hi}, b{extreme(last_entry, maximum), all.lo, all.hi};
    const Scalar both = maximum ? max(a, b) : min(a, b);
    const Scalar padded = select(outside, maximum ? max(both, zero) : min(both, zero), both);
    return select(few, padded, integer(maximum ? all.hi : all.lo));
  };
  const Scalar least = whole(false), most = whole(true);
  return integers(*this, inst.type, least, most);
}

ClassifierProgram make_classifier(const ir::Program& mask_program, const ClassifierOptions& options) {
  ClassifierProgram result;
  result.granule = options.granule;
  result.program.params = mask_program.params;
  result.program.buffers = mask_program.buffers;
  result.first_range_param = static_cast<int>(result.program.params.size());
  for (const char* name : {"q_first", "q_last", "kv_first", "kv_last"}) add_param(result.program, name);

  Symbolic algebra(result, options);
  Range<Symbolic> verdict = decided_truth(algebra, algebra.boolean(true));
  if (mask_program.mask != ir::no_value) {
    std::vector<Range<Symbolic>> values(mask_program.insts.size());
    for (const ir::ValueId id : cone(mask_program, mask_program.mask))
      values[static_cast<std::size_t>(id)] = evaluate(algebra, mask_program, id, values.data());
    verdict = values[static_cast<std::size_t>(mask_program.mask)];
  }
  result.may_be_true = algebra.emitter().as_boolean(verdict.may_be_true);
  result.may_be_false = algebra.emitter().as_boolean(verdict.may_be_false);
  const auto always = [](const Truth& t) { return t.known && *t.known; };
  result.useful = !(always(verdict.may_be_true) && always(verdict.may_be_false));
  drop_unused(result);
  return result;
}

}  // namespace attnc::bounds
