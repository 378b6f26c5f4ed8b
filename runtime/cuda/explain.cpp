// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/explain.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "compiler/cuda/block_mask_source.h"
#include "compiler/cuda/kernel_source.h"
#include "dsl/format.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/kernel_store.h"
#include "runtime/cuda/nvrtc_api.h"

namespace attnc::cuda {
namespace {

/// A file that is gone when the object is.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view bytes) {
    const char* folder = std::getenv("TMPDIR");
    path_ = attnc::format("{}/attnc-XXXXXX", folder != nullptr && *folder != '\0' ? folder : "/tmp");
    const int file = mkstemp(path_.data());
    if (file < 0) throw Error(ErrorCode::io, attnc::format("attnc: cannot write a temporary file {}", path_));
    bool written = true;
    for (std::size_t at = 0; written && at < bytes.size();) {
      const ssize_t count = write(file, bytes.data() + at, bytes.size() - at);
      written = count > 0;
      if (written) at += static_cast<std::size_t>(count);
    }
    close(file);
    if (!written) throw Error(ErrorCode::io, attnc::format("attnc: cannot write a temporary file {}", path_));
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Output of a shell command; empty if it fails.
std::string output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return {};
  std::string text;
  std::array<char, 4096> chunk{};
  for (std::size_t count; (count = fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) text.append(chunk.data(), count);
  return pclose(pipe) == 0 ? text : std::string();
}

std::string disassemble(const std::string& cubin) {
  const TemporaryFile file(cubin);
  for (const char* tool :
       {"nvdisasm -c", "/usr/local/cuda/bin/nvdisasm -c", "cuobjdump -sass", "/usr/local/cuda/bin/cuobjdump -sass"}) {
    std::string text = output_of(attnc::format("{} '{}'", tool, file.path()));
    if (!text.empty()) return text;
  }
  throw Error(
      ErrorCode::unsupported,
      "attnc: explain sass: no disassembler found; install nvdisasm (part of the CUDA toolkit) and put it on PATH");
}

/// The plan of a call without a block mask, that of one with few queries, and whether block masks of
/// this mask_mod keep elements as bits.
std::string explain_plan(const VariantSpec& spec, const KernelRequest& request) {
  std::string text = plan::print(make_kernel_source(spec.program, request).plan) + "\n";
  if (const std::string_view why = why_no_groups(spec.program, request); !why.empty()) {
    text += attnc::format("few queries: query heads of a kv head do not share tiles, {}\n", why);
  } else {
    KernelRequest with_groups = request;
    with_groups.packs_groups = true;
    text += attnc::format("few queries (query heads of a kv head share tiles):\n{}\n",
                          plan::print(make_kernel_source(spec.program, with_groups).plan));
  }
  if (spec.program.mask == ir::no_value || request.target.arch != 90) return text;
  KernelRequest with_bits = request;
  with_bits.block_table = true;
  with_bits.bit_mask = is_dear_to_evaluate(spec.program, request.target);
  const plan::TilePlan plan = make_kernel_source(spec.program, with_bits).plan;
  text += attnc::format("with a BlockMask of 128 x 128 blocks (elements of partial blocks {}):\n{}\n",
                        plan.bit_mask ? "as bits: the mask is dear to evaluate" : "evaluated", plan::print(plan));
  return text;
}

}  // namespace

std::string explain(const VariantSpec& spec, std::string_view stage, std::string_view target_name) {
  const plan::Target target = plan::target_from_name(target_name);
  const KernelRequest request = make_request(spec, KernelChoice{}, target);
  if (stage == "plan") return explain_plan(spec, request);
  if (stage == "signature") {
    return make_signature(spec.program, request, nvrtc().version_text(), compile_options(target));
  }
  if (stage == "cuda") return make_kernel_source(spec.program, request, /*line_directives=*/false).text;
  if (stage == "ptx" || stage == "sass") {
    const CompiledSource compiled = compile(make_kernel_source(spec.program, request).text, target, stage == "ptx");
    return stage == "ptx" ? compiled.ptx : disassemble(compiled.cubin);
  }
  throw Error(
      ErrorCode::invalid_argument,
      attnc::format(
          "attnc: explain: stage = \"{}\" is unknown for a GPU; there are ir, placement, bounds, plan, signature, "
          "cuda, ptx and sass",
          stage));
}

}  // namespace attnc::cuda
