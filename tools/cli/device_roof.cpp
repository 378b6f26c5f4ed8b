// SPDX-License-Identifier: Apache-2.0
// The tensor-core bound and the copy bandwidth of a GPU, by kernels of a few lines.

#include "roof.h"
#include "runtime/cuda/compile.h"

#include "dsl/format.h"

namespace attnc::cli {
namespace {

using cuda::check;
using cuda::driver;

constexpr std::size_t copy_bytes = std::size_t{256} << 20;
/// Long enough for the clock to settle where the power limit puts it, as it does under an attention kernel.
constexpr Repeats settled{0, 300}, few{15, 0};

constexpr const char* copy_source = R"cuda(
extern "C" __global__ void __launch_bounds__(512) copy(const uint4* from, uint4* to, unsigned long long count) {
  for (unsigned long long i = blockIdx.x * 512ull + threadIdx.x; i < count; i += gridDim.x * 512ull) to[i] = from[i];
}
__device__ unsigned hash(unsigned x) {
  x ^= x >> 16; x *= 0x7feb352du; x ^= x >> 15; x *= 0x846ca68bu; x ^= x >> 16;
  return x;
}
)cuda";

/// A kernel `tensor_loop(float* sink, int iterations)`, how it is launched, and what it does.
struct TensorLoop {
  std::string source;
  int threads, ctas_per_sm, smem_bytes, iterations;
  double flop_per_iteration;  ///< of a CTA
  double share = 1;           ///< of the rate that counts
  const char* what;
};

/// Two random 16-bit values in [0.5, 1) with either sign.
const char* random_pair(DType dtype) {
  return dtype == DType::f16 ? "(hash(x) & 0x83ff83ffu | 0x38003800u)" : "(hash(x) & 0x807f807fu | 0x3f003f00u)";
}

/// Two warpgroups take turns at m64n256k16, operands in shared memory in the layout of the 128-byte swizzle. With
/// random contents the layout's order does not matter, but its bank conflicts do.
TensorLoop wgmma_loop(DType dtype) {
  constexpr int accumulators = 128, steps = 16;
  std::string list, operands;
  for (int i = 0; i < accumulators; ++i) {
    list += attnc::format("{}%{}", i == 0 ? "" : ", ", i);
    operands += attnc::format("{}\"+f\"(sums[{}])", i == 0 ? "" : ", ", i);
  }
  const char* type = dtype == DType::f16 ? "f16" : "bf16";
  std::string source = copy_source;
  source += attnc::format(R"cuda(
extern "C" __global__ void __launch_bounds__(256, 1) tensor_loop(float* sink, int iterations) {{
  extern __shared__ __align__(1024) unsigned words[];
  for (unsigned i = threadIdx.x; i < 12288; i += 256) {{
    const unsigned x = i + 12288 * blockIdx.x;
    words[i] = {};
  }}
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  const unsigned long long base = (1ull << 62) | (64ull << 32) | (1ull << 16);
  unsigned address;
  asm("{{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }}" : "=r"(address) : "l"(words));
  const unsigned long long a = base | (address + threadIdx.x / 128 * 8192) >> 4, b = base | (address + 16384) >> 4;
  float sums[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) sums[i] = 0;
  for (int i = 0; i < iterations; ++i) {{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int step = 0; step < {}; ++step)
      asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.{}.{} {{{}}}, %{}, %{}, 1, 1, 1, 0, 0;"
                   : {} : "l"(a + step % 4 * 2), "l"(b + step % 4 * 2));
    asm volatile("wgmma.commit_group.sync.aligned;\n wgmma.wait_group.sync.aligned 0;" ::: "memory");
  }}
  float total = 0;
#pragma unroll
  for (int i = 0; i < 128; ++i) total += sums[i];
  if (total == 12345.678f) *sink = total;
}}
)cuda",
                          random_pair(dtype), steps, type, type, list, accumulators, accumulators + 1, operands);
  return {std::move(source),
          256,
          1,
          49152,
          800,
          2.0 * steps * 2 * 64 * 256 * 16,
          1,
          "WGMMA on random operands in shared memory"};
}

