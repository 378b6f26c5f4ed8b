// SPDX-License-Identifier: Apache-2.0
// What the examples share, so that each can show one thing: memory that the chosen device can read, random tensors, and
// attention as a plain loop to compare with. Not part of attnc.
#pragma once

#include <attnc/attnc.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

namespace example {

/// CUDA's managed memory, which host and device both read, through the driver alone. A program of yours has its own.
class Gpu {
 public:
  static const Gpu* get() {  // null: no GPU, or ATTNC_EXAMPLE_DEVICE=cpu
    static const Gpu gpu;
    return gpu.ready_ ? &gpu : nullptr;
  }
  void* allocate(std::size_t bytes) const {
    unsigned long long pointer = 0;
    constexpr unsigned attach_global = 1;
    if (allocate_managed_(&pointer, bytes, attach_global) != 0) throw std::bad_alloc();
    return reinterpret_cast<void*>(pointer);
  }
  void free(void* pointer) const { free_(reinterpret_cast<unsigned long long>(pointer)); }
  void synchronize() const {
    if (synchronize_() != 0) throw attnc::Error(attnc::ErrorCode::internal, "the GPU reports an error");
  }

 private:
  Gpu() {
    const char* wanted = std::getenv("ATTNC_EXAMPLE_DEVICE");
    void* driver = wanted != nullptr && std::string_view(wanted) == "cpu" ? nullptr : dlopen("libcuda.so.1", RTLD_NOW);
    if (driver == nullptr) return;
    int device = 0;
    void* context = nullptr;
    ready_ = entry<int (*)(unsigned)>(driver, "cuInit")(0) == 0 &&
             entry<int (*)(int*, int)>(driver, "cuDeviceGet")(&device, 0) == 0 &&
             entry<int (*)(void**, int)>(driver, "cuDevicePrimaryCtxRetain")(&context, device) == 0 &&
             entry<int (*)(void*)>(driver, "cuCtxSetCurrent")(context) == 0;
    allocate_managed_ = entry<decltype(allocate_managed_)>(driver, "cuMemAllocManaged");
    free_ = entry<decltype(free_)>(driver, "cuMemFree_v2");
    synchronize_ = entry<decltype(synchronize_)>(driver, "cuCtxSynchronize");
  }
  template <class Function>
  static Function entry(void* library, const char* name) {
    return reinterpret_cast<Function>(dlsym(library, name));
  }
  bool ready_ = false;
  int (*allocate_managed_)(unsigned long long*, std::size_t, unsigned) = nullptr;
  int (*free_)(unsigned long long) = nullptr;
  int (*synchronize_)() = nullptr;
};

inline attnc::Device device() { return Gpu::get() ? attnc::Device::cuda() : attnc::Device::cpu(); }
inline void synchronize() {
  if (Gpu::get()) Gpu::get()->synchronize();
}

/// An allocator for std::vector whose memory `device()` can read.
template <class T>
struct Allocator {
  using value_type = T;
  Allocator() = default;
  template <class U>
  Allocator(const Allocator<U>&) {}  // NOLINT: allocators convert
  T* allocate(std::size_t n) {
    return static_cast<T*>(Gpu::get() ? Gpu::get()->allocate(n * sizeof(T)) : ::operator new(n * sizeof(T)));
  }
  void deallocate(T* p, std::size_t) { Gpu::get() ? Gpu::get()->free(p) : ::operator delete(p); }
  bool operator==(const Allocator&) const { return true; }
};
template <class T>
using Array = std::vector<T, Allocator<T>>;

/// [B, H, S, D], contiguous, f32.
struct Tensor {
  int B, H, S, D;
  Array<float> data;
  Tensor(int b, int h, int s, int d) : B(b), H(h), S(s), D(d), data(static_cast<std::size_t>(b) * h * s * d) {}
  float* row(int b, int h, int s) { return &data[((static_cast<std::size_t>(b) * H + h) * S + s) * D]; }
  attnc::TensorView view() { return {data.data(), attnc::DType::f32, {B, H, S, D}}; }
};

inline Tensor random(int B, int H, int S, int D, unsigned seed) {
  Tensor tensor(B, H, S, D);
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal;
  std::generate(tensor.data.begin(), tensor.data.end(), [&] { return normal(bits); });
  return tensor;
}

/// Attention as a loop: score(s, b, h, q, kv) and keep(b, h, q, kv) are ordinary functions. Returns the greatest
/// difference to `out`; NaN counts as infinite.
template <class Score, class Keep>
double difference_to_loop(Tensor& q, Tensor& k, Tensor& v, Tensor& out, Score&& score, Keep&& keep) {
  synchronize();
  double worst = 0;
  std::vector<double> p(static_cast<std::size_t>(k.S));
  for (int b = 0; b < q.B; ++b)
    for (int h = 0; h < q.H; ++h)
      for (int i = 0; i < q.S; ++i) {
        double sum = 0;
        for (int j = 0; j < k.S; ++j) {
          float dot = 0;
          for (int d = 0; d < q.D; ++d) dot += q.row(b, h, i)[d] * k.row(b, h, j)[d];
          const float s = dot / std::sqrt(static_cast<float>(q.D));
          sum += p[j] = keep(b, h, i, j) ? std::exp(static_cast<double>(score(s, b, h, i, j))) : 0;
        }
        for (int d = 0; d < v.D; ++d) {
          double expected = 0;
          for (int j = 0; j < k.S; ++j) expected += p[j] * v.row(b, h, j)[d];
          const double difference = std::abs(out.row(b, h, i)[d] - (sum > 0 ? expected / sum : 0));
          worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
        }
      }
  return worst;
}

/// Prints the verdict and returns the exit status. A GPU approximates exp2 and tanh, and may round products to TF32
/// pairs.
inline int verdict(const char* name, double difference) {
  const double allowed = Gpu::get() ? 1e-2 : 1e-4;
  std::printf("%s: greatest difference to the plain loop %.2e (at most %.0e) on the %s\n", name, difference, allowed,
              Gpu::get() ? "GPU" : "CPU");
  return difference <= allowed ? 0 : 1;
}

/// Runs an example's body. 77 tells CTest that it was skipped.
template <class Body>
int run(Body&& body) {
  try {
    return body();
  } catch (const attnc::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.code() == attnc::ErrorCode::no_device ? 77 : 1;
  }
}

}  // namespace example
