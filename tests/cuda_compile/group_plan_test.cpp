// SPDX-License-Identifier: Apache-2.0
// Which calls are packed, into how many tiles and splits, and with which plan. Needs no GPU and no NVRTC.
#include <gtest/gtest.h>

#include "compiler/cuda/kernel_source.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "compiler/plan/candidates.h"
#include "dsl/stock.h"
#include "runtime/cuda/launch.h"
#include "tests/support/mod_cases.h"

namespace attnc::testing {
namespace {

ForwardCall call_of(int batch, int q_heads, int kv_heads, int q_len, int kv_len) {
  ForwardCall call;
  call.batch = batch, call.q_heads = q_heads, call.kv_heads = kv_heads, call.q_len = q_len, call.kv_len = kv_len;
  return call;
}

cuda::DeviceInfo h200() {
  cuda::DeviceInfo device;
  device.target = plan::target_from_name("sm_90a");
  device.target.smem_limit_bytes = 227 * 1024;
  device.multiprocessors = 132;
  return device;
}

cuda::KernelRequest request_of(int head_dim, const std::string& target = "sm_90a", DType dtype = DType::bf16) {
  cuda::KernelRequest request;
  request.target = plan::target_from_name(target);
  request.dtype = dtype;
  request.head_dim_qk = request.head_dim_v = head_dim;
  request.packs_groups = true;
  return request;
}

plan::TilePlan plan_of(const ModCase& mods, const cuda::KernelRequest& request) {
  return cuda::make_kernel_source(passes::canonicalize(ir::lower(mods.score, mods.mask)), request).plan;
}

std::string_view why_no_groups(const ModCase& mods, const cuda::KernelRequest& request) {
  return cuda::why_no_groups(passes::canonicalize(ir::lower(mods.score, mods.mask)), request);
}

int splits_of(int batch, int q_heads, int kv_heads, int q_len, int kv_len) {
  const plan::TilePlan plan = plan_of({}, request_of(128));
  const ForwardCall call = call_of(batch, q_heads, kv_heads, q_len, kv_len);
  return cuda::choose_kv_splits(plan, h200(), cuda::count_q_tiles(plan, call), kv_len);
}

TEST(GroupPlan, FewQueriesArePacked) {
  EXPECT_TRUE(cuda::suits_packed_groups(call_of(32, 32, 8, 1, 8192)));
  EXPECT_TRUE(cuda::suits_packed_groups(call_of(1, 28, 4, 16, 100)));
  EXPECT_TRUE(cuda::suits_packed_groups(call_of(1, 32, 1, 32, 1)));
  EXPECT_TRUE(cuda::suits_packed_groups(call_of(32, 8, 8, 16, 8192)));
  EXPECT_FALSE(cuda::suits_packed_groups(call_of(32, 8, 8, 17, 8192)));
  EXPECT_FALSE(cuda::suits_packed_groups(call_of(1, 32, 8, 33, 8192)));
  EXPECT_FALSE(cuda::suits_packed_groups(call_of(0, 0, 0, 1, 8192)));
  ForwardCall with_table = call_of(32, 32, 8, 1, 8192);
  const BlockMask mask;
  with_table.block_mask = &mask;
  EXPECT_FALSE(cuda::suits_packed_groups(with_table));
}

TEST(GroupPlan, TilesHoldPairsOfQueryAndHead) {
  const plan::TilePlan plan = plan_of({}, request_of(128));
  ASSERT_EQ(plan.tile_q, 64);
  EXPECT_EQ(cuda::count_q_tiles(plan, call_of(32, 32, 8, 1, 8192)), 32 * 8);
  EXPECT_EQ(cuda::count_q_tiles(plan, call_of(2, 28, 4, 9, 1)), 2 * 4);
  EXPECT_EQ(cuda::count_q_tiles(plan, call_of(2, 28, 4, 10, 1)), 2 * 4 * 2);
  EXPECT_EQ(cuda::count_q_tiles(plan, call_of(3, 32, 1, 5, 1)), 3 * 3);
}

TEST(GroupPlan, KeysAreSplitUntilTheDeviceIsBusy) {
  EXPECT_EQ(splits_of(32, 32, 8, 1, 8192), 1);
  EXPECT_EQ(splits_of(32, 28, 4, 1, 8192), 2);
  EXPECT_EQ(splits_of(8, 32, 8, 1, 8192), 3);
  EXPECT_EQ(splits_of(20, 32, 8, 1, 8192), 1);
  EXPECT_EQ(splits_of(64, 32, 8, 1, 4096), 2) << "a second wave of blocks is mostly idle";
  for (const int kv_heads : {1, 2, 8})
    for (const int kv_len : {8192, 32768, 131072}) {
      const int blocks = kv_heads * splits_of(1, 32, kv_heads, 1, kv_len);
      EXPECT_GE(blocks, kv_len == 8192 ? 64 : 132) << kv_heads << " kv heads, " << kv_len << " keys";
      EXPECT_LE(blocks, 3 * 132) << kv_heads << " kv heads, " << kv_len << " keys";
    }
  EXPECT_EQ(splits_of(0, 32, 8, 1, 8192), 1);
  EXPECT_EQ(splits_of(1, 32, 8, 1, 0), 1);
  EXPECT_EQ(splits_of(1, 32, 8, 1, 64), 1);
  EXPECT_EQ(splits_of(1, 32, 8, 1, 1), 1);
}

TEST(GroupPlan, OnlyAMaskThatReadsTheHeadIsInTheWay) {
  for (const ModCase& mods : all_cases()) {
    EXPECT_EQ(why_no_groups(mods, request_of(64)), mods.name == "window_per_head" ? "the mask reads h" : "")
        << mods.name;
  }
  EXPECT_NE(why_no_groups(ModCase{}, request_of(64, "sm_90a", DType::f32)), "");
}

/// The generated function that computes what is staged for each difference of a tile.
std::string diagonal_function(const ModCase& mods, const cuda::KernelRequest& request) {
  const std::string text =
      cuda::make_kernel_source(passes::canonicalize(ir::lower(mods.score, mods.mask)), request, false).text;
  const std::size_t begin = text.find(" Diagonal diagonal(");
  return begin == std::string::npos ? "" : text.substr(begin, text.find("\n  }\n", begin) - begin);
}

/// What is shared by a tile's rows must not depend on the head.
TEST(GroupPlan, ABiasByHeadIsNotStaged) {
  for (const ModCase& mods : all_cases()) {
    if (mods.name != "relative_bias") continue;
    cuda::KernelRequest request = request_of(64);
    const std::string packed = diagonal_function(mods, request);
    request.packs_groups = request.tensor_maps = false;
    const std::string other = diagonal_function(mods, request);
    EXPECT_NE(packed, "");
    EXPECT_EQ(packed.find("load("), std::string::npos) << packed;
    EXPECT_NE(other.find("load("), std::string::npos) << other;
    return;
  }
  FAIL() << "relative_bias is not among the cases";
}

TEST(GroupPlan, EveryCandidateFitsItsTarget) {
  for (const std::string target : {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"})
    for (const int head_dim : {8, 40, 64, 96, 128, 160, 192, 256}) {
      const cuda::KernelRequest request = request_of(head_dim, target);
      const plan::Problem problem = cuda::problem_of(request, {});
      for (const plan::TilePlan& plan : plan::candidates(problem, request.target)) {
        EXPECT_TRUE(plan.packs_groups);
        EXPECT_EQ(plan.family, plan::KernelFamily::sm80);
        EXPECT_EQ(plan.warps, 4);
        EXPECT_EQ(plan.rows_per_warp, 16);
        EXPECT_LE(plan.smem_bytes, request.target.smem_limit_bytes) << plan::print(plan);
      }
    }
}

TEST(GroupPlan, HasASignatureOfItsOwn) {
  const ir::Program program = passes::canonicalize(ir::lower({}, stock::causal()));
  cuda::KernelRequest packed = request_of(64), other = packed;
  other.packs_groups = other.tensor_maps = false;
  EXPECT_NE(cuda::make_signature(program, packed, "13.0", {}), cuda::make_signature(program, other, "13.0", {}));
  EXPECT_EQ(cuda::make_kernel_source(program, other).text.find("group_forward"), std::string::npos);
}

}  // namespace
}  // namespace attnc::testing
