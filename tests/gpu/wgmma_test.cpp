// SPDX-License-Identifier: Apache-2.0
// Every width of the matrix products of the Hopper kernel, on integers small enough that each sum is exact: one wrong
// operand, descriptor, step or register shows as a wrong number, never as rounding.
#include "tests/gpu/wgmma_source.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"
#include "tests/gpu/gpu_runner.h"

namespace attnc::testing {
namespace {

using cuda::check;
using cuda::driver;

/// Integers up to 8 are exact in both types.
std::uint16_t bits_of(int value, bool is_bf16) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (is_bf16) return static_cast<std::uint16_t>(bits >> 16);
  if (value == 0) return 0;
  const std::uint32_t exponent = (bits >> 23 & 0xff) - 127 + 15;
  return static_cast<std::uint16_t>((bits >> 31) << 15 | exponent << 10 | (bits >> 13 & 0x3ff));
}

struct Matrix {
  int rows, columns;
  std::vector<int> values;
  Matrix(int rows, int columns, std::mt19937& random) : rows(rows), columns(columns) {
    std::uniform_int_distribution<int> small(-8, 8);
    for (int i = 0; i < rows * columns; ++i) values.push_back(small(random));
  }
  int at(int row, int column) const { return values[static_cast<std::size_t>(row * columns + column)]; }
  DeviceBytes upload(bool is_bf16) const {
    DeviceBytes memory(values.size() * 2);
    std::vector<std::uint16_t> bits;
    for (const int value : values) bits.push_back(bits_of(value, is_bf16));
    memory.write(bits.data(), bits.size() * 2);
    return memory;
  }
};

class Products {
 public:
  explicit Products(bool is_bf16) : is_bf16_(is_bf16) {
    const std::string cubin =
        cuda::compile(wgmma_source(is_bf16, wgmma_widths()), plan::target_from_name("sm_90a")).cubin;
    check(driver().library_load_data(&library_, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0), "loading");
  }
  ~Products() { driver().library_unload(library_); }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// Runs `entry` on random operands; "" if every element is right.
  std::string problem(const std::string& entry, int n, bool transposed, std::mt19937& random) {
    const int depth = transposed ? wgmma_columns : wgmma_keys * wgmma_tiles;
    const Matrix a(64, depth, random), b = transposed ? Matrix(n, depth, random) : Matrix(depth, n, random);
    const DeviceBytes device_a = a.upload(is_bf16_), device_b = b.upload(is_bf16_);
    std::vector<float> result(static_cast<std::size_t>(64 * n), std::nanf(""));
    DeviceBytes device_d(result.size() * 4);
    device_d.write(result.data(), result.size() * 4);
    cuda::CUkernel kernel = nullptr;
    cuda::CUfunction function = nullptr;
    check(driver().library_get_kernel(&kernel, library_, entry.c_str()), "finding " + entry);
    check(driver().kernel_set_attribute(cuda::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, wgmma_smem_bytes, kernel,
                                        0),
          "shared memory of " + entry);
    check(driver().kernel_get_function(&function, kernel), "function of " + entry);
    std::byte *pointer_a = device_a.data(), *pointer_b = device_b.data(), *pointer_d = device_d.data();
    int never = 0;
    void* arguments[] = {&pointer_a, &pointer_b, &pointer_d, &never};
    check(driver().launch_kernel(function, 1, 1, 1, 128, 1, 1, wgmma_smem_bytes, nullptr, arguments, nullptr),
          "launching " + entry);
    device_d.read(result.data(), result.size() * 4);
    for (int row = 0; row < 64; ++row)
      for (int column = 0; column < n; ++column) {
        int expected = 0;
        for (int i = 0; i < depth; ++i) expected += a.at(row, i) * (transposed ? b.at(column, i) : b.at(i, column));
        const float got = result[static_cast<std::size_t>(row * n + column)];
        if (got != static_cast<float>(expected))
          return attnc::format("{}: element {}, {} is {}, not {}", entry, row, column, got, expected);
      }
    return "";
  }

 private:
  bool is_bf16_;
  cuda::CUlibrary library_ = nullptr;
};

class Wgmma : public ::testing::TestWithParam<bool> {};

TEST_P(Wgmma, EveryWidthIsExact) {
  ATTNC_REQUIRE_GPU();
  const cuda::DeviceInfo device = cuda::device_info(0);
  if (device.target.arch != 90) GTEST_SKIP() << "WGMMA is of sm_90a; this device is " << device.target.name();
  const GpuScope scope;
  Products products(GetParam());
  std::mt19937 random(7);
  for (const int n : wgmma_widths()) {
    EXPECT_EQ(products.problem(attnc::format("shared_{}", n), n, true, random), "");
    EXPECT_EQ(products.problem(attnc::format("register_{}", n), n, false, random), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Wgmma, ::testing::Values(true, false),
                         [](const auto& info) { return info.param ? "bf16" : "f16"; });

}  // namespace
}  // namespace attnc::testing