/// Eight warps a CTA, eight independent sums a warp.
TensorLoop mma_loop(DType dtype) {
  const bool tf32 = dtype == DType::f32;
  const char* shape = tf32                  ? "m16n8k8.row.col.f32.tf32.tf32.f32"
                      : dtype == DType::f16 ? "m16n8k16.row.col.f32.f16.f16.f32"
                                            : "m16n8k16.row.col.f32.bf16.bf16.f32";
  std::string source = copy_source;
  source += attnc::format(R"cuda(
extern "C" __global__ void __launch_bounds__(256, 2) tensor_loop(float* sink, int iterations) {{
  unsigned words[6];
  for (int i = 0; i < 6; ++i) {{
    const unsigned x = 6 * (blockIdx.x * 256 + threadIdx.x) + i;
    words[i] = {};
  }}
  float sums[8][4] = {{}};
  for (int i = 0; i < iterations; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j)
      asm volatile("mma.sync.aligned.{} {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
                   : "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])
                   : "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]), "r"(words[4]), "r"(words[5]));
  float total = 0;
#pragma unroll
  for (int j = 0; j < 8; ++j) total += sums[j][0] + sums[j][1] + sums[j][2] + sums[j][3];
  if (total == 12345.678f) *sink = total;
}}
)cuda",
                          tf32 ? "(hash(x) & 0x807fe000u | 0x3f000000u)" : random_pair(dtype), shape);
  const double flop = 8.0 * 8 * 2 * 16 * 8 * (tf32 ? 8 : 16);
  return {std::move(source),
          256,
          2,
          0,
          8000,
          flop,
          tf32 ? 1.0 / 3 : 1.0,
          tf32 ? "a third of mma.sync TF32 on random operands" : "mma.sync on random operands"};
}

/// A compiled source in the driver.
class Module {
 public:
  explicit Module(const std::string& cubin) {
    check(driver().library_load_data(&library_, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
          "loading the kernels of the roof");
  }
  ~Module() { driver().library_unload(library_); }
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  cuda::CUkernel kernel(const char* name) const {
    cuda::CUkernel kernel = nullptr;
    check(driver().library_get_kernel(&kernel, library_, name), "looking up a kernel of the roof");
    return kernel;
  }

 private:
  cuda::CUlibrary library_ = nullptr;
};

class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes) {
    check(driver().mem_alloc(&pointer_, bytes), "allocating what the roof copies");
  }
  ~DeviceBytes() { driver().mem_free(pointer_); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  cuda::CUdeviceptr pointer() const { return pointer_; }

 private:
  cuda::CUdeviceptr pointer_ = 0;
};

void launch(cuda::CUkernel kernel, int ctas, int threads, int smem_bytes, void** arguments) {
  check(driver().launch_kernel(reinterpret_cast<cuda::CUfunction>(kernel), static_cast<unsigned>(ctas), 1, 1,
                               static_cast<unsigned>(threads), 1, 1, static_cast<unsigned>(smem_bytes), nullptr,
                               arguments, nullptr),
        "launching a kernel of the roof");
}

TensorLoop loop_for(DType dtype, const plan::Target& target) {
  const bool hopper = target.arch == 90 && target.arch_specific && dtype != DType::f32;
  return hopper ? wgmma_loop(dtype) : mma_loop(dtype);
}

}  // namespace

std::string roof_source(DType dtype, const plan::Target& target) { return loop_for(dtype, target).source; }

Roof measure_device_roof(const cuda::DeviceInfo& device, DType dtype, DeviceTimer& timer) {
  const TensorLoop loop = loop_for(dtype, device.target);
  const Module module(cuda::compile(loop.source, device.target).cubin);
  Roof roof;
  roof.what = loop.what;

  DeviceBytes from(copy_bytes), to(copy_bytes);
  // Zeros would cost less power than data does.
  check(driver().memset_d32_async(from.pointer(), 0x5a5aa5a5u, copy_bytes / 4, nullptr), "filling memory");
  cuda::CUdeviceptr source = from.pointer(), destination = to.pointer();
  unsigned long long count = copy_bytes / 16;
  void* copy_arguments[] = {&source, &destination, &count};
  const cuda::CUkernel copy = module.kernel("copy");
  const double copy_ms =
      timer.time(few, [&] { launch(copy, 8 * device.multiprocessors, 512, 0, copy_arguments); }).median();
  roof.copy_gbps = 2.0 * static_cast<double>(copy_bytes) / copy_ms / 1e6;

  int iterations = loop.iterations;
  void* loop_arguments[] = {&destination, &iterations};
  const cuda::CUkernel tensor_loop = module.kernel("tensor_loop");
  if (loop.smem_bytes > 0) {
    check(driver().kernel_set_attribute(cuda::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, loop.smem_bytes,
                                        tensor_loop, device.handle),
          "reserving shared memory for the roof");
  }
  const int ctas = loop.ctas_per_sm * device.multiprocessors;
  const double loop_ms =
      timer.time(settled, [&] { launch(tensor_loop, ctas, loop.threads, loop.smem_bytes, loop_arguments); }).median();
  roof.tflops = loop.share * loop.flop_per_iteration * iterations * ctas / loop_ms / 1e9;
  return roof;
}

}  // namespace attnc::cli
