// SPDX-License-Identifier: Apache-2.0
// The plans that attnc tune measures: valid, different, and not spilling.
#include "compiler/plan/candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "compiler/cuda/kernel_source.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"
#include "runtime/cuda/tuned_plans.h"
#include "tests/support/mod_cases.h"

namespace attnc::testing {
namespace {

const std::vector<std::string> targets = {"sm_80", "sm_86", "sm_90a", "sm_100a", "sm_120a"};

struct Variant {
  std::string name;
  ir::Program program;
  cuda::KernelRequest request;
};

Variant make_variant(const ModCase& mods, const std::string& target, DType dtype, int head_dim, int kv_block = 0) {
  Variant variant{attnc::format("{} {} {} D={} {}", mods.name, target, name(dtype), head_dim,
                                kv_block > 0 ? attnc::format("table({})", kv_block) : ""),
                  passes::canonicalize(ir::lower(mods.score, mods.mask)),
                  {}};
  variant.request.target = plan::target_from_name(target);
  variant.request.dtype = dtype;
  variant.request.head_dim_qk = variant.request.head_dim_v = head_dim;
  variant.request.block_table = kv_block > 0;
  if (kv_block > 0) variant.request.kv_block = kv_block;
  return variant;
}

std::vector<plan::TilePlan> candidates_of(const Variant& variant) {
  return cuda::candidates({variant.program, variant.request, "a device", 132});
}

const ModCase softcap{"softcap", stock::soft_cap(30.0f), {}, {}};
const ModCase causal{"causal", {}, stock::causal(), {}};
const ModCase alibi{"causal_alibi", stock::alibi(), stock::causal(), {}};

TEST(Candidates, AreValidAndDifferentAndBeginWithThePlannersOwn) {
  for (const ModCase& mods : all_cases())
    for (const std::string& target : targets)
      for (const DType dtype : {DType::bf16, DType::f32})
        for (const int head_dim : {32, 64, 96, 128, 192, 256})
          for (const int kv_block : {0, 64, 128}) {
            const Variant variant = make_variant(mods, target, dtype, head_dim, kv_block);
            const std::vector<plan::TilePlan> plans = candidates_of(variant);
            const plan::TilePlan own = cuda::make_kernel_source(variant.program, variant.request).plan;
            ASSERT_FALSE(plans.empty()) << variant.name;
            EXPECT_EQ(plans[0], own) << variant.name;
            for (std::size_t i = 0; i < plans.size(); ++i) {
              const plan::TilePlan& plan = plans[i];
              const std::string text = variant.name + " " + plan::print(plan);
              EXPECT_EQ(plan.family, own.family) << text;
              EXPECT_LE(plan.smem_bytes, variant.request.target.smem_limit_bytes) << text;
              EXPECT_EQ(std::count(plans.begin(), plans.end(), plan), 1) << text;
              EXPECT_EQ(plan.head_dim_qk, head_dim) << text;
              EXPECT_EQ(plan.block_table, kv_block > 0) << text;
              EXPECT_TRUE(kv_block == 0 || kv_block % plan.tile_kv == 0) << text;
              if (plan.family == plan::KernelFamily::sm90) {
                EXPECT_EQ(plan.tile_q, 64 * plan.consumer_warpgroups) << text;
                EXPECT_EQ(plan.threads, 128 * (plan.consumer_warpgroups + 1)) << text;
                // Three warpgroups lie across two block rows.
                EXPECT_TRUE(kv_block == 0 || 128 % plan.tile_q == 0 || plan.tile_q == 192) << text;
              } else {
                EXPECT_EQ(plan.tile_q, plan.warps * plan.rows_per_warp) << text;
                EXPECT_EQ(plan.threads, 32 * plan.warps) << text;
                EXPECT_EQ(plan.tile_kv % plan.step_kv, 0) << text;
              }
            }
          }
}

TEST(Candidates, ThereIsSomethingToChooseFrom) {
  for (const std::string& target : targets)
    for (const int head_dim : {64, 128, 256})
      EXPECT_GE(candidates_of(make_variant(causal, target, DType::bf16, head_dim)).size(), 3u) << target << head_dim;
}

/// A plan is part of the signature, so that tuning finds another kernel and never replaces one.
TEST(Candidates, EachHasASignatureAndATextOfItsOwn) {
  Variant variant = make_variant(softcap, "sm_90a", DType::bf16, 128);
  std::vector<std::string> signatures, texts;
  for (const plan::TilePlan& plan : candidates_of(variant)) {
    variant.request.plan = plan;
    signatures.push_back(cuda::make_signature(variant.program, variant.request, "13.0", {}));
    texts.push_back(cuda::make_kernel_source(variant.program, variant.request).text);
    EXPECT_EQ(cuda::make_kernel_source(variant.program, variant.request).plan, plan);
  }
  for (std::vector<std::string>* all : {&signatures, &texts}) {
    std::sort(all->begin(), all->end());
    EXPECT_EQ(std::adjacent_find(all->begin(), all->end()), all->end());
  }
  variant.request.plan.reset();
  const std::string planned = cuda::make_signature(variant.program, variant.request, "13.0", {});
  variant.request.plan = candidates_of(variant)[0];
  EXPECT_EQ(cuda::make_signature(variant.program, variant.request, "13.0", {}), planned) << "the planner's own";
}

/// Each candidate compiles, and none spills for mods as light as these.
TEST(Candidates, CompileWithoutSpills) {
  try {
    cuda::nvrtc();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const ModCase plain{"plain", {}, {}, {}};
  std::vector<Variant> variants = {
      make_variant(plain, "sm_90a", DType::bf16, 64), make_variant(causal, "sm_90a", DType::bf16, 128, 128),
      make_variant(plain, "sm_90a", DType::bf16, 256), make_variant(causal, "sm_80", DType::bf16, 64)};
  if (std::getenv("ATTNC_COMPILE_ALL") != nullptr)
    for (const std::string& target : targets)
      for (const ModCase& mods : {plain, softcap, causal, alibi})
        for (const int head_dim : {64, 96, 128, 192, 256})
          variants.push_back(make_variant(mods, target, DType::bf16, head_dim));
  struct Job {
    Variant variant;
    bool own;
  };
  std::vector<Job> jobs;
  for (const Variant& variant : variants) {
    const std::vector<plan::TilePlan> plans = candidates_of(variant);
    for (const plan::TilePlan& plan : plans) {
      jobs.push_back({variant, plan == plans[0]});
      jobs.back().variant.request.plan = plan;
    }
  }
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  const auto work = [&] {
    for (std::size_t i; (i = next++) < jobs.size();) {
      const Variant& variant = jobs[i].variant;
      std::string problem;
      try {
        const cuda::KernelSource source = cuda::make_kernel_source(variant.program, variant.request);
        const cuda::CompiledSource compiled = cuda::compile(source.text, variant.request.target);
        const cuda::ResourceUsage usage = compiled.usage_of(cuda::forward_entry);
        if (usage.registers == 0) problem = "no resource report";
        if (usage.spill_store_bytes > 0) problem = attnc::format("{} bytes spilled", usage.spill_store_bytes);
        if (source.plan.smem_bytes + usage.static_smem_bytes > variant.request.target.smem_limit_bytes)
          problem += " too much shared memory";
      } catch (const Error& error) {
        problem = error.what();
      }
      if (problem.empty()) continue;
      const std::lock_guard lock(mutex);
      ADD_FAILURE() << variant.name << " " << plan::print(*variant.request.plan) << ": " << problem.substr(0, 2000);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::max(1u, std::thread::hardware_concurrency()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  RecordProperty("compiled", static_cast<int>(jobs.size()));
}

}  // namespace
}  // namespace attnc::testing
