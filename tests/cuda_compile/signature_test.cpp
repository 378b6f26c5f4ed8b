// SPDX-License-Identifier: Apache-2.0
// Same meaning, same key; anything that changes the binary, another key.
#include <gtest/gtest.h>

#include <set>

#include "compiler/cuda/kernel_source.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/stock.h"

namespace attnc::testing {
namespace {

cuda::KernelRequest base_request() {
  cuda::KernelRequest request;
  request.target = plan::target_from_name("sm_80");
  return request;
}

std::string signature(const ScoreMod& score, const MaskMod& mask, const cuda::KernelRequest& request = base_request(),
                      const std::string& nvrtc = "13.0", const std::vector<std::string>& flags = {"--std=c++17"}) {
  return cuda::make_signature(passes::canonicalize(ir::lower(score, mask)), request, nvrtc, flags);
}

TEST(Signature, TextLambdaAndNamesDoNotMatter) {
  const std::string lambda = signature(
      score_mod([cap = param("cap", 30.0f)](Score s, Index, Index, Index, Index) { return cap * tanh(s / cap); }), {});
  Captures captures;
  captures.params.push_back({"another_name", Type::f32, 50.0, 0, true});
  EXPECT_EQ(lambda, signature(score_mod("another_name * tanh(score / another_name)", captures), {}));
  EXPECT_EQ(signature({}, stock::causal()), signature({}, mask_mod("q_idx >= kv_idx")));
}

TEST(Signature, WhateverChangesTheBinaryChangesTheKey) {
  const auto request = [](auto&& change) {
    cuda::KernelRequest r = base_request();
    change(r);
    return r;
  };
  const std::vector<std::string> all = {
      signature({}, {}),
      signature(stock::soft_cap(30.0f), {}),
      signature(stock::soft_cap(31.0f), {}),
      signature(stock::soft_cap(param("cap", 30.0f)), {}),
      signature({}, stock::causal()),
      signature({}, {}, request([](auto& r) { r.target = plan::target_from_name("sm_86"); })),
      signature({}, {}, request([](auto& r) { r.target = plan::target_from_name("sm_90"); })),
      signature({}, {}, request([](auto& r) { r.target = plan::target_from_name("sm_90a"); })),
      signature({}, {}, request([](auto& r) { r.dtype = DType::f16; })),
      signature({}, {}, request([](auto& r) { r.dtype = DType::f32; })),
      signature({}, {}, request([](auto& r) { r.head_dim_v = 32; })),
      signature({}, {}, request([](auto& r) { r.block_table = true; })),
      signature({}, {}, request([](auto& r) { r.vector_bytes = 2; })),
      signature(stock::soft_cap(30.0f), {}, request([](auto& r) { r.precise = true; })),
      signature({}, {}, base_request(), "12.8"),
      signature({}, {}, base_request(), "13.0", {"--std=c++17", "--ftz=true"}),
  };
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), all.size());
}

TEST(Signature, LiteralsAreExact) {
  EXPECT_NE(signature(stock::soft_cap(30.0f), {}), signature(stock::soft_cap(30.000002f), {}));
}

}  // namespace
}  // namespace attnc::testing
