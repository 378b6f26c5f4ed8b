// SPDX-License-Identifier: Apache-2.0
// The record of a tuned plan: found again, and ignored whenever it does not fit.
#include "runtime/cuda/tuned_plans.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/error.h"
#include "dsl/stock.h"

namespace attnc::testing {
namespace {

namespace fs = std::filesystem;

class TunedPlans : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / "attnc-tuned-XXXXXX";
    std::string path = folder_.string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    folder_ = path;
    options_.directory = path;
    program_ = passes::canonicalize(ir::lower(stock::soft_cap(30.0f), stock::causal()));
    request_.target = plan::target_from_name("sm_90a");
    request_.head_dim_qk = request_.head_dim_v = 128;
    signature_ = cuda::make_signature(program_, request_, "13.0", {});
    plans_ = cuda::candidates(variant());
    ASSERT_GE(plans_.size(), 3u);
  }
  void TearDown() override {
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }

  cuda::TunedVariant variant(std::string_view device = "NVIDIA H200", int multiprocessors = 132) const {
    return {program_, request_, device, multiprocessors};
  }
  void remember(const plan::TilePlan& plan) { cuda::remember_tuned_plan(options_, variant(), signature_, plan); }
  std::optional<plan::TilePlan> find() const { return find(variant(), signature_); }
  std::optional<plan::TilePlan> find(const cuda::TunedVariant& variant, const std::string& signature) const {
    return cuda::find_tuned_plan(KernelCache(options_), variant, signature);
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.is_regular_file() && entry.path().filename().string().size() == 32) found.push_back(entry.path());
    return found;
  }

  fs::path folder_;
  KernelCacheOptions options_;
  ir::Program program_;
  cuda::KernelRequest request_;
  std::string signature_;
  std::vector<plan::TilePlan> plans_;
};

TEST_F(TunedPlans, NothingIsRememberedAtFirst) {
  EXPECT_EQ(find(), std::nullopt);
  EXPECT_TRUE(files().empty()) << "looking writes nothing";
}

TEST_F(TunedPlans, IsFoundAgain) {
  for (const plan::TilePlan& plan : plans_) {
    remember(plan);
    EXPECT_EQ(find(), plan) << "each replaces the one before";
  }
  EXPECT_EQ(files().size(), 1u);
  remember(plans_.back());
  EXPECT_EQ(find(), plans_.back()) << "the same again";
}

TEST_F(TunedPlans, IsForOneDeviceAndOneKernel) {
  remember(plans_[1]);
  EXPECT_EQ(find(variant("NVIDIA H100 PCIe", 114), signature_), std::nullopt);
  EXPECT_EQ(find(variant("NVIDIA H200", 131), signature_), std::nullopt);
  EXPECT_EQ(find(variant(), cuda::make_signature(program_, request_, "13.1", {})), std::nullopt) << "another NVRTC";
  request_.block_table = true;
  EXPECT_EQ(find(variant(), cuda::make_signature(program_, request_, "13.0", {})), std::nullopt) << "with a table";
}

TEST_F(TunedPlans, APlanThatIsNoCandidateIsIgnored) {
  plan::TilePlan plan = plans_[1];
  plan.smem_bytes += 1024;  // as a planner of another version could have printed it
  cuda::remember_tuned_plan(options_, variant(), signature_, plan);
  EXPECT_EQ(find(), std::nullopt);
}

TEST_F(TunedPlans, ADamagedRecordIsIgnoredAndReplaced) {
  remember(plans_[1]);
  ASSERT_EQ(files().size(), 1u);
  std::string bytes;
  {
    std::ifstream file(files()[0], std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  ASSERT_GT(bytes.size(), 100u);
  for (std::size_t at = 0; at < bytes.size(); at += 41) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    std::ofstream(files()[0], std::ios::binary) << damaged;
    EXPECT_EQ(find(), std::nullopt) << "byte " << at;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(files()[0], std::ios::binary) << bytes.substr(0, length);
    EXPECT_EQ(find(), std::nullopt) << length << " bytes";
  }
  remember(plans_[2]);
  EXPECT_EQ(find(), plans_[2]);
}

/// The kernel's own entry and the record of its plan lie side by side.
TEST_F(TunedPlans, IsNoKernel) {
  KernelCache cache(options_);
  cache.get_or_build(signature_, [] { return BuiltKernel{"a cubin", "its source"}; });
  EXPECT_EQ(find(), std::nullopt);
  remember(plans_[1]);
  EXPECT_EQ(KernelCache(options_).load(signature_)->binary, "a cubin");
  EXPECT_EQ(find(), plans_[1]);
  cache.clear();
  EXPECT_EQ(find(), std::nullopt);
}

TEST_F(TunedPlans, ACacheThatCannotBeWrittenIsAnError) {
  if (geteuid() == 0) {
    options_.directory = "/proc/attnc";  // root writes everywhere else
  } else {
    fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
  }
  EXPECT_THROW(remember(plans_[1]), Error);
  EXPECT_EQ(find(), std::nullopt);
}

}  // namespace
}  // namespace attnc::testing
