// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/gpu_runner.h"

#include "compiler/ir/lower.h"
#include "tests/support/backend_checks.h"

namespace attnc::testing {

using cuda::check;
using cuda::driver;

namespace {

/// Gives q, k, v and out strides by which rows start one element beside the 16-byte grid. Contents stay.
void move_off_the_grid(Problem& problem) {
  for (GuardedTensor* tensor : {&problem.q, &problem.k, &problem.v, &problem.out}) {
    const TensorView source = tensor->view;
    const auto& shape = source.shape;
    GuardedTensor wide = GuardedTensor::create(source.dtype, {shape[0], shape[1], shape[2], shape[3] + 1});
    TensorView odd = wide.view;
    const auto element = size_bytes(source.dtype);
    odd.data = static_cast<std::byte*>(odd.data) + element;
    odd.shape[3] = shape[3];
    std::int64_t i[4] = {};
    for (i[0] = 0; i[0] < shape[0]; ++i[0])
      for (i[1] = 0; i[1] < shape[1]; ++i[1])
        for (i[2] = 0; i[2] < shape[2]; ++i[2])
          for (i[3] = 0; i[3] < shape[3]; ++i[3]) write_element(odd, i, read_element(source, i));
    wide.data_offset_bytes += element;
    wide.view = odd;
    *tensor = wide;
  }
}

}  // namespace

bool has_gpu() { return cuda::has_driver(); }

DeviceBytes::DeviceBytes(std::size_t bytes) : bytes_(bytes) {
  const GpuScope scope;
  check(driver().mem_alloc(&pointer_, std::max<std::size_t>(bytes, 1)), "allocating a test tensor");
}

DeviceBytes::DeviceBytes(const std::vector<std::byte>& host) : DeviceBytes(host.size()) {
  write(host.data(), host.size());
}

DeviceBytes::~DeviceBytes() {
  if (pointer_ == 0) return;
  const GpuScope scope;
  driver().mem_free(pointer_);
}

void DeviceBytes::read(void* host, std::size_t bytes, std::size_t offset) const {
  const GpuScope scope;
  check(driver().memcpy_dtoh_async(host, pointer_ + offset, bytes, nullptr), "reading a test tensor");
  check(driver().stream_synchronize(nullptr), "reading a test tensor");
}

void DeviceBytes::write(const void* host, std::size_t bytes, std::size_t offset) {
  const GpuScope scope;
  check(driver().memcpy_htod_async(pointer_ + offset, host, bytes, nullptr), "writing a test tensor");
  check(driver().stream_synchronize(nullptr), "writing a test tensor");
}

Stream::Stream() {
  const GpuScope scope;
  constexpr unsigned non_blocking = 1;
  check(driver().stream_create(&stream_, non_blocking), "creating a stream");
}

Stream::~Stream() {
  const GpuScope scope;
  driver().stream_destroy(stream_);
}

void Stream::synchronize() const {
  const GpuScope scope;
  check(driver().stream_synchronize(stream_), "running the kernel");
}

DeviceProblem::DeviceProblem(const Problem& problem, const ModCase& mods) {
  q = upload(problem.q);
  k = upload(problem.k);
  v = upload(problem.v);
  out_index_ = memory_.size();
  out = upload(problem.out);
  lse_index_ = memory_.size();
  lse = upload(problem.lse);
  const ir::Program program = ir::lower(mods.score, mods.mask);
  for (const BufferValue& buffer : problem.buffer_values(program)) {
    buffers.push_back({buffer.name, upload(problem.buffers.at(buffer.name))});
  }
  params = problem.param_values(program);
  scale = problem.scale;
}

TensorView DeviceProblem::upload(const GuardedTensor& tensor) {
  memory_.emplace_back(tensor.bytes);
  TensorView view = tensor.view;
  view.data = memory_.back().data() + tensor.data_offset_bytes;
  return view;
}

void DeviceProblem::forward(const Attention& attention, const BlockMask* block_mask, void* stream) {
  ForwardOptions options;
  options.lse = lse;
  options.scale = scale;
  options.params = params;
  options.buffers = buffers;
  options.block_mask = block_mask;
  options.stream = stream;
  attention.forward(q, k, v, out, options);
}

void DeviceProblem::download(Problem& problem) const {
  memory_[out_index_].read(problem.out.bytes.data(), problem.out.bytes.size());
  memory_[lse_index_].read(problem.lse.bytes.data(), problem.lse.bytes.size());
}

void DeviceProblem::poison(const Problem& problem) {
  memory_[out_index_].write(problem.out.bytes.data(), problem.out.bytes.size());
  memory_[lse_index_].write(problem.lse.bytes.data(), problem.lse.bytes.size());
}

void GpuRunner::forward(const Attention& attention, Problem& problem, const ModCase& mods,
                        const BlockMask* block_mask) {
  DeviceProblem device(problem, mods);
  const Stream stream;
  device.forward(attention, block_mask, stream.get());
  stream.synchronize();
  device.download(problem);
}

std::string judge_off_the_grid(const ProblemSpec& spec) {
  Problem problem(spec);
  move_off_the_grid(problem);
  GpuRunner runner;
  runner.forward(make_attention(causal_case(), spec, runner.device()), problem, causal_case(), nullptr);
  return problem.check(causal_case().score, causal_case().mask, 64);
}

AttentionOptions counting_options(const ModCase& mods, const ProblemSpec& spec,
                                  std::shared_ptr<std::atomic<int>> compiles) {
  AttentionOptions options;
  options.score_mod = mods.score;
  options.mask_mod = mods.mask;
  options.dtype = spec.dtype;
  options.head_dim = spec.head_dim;
  options.head_dim_v = spec.head_dim_v;
  options.device = Device::cuda(0);
  options.log = [compiles](std::string_view category, std::string_view) {
    if (category == "compile") ++*compiles;
  };
  return options;
}

}  // namespace attnc::testing
