// SPDX-License-Identifier: Apache-2.0
#include "runtime/attention.h"

#include <limits>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/half.h"
#include "compiler/ir/lower.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/once.h"
#include "runtime/backend.h"
#include "runtime/cuda/nvtx.h"
#include "runtime/validate.h"

namespace attnc {
namespace {

std::unique_ptr<Backend> make_backend(const VariantSpec& spec) {
  if (spec.device.kind == Device::Kind::cuda) return make_cuda_backend(spec);
#ifdef ATTNC_CPU
  return make_cpu_backend(spec);
#else
  throw Error(ErrorCode::no_device, "this build of attnc has no CPU backend (ATTNC_CPU=OFF); use a CUDA device");
#endif
}

std::string explain_placement(const ir::Program& program) {
  const ir::Program kernel = passes::kernel_form(program);
  const std::vector<ir::Level> levels = passes::placement(kernel);
  std::string text = "; kernel form: score in log2 units from the unscaled dot product\n";
  const std::string printed = ir::print(kernel);
  std::size_t at = 0;
  while (at < printed.size()) {
    const std::size_t end = printed.find('\n', at);
    const std::string line = printed.substr(at, end - at);
    at = end + 1;
    if (line.starts_with('%')) {
      const auto id = static_cast<std::size_t>(std::stol(line.substr(1)));
      text += attnc::format("{:<48}; {}\n", line, name(levels[id]));
    } else {
      text += line + '\n';
    }
  }
  return text;
}

}  // namespace

struct Attention::Impl {
  AttentionOptions options;
  ir::Program declared;  // as the user wrote it
  VariantSpec spec;
  mutable Once made;
  mutable std::unique_ptr<Backend> made_backend;

  /// Made on first use: explaining a GPU variant needs no GPU.
  Backend& backend() const {
    made.run([this] { made_backend = make_backend(spec); });
    return *made_backend;
  }
};

void Backend::forward_without_keys(const ForwardCall& call) {
  const TensorView& out = call.out;
  for (std::int64_t b = 0; b < out.shape[0]; ++b)
    for (std::int64_t h = 0; h < out.shape[1]; ++h)
      for (std::int64_t q = 0; q < out.shape[2]; ++q) {
        const std::int64_t offset = b * out.stride_elems[0] + h * out.stride_elems[1] + q * out.stride_elems[2];
        const auto size = size_bytes(out.dtype);
        auto* row = static_cast<std::byte*>(out.data) + offset * static_cast<std::int64_t>(size);
        std::fill(row, row + static_cast<std::size_t>(out.shape[3]) * size, std::byte{0});
        if (!call.lse.empty())
          static_cast<float*>(call.lse.data)[b * call.lse.stride_elems[0] + h * call.lse.stride_elems[1] +
                                             q * call.lse.stride_elems[2]] = -std::numeric_limits<float>::infinity();
      }
}

Attention::Attention(AttentionOptions options) {
  if (options.head_dim_v == 0) options.head_dim_v = options.head_dim;
  validate_options(options);
  auto impl = std::make_shared<Impl>();
  impl->declared = ir::lower(options.score_mod, options.mask_mod);
  impl->spec = VariantSpec{passes::canonicalize(impl->declared),
                           options.dtype,
                           options.head_dim,
                           options.head_dim_v,
                           options.precise,
                           options.device,
                           options.cache_dir,
                           options.log};
  impl->options = std::move(options);
  impl_ = std::move(impl);
}

void Attention::prepare() const {
  const ProfileRange range("attnc prepare");
  impl_->backend().prepare();
}

void Attention::forward(const TensorView& q, const TensorView& k, const TensorView& v, const TensorView& out,
                        const ForwardOptions& options) const {
  const ProfileRange range("attnc forward");
  const ForwardCall call = validate_forward(impl_->spec, impl_->declared, q, k, v, out, options);
  if (call.batch == 0 || call.q_heads == 0 || call.q_len == 0) return;
  if (call.kv_len == 0)
    impl_->backend().forward_without_keys(call);
  else
    impl_->backend().forward(call);
}

const AttentionOptions& Attention::options() const { return impl_->options; }

std::string Attention::explain(std::string_view stage, std::string_view target) const {
  if (stage == "ir") return ir::print(impl_->spec.program);
  if (stage == "placement") return explain_placement(impl_->spec.program);
  if (stage == "bounds") return bounds::explain_bounds(impl_->spec.program);
  return impl_->backend().explain(stage, target);
}

}  // namespace attnc
