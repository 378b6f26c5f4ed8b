// SPDX-License-Identifier: Apache-2.0
#include "timed_problem.h"

#include <charconv>
#include <cmath>

#include "dsl/format.h"
#include "dsl/text_source.h"
#include "progress.h"
#include "random_tensor.h"

namespace attnc::cli {
namespace {

using text::in_quotes;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

/// "1024,4096"
std::vector<int> parse_lengths(const char* option, const std::string& text) {
  std::vector<int> lengths;
  std::string_view rest = text;
  for (;;) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    int length = 0;
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + comma, length);
    if (status != std::errc() || end != rest.data() + comma || length < 1)
      refuse(attnc::format("{} {}: lengths are whole numbers from 1 on, several as in 1024,4096", option,
                           in_quotes(text)));
    lengths.push_back(length);
    if (comma == rest.size()) return lengths;
    rest.remove_prefix(comma + 1);
  }
}

std::vector<Lengths> pair_lengths(const ProblemArguments& arguments) {
  const std::vector<int> q = parse_lengths("--q-len", arguments.q_len);
  const std::vector<int> kv = arguments.kv_len.empty() ? q : parse_lengths("--kv-len", arguments.kv_len);
  if (kv.size() != q.size() && kv.size() != 1 && q.size() != 1)
    refuse(attnc::format("--kv-len {}: it has {} lengths and --q-len has {}; give one, or as many",
                         in_quotes(arguments.kv_len), kv.size(), q.size()));
  std::vector<Lengths> lengths;
  for (std::size_t i = 0; i < std::max(q.size(), kv.size()); ++i)
    lengths.push_back({q[q.size() == 1 ? 0 : i], kv[kv.size() == 1 ? 0 : i]});
  return lengths;
}

BoundMods bind(const ProblemArguments& arguments) {
  std::optional<SafetensorsFile> in;
  if (!arguments.in.empty()) in.emplace(arguments.in);
  return BoundMods(arguments.mods, in ? &*in : nullptr, true);
}

void provide_declared(ProblemSpec& spec, Lengths lengths) {
  unsigned seed = 100;
  for (const BufferDecl& buffer : spec.mods.declared())
    spec.mods.provide(
        buffer.name,
        random_tensor(buffer.dtype, shape_for(spec.mods, buffer, {spec.batch, spec.heads, lengths.q, lengths.kv}),
                      ++seed));
}

/// The same memory, its batches (or heads, where there is one batch) from the last to the first. The bulk tensor copy
/// engine takes no negative stride, so that such tensors run on the portable kernel, which does not mind.
TensorView backwards(TensorView view) {
  const std::size_t axis = view.shape[0] > 1 ? 0 : 1;
  const std::int64_t offset = (view.shape[axis] - 1) * view.stride_elems[axis];
  view.data = static_cast<std::byte*>(view.data) + offset * static_cast<std::int64_t>(size_bytes(view.dtype));
  view.stride_elems[axis] = -view.stride_elems[axis];
  return view;
}

}  // namespace

void declare_problem(CLI::App& app, ProblemArguments& arguments) {
  declare_mods(app, arguments.mods, true);
  app.get_option("--buffer")
      ->description(
          "A buffer the mods read: the tensor of that name in --in, or NAME:DTYPE/RANK for random contents "
          "(integers ascend from 0 to 11, as document ids do); may be repeated")
      ->type_name("NAME[=TENSOR|:DTYPE/RANK]");
  app.add_option("--in", arguments.in, "safetensors file with the tensors of --buffer")->type_name("FILE");
  app.add_option("--b,--batch", arguments.batch, "Batches")->type_name("B")->capture_default_str();
  app.add_option("--heads", arguments.heads, "Heads of q")->type_name("H")->capture_default_str();
  app.add_option("--kv-heads", arguments.kv_heads, "Heads of k and v; as --heads if left out")->type_name("H");
  app.add_option("--q-len", arguments.q_len, "Length of the queries; several as in 1024,4096")
      ->type_name("N[,N...]")
      ->capture_default_str();
  app.add_option("--kv-len", arguments.kv_len, "Length of the keys, one or as many; as --q-len if left out")
      ->type_name("N[,N...]");
  app.add_option("--head-dim", arguments.head_dim, "Head dimension of q and k")->type_name("D")->capture_default_str();
  app.add_option("--head-dim-v", arguments.head_dim_v, "Head dimension of v; as --head-dim if left out")
      ->type_name("D");
  app.add_option("--dtype", arguments.dtype, "f32, f16 or bf16; f32 on the CPU and bf16 on a GPU if left out")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("DTYPE");
  app.add_option("--block-size", arguments.block_size,
                 "Pass a BlockMask with blocks of this size; without, the kernel decides what to skip")
      ->type_name("QxKV");
  app.add_option("--element-bits", arguments.element_bits,
                 "GPU, with --block-size: keep the mask of partial blocks as bits; auto (where it is dear to "
                 "evaluate), always or never")
      ->type_name("WHEN");
  app.add_option("--repeats", arguments.repeats.runs, "Run exactly so often")
      ->check(CLI::Range(1, 1000000))
      ->type_name("N");
  app.add_option("--time-ms", arguments.repeats.time_ms, "Run for about this long, 5 to 1000 times")
      ->check(CLI::Range(1.0, 600000.0))
      ->type_name("MS")
      ->capture_default_str();
  app.add_flag("--precise", arguments.precise, "No approximate transcendental functions");
  app.add_flag("--portable", arguments.portable,
               "GPU: lay batches (or heads) out from last to first, which only the portable kernel takes");
}

