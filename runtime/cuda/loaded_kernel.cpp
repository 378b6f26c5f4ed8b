// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/loaded_kernel.h"

#include "compiler/cuda/source.h"
#include "dsl/error.h"
#include "runtime/cuda/cubin.h"
#include "runtime/cuda/nvtx.h"

#include "dsl/format.h"

namespace attnc::cuda {
namespace {

bool is_refusal(CUresult result) {
  return result == CUDA_ERROR_INVALID_IMAGE || result == CUDA_ERROR_NO_BINARY_FOR_GPU ||
         result == CUDA_ERROR_INVALID_SOURCE || result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION ||
         result == CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

std::unique_ptr<LoadedKernel> LoadedKernel::load(std::string_view cubin, const plan::TilePlan& plan,
                                                 const ParamLayout& layout, const DeviceInfo& device,
                                                 std::string* why_refused) {
  const ProfileRange range("attnc load");
  const DriverApi& api = driver();
  std::unique_ptr<LoadedKernel> loaded(new LoadedKernel);
  loaded->plan_ = plan;
  loaded->layout_ = layout;
  const CUresult result =
      api.library_load_data(&loaded->library_, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0);
  if (is_refusal(result)) {
    *why_refused = describe(result);
    return nullptr;
  }
  check(result, "loading a kernel");

  const auto entry = [&](std::string_view name) {
    CUkernel kernel = nullptr;
    check(api.library_get_kernel(&kernel, loaded->library_, std::string(name).c_str()), "looking up a kernel");
    return kernel;
  };
  CUkernel forward = entry(forward_entry);
  check(api.kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, plan.smem_bytes, forward,
                                 device.handle),
        "reserving shared memory for a kernel");
  check(api.kernel_get_attribute(&loaded->local_bytes_, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, forward, device.handle),
        "asking for a kernel's stack");
  constexpr int writes_of_a_prologue = 2;
  if (loaded->local_bytes_ > 0) {
    const int writes = count_stack_pointer_writes(cubin, forward_entry);
    loaded->loses_stack_ = writes < 0 || writes > writes_of_a_prologue;
  }
  // The driver otherwise loads on the first launch, which may be under capture.
  check(api.kernel_get_function(&loaded->forward_, forward), "loading a kernel into the context");
  loaded->forward_ = reinterpret_cast<CUfunction>(forward);  // usable in every context, unlike the CUfunction
  if (plan.family == plan::KernelFamily::sm80) {
    CUkernel combine = entry(combine_entry);
    check(api.kernel_get_function(&loaded->combine_, combine), "loading a kernel into the context");
    loaded->combine_ = reinterpret_cast<CUfunction>(combine);
  }
  return loaded;
}

LoadedKernel::~LoadedKernel() {
  // At exit the driver may be gone already; then there is nothing left to unload.
  if (library_ != nullptr) driver().library_unload(library_);
}

}  // namespace attnc::cuda