ProblemSpec::ProblemSpec(const ProblemArguments& arguments)
    : mods(bind(arguments)), lengths(pair_lengths(arguments)), device(parse_device(arguments.device)) {
  batch = arguments.batch;
  heads = arguments.heads;
  kv_heads = arguments.kv_heads == 0 ? heads : arguments.kv_heads;
  head_dim = arguments.head_dim;
  head_dim_v = arguments.head_dim_v == 0 ? head_dim : arguments.head_dim_v;
  precise = arguments.precise;
  portable = arguments.portable;
  for (const auto& [option, value] : {std::pair{"--batch", batch}, {"--heads", heads}, {"--kv-heads", kv_heads}})
    if (value < 1) refuse(attnc::format("{} {}: it must be at least 1", option, value));
  if (heads % kv_heads != 0)
    refuse(attnc::format("--heads {} and --kv-heads {}: the heads of q must be a multiple of those of k and v", heads,
                         kv_heads));
  if (portable && batch == 1 && (heads == 1 || kv_heads == 1))
    refuse("--portable: it turns batches or heads around, and there is one of them");
  if (!arguments.block_size.empty()) {
    block_size = parse_block_size(arguments.block_size);
    if (mods.mask_mod.is_everything()) refuse("--block-size: there is no --mask-mod whose blocks could be decided");
  }
  element_bits = parse_element_bits(arguments.element_bits);
  if (!arguments.element_bits.empty() && !block_size) refuse("--element-bits: only blocks of --block-size have them");
  dtype = device.kind == Device::Kind::cuda ? DType::bf16 : DType::f32;
  for (const DType named : {DType::f32, DType::f16, DType::bf16})
    if (name(named) == arguments.dtype) dtype = named;
}

AttentionOptions ProblemSpec::options() const {
  AttentionOptions options;
  options.score_mod = mods.score_mod;
  options.mask_mod = mods.mask_mod;
  options.dtype = dtype;
  options.head_dim = head_dim;
  options.head_dim_v = head_dim_v;
  options.device = device;
  options.precise = precise;
  return options;
}

TimedProblem::TimedProblem(ProblemSpec& spec, Lengths lengths) : spec_(spec), lengths_(lengths) {
  const Progress progress("making tensors");
  provide_declared(spec, lengths);
  if (spec.device.kind == Device::Kind::cuda) cuda_.emplace(spec.device.index);
  q_ = random_tensor(spec.dtype, {spec.batch, spec.heads, lengths.q, spec.head_dim}, 1);
  k_ = random_tensor(spec.dtype, {spec.batch, spec.kv_heads, lengths.kv, spec.head_dim}, 2);
  v_ = random_tensor(spec.dtype, {spec.batch, spec.kv_heads, lengths.kv, spec.head_dim_v}, 3);
  out_ = HostTensor(spec.dtype, {spec.batch, spec.heads, lengths.q, spec.head_dim_v});
  q_view_ = placed(q_, true), k_view_ = placed(k_, true), v_view_ = placed(v_, true);
  out_memory_ = out_view_ = placed(out_, false);
  if (spec.portable)
    for (TensorView* view : {&q_view_, &k_view_, &v_view_, &out_view_}) *view = backwards(*view);

  values_ = spec.mods.all_values();
  for (BufferValue& buffer : values_.buffers)
    for (const auto& [name, tensor] : spec.mods.tensors())
      if (name == buffer.name) buffer.view = placed(tensor, true);
  if (spec.block_size) {
    const BoundMods::Values values = spec.mods.for_mask(values_);
    BlockMaskOptions options;
    options.block_size = *spec.block_size;
    options.device = spec.device;
    options.element_bits = spec.element_bits;
    options.params = values.params;
    options.buffers = values.buffers;
    block_mask_ = BlockMask::create(spec.mods.mask_mod, spec.mods.mask_reads(Input::b) ? spec.batch : 1,
                                    spec.mods.mask_reads(Input::h) ? spec.heads : 1, lengths.q, lengths.kv, options);
  }
}

TensorView TimedProblem::placed(const HostTensor& tensor, bool copy) {
  return cuda_ ? cuda_->place(tensor, copy) : tensor.view();
}

void TimedProblem::forward(const Attention& attention) const {
  ForwardOptions options;
  options.params = values_.params;
  options.buffers = values_.buffers;
  if (block_mask_) options.block_mask = &block_mask_;
  attention.forward(q_view_, k_view_, v_view_, out_view_, options);
}

void TimedProblem::synchronize() {
  if (cuda_) cuda_->synchronize();
}

Times TimedProblem::time(const Attention& attention, const Repeats& repeats, DeviceTimer* timer) const {
  const auto call = [&] { forward(attention); };
  return timer != nullptr ? timer->time(repeats, call) : time_host(repeats, call);
}

const HostTensor& TimedProblem::fetch() {
  if (cuda_) cuda_->fetch(out_memory_, out_);
  return out_;
}

double TimedProblem::dense_flop() const {
  return 2.0 * spec_.batch * spec_.heads * lengths_.q * lengths_.kv * (spec_.head_dim + spec_.head_dim_v);
}

double TimedProblem::bytes() const {
  double total = 0;
  for (const HostTensor* tensor : {&q_, &k_, &v_, &out_}) total += static_cast<double>(tensor->bytes().size());
  return total;
}

}  // namespace attnc::cli
