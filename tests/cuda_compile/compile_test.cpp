// SPDX-License-Identifier: Apache-2.0
// Compiles variants for every architecture without a GPU, and fails on spills, on ptxas' performance warnings, and on a
// plan over its shared memory. A sample of everything by default; ATTNC_COMPILE_ALL=1 compiles the whole product.
#include <gtest/gtest.h>

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
#include "runtime/cuda/cubin.h"
#include "tests/support/mod_cases.h"
#include "tests/support/nvrtc.h"

namespace attnc::testing {
namespace {

struct Job {
  ModCase mods;
  cuda::KernelRequest request;

  std::string describe() const {
    return attnc::format("{} {} D={}/{} {}{}{}{}", mods.name, name(request.dtype), request.head_dim_qk,
                         request.head_dim_v, request.target.name(),
                         request.block_table ? attnc::format(" table({})", request.kv_block) : "",
                         request.vector_bytes < 16 ? " unaligned" : "", request.packs_groups ? " groups" : "");
  }
};

const std::vector<std::string> targets = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};
const std::vector<std::pair<int, int>> dims = {{16, 16},   {32, 32},   {40, 40},   {64, 64},   {72, 72},
                                               {80, 80},   {96, 96},   {112, 112}, {128, 128}, {160, 160},
                                               {192, 192}, {256, 256}, {192, 128}, {64, 32},   {32, 64}};
const std::vector<DType> dtypes = {DType::bf16, DType::f16, DType::f32};

bool compile_all() { return std::getenv("ATTNC_COMPILE_ALL") != nullptr; }

Job make_job(const ModCase& mods, const std::string& target, DType dtype, std::pair<int, int> dim, bool table = false,
             int vector_bytes = 16) {
  Job job{mods, {}};
  job.request.target = plan::target_from_name(target);
  job.request.dtype = dtype;
  job.request.head_dim_qk = dim.first;
  job.request.head_dim_v = dim.second;
  job.request.block_table = table;
  job.request.vector_bytes = vector_bytes;
  return job;
}

/// f32 with more than 192 output columns: the accumulators of 16 rows alone take 128 registers, and ptxas keeps a few
/// words of the rest in memory on some architectures, outside the products.
int spill_limit_bytes(const Job& job) {
  return job.request.dtype == DType::f32 && job.request.head_dim_v > 192 ? 256 : 0;
}

/// The portable kernel classifies by extremes of captured buffers next to a full set of accumulators: a few words go to
/// the stack, once per 32 tiles. The Hopper kernel's producer has registers for it.
int classifier_spill_bytes(const cuda::KernelSource& source) {
  return source.layout.extrema.empty() || source.plan.family == plan::KernelFamily::sm90 ? 0 : 512;
}

/// "" when the kernel is as it should be.
std::string problem_of(const Job& job) {
  try {
    const ir::Program program = passes::canonicalize(ir::lower(job.mods.score, job.mods.mask));
    const cuda::KernelSource source = cuda::make_kernel_source(program, job.request);
    const cuda::CompiledSource compiled = cuda::compile(source.text, job.request.target);
    const cuda::ResourceUsage usage = compiled.usage_of(cuda::forward_entry);
    if (usage.registers == 0) return "no resource report in the log:\n" + compiled.log;
    std::string problem;
    if (usage.spill_store_bytes + usage.spill_load_bytes > spill_limit_bytes(job) + classifier_spill_bytes(source))
      problem += attnc::format("{} bytes of spill stores, {} of loads, {} registers; ", usage.spill_store_bytes,
                               usage.spill_load_bytes, usage.registers);
    if (usage.stack_bytes > 0 && cuda::count_stack_pointer_writes(compiled.cubin, cuda::forward_entry) > 2)
      problem += attnc::format("{} bytes of stack, which is lost; ", usage.stack_bytes);
    if (source.plan.smem_bytes + usage.static_smem_bytes > job.request.target.smem_limit_bytes)
      problem += attnc::format("{} bytes of shared memory, the limit is {}; ",
                               source.plan.smem_bytes + usage.static_smem_bytes, job.request.target.smem_limit_bytes);
    for (const std::string& warning : cuda::parse_warnings(compiled.log)) problem += warning + "; ";
    return problem.empty() ? "" : problem + plan::print(source.plan);
  } catch (const Error& error) {
    return error.what();
  }
}

/// Compiles on all cores; every problem is one failure.
void expect_clean(const std::vector<Job>& jobs) {
  std::string why;
  if (!has_nvrtc(&why)) GTEST_SKIP() << why;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::vector<std::string> problems;
  const auto work = [&] {
    for (std::size_t i; (i = next++) < jobs.size();) {
      const std::string problem = problem_of(jobs[i]);
      if (problem.empty()) continue;
      const std::lock_guard lock(mutex);
      problems.push_back(jobs[i].describe() + ": " + problem);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::max(1u, std::thread::hardware_concurrency()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  for (const std::string& problem : problems) ADD_FAILURE() << problem;
  ::testing::Test::RecordProperty("compiled", static_cast<int>(jobs.size()));
}

/// Every `step`-th job, and all of them on request. Steps share no factor with the loops' extents, so that a sample
/// meets every value of every dimension.
std::vector<Job> sample(std::vector<Job> jobs, std::size_t step) {
  if (compile_all()) return jobs;
  std::vector<Job> kept;
  for (std::size_t i = 0; i < jobs.size(); i += step) kept.push_back(jobs[i]);
  return kept;
}

TEST(CudaCompile, EveryModAndMask) {
  std::vector<Job> jobs;
  for (const ModCase& mods : all_cases()) jobs.push_back(make_job(mods, "sm_80", DType::bf16, {64, 64}));
  expect_clean(jobs);
}

TEST(CudaCompile, EveryModAndMaskOnHopper) {
  std::vector<Job> jobs;
  for (const ModCase& mods : all_cases()) jobs.push_back(make_job(mods, "sm_90a", DType::bf16, {128, 128}));
  expect_clean(sample(jobs, 3));
}

/// The producer's largest classifiers, next to every size of accumulator.
TEST(CudaCompile, ClassifiersThatReadExtremaOnHopper) {
  std::vector<Job> jobs;
  for (const ModCase& mods : all_cases()) {
    const Job job = make_job(mods, "sm_90a", DType::bf16, {64, 64});
    const ir::Program program = passes::canonicalize(ir::lower(mods.score, mods.mask));
    if (!cuda::make_kernel_source(program, job.request).traits.reads_extrema) continue;
    for (const int dim : {64, 128, 256}) jobs.push_back(make_job(mods, "sm_90a", DType::bf16, {dim, dim}));
  }
  ASSERT_FALSE(jobs.empty());
  expect_clean(jobs);
}

/// What the Hopper kernel cannot take, and Blackwell: the portable one in its largest plans, with the longest steps.
TEST(CudaCompile, EveryModAndMaskInTheLargestPortablePlans) {
  std::vector<Job> jobs;
  for (const ModCase& mods : all_cases())
    for (const auto& dim : {std::pair{64, 64}, std::pair{80, 80}, std::pair{96, 96}, std::pair{128, 128},
                            std::pair{160, 160}, std::pair{192, 128}, std::pair{192, 192}, std::pair{256, 256}})
      for (const std::string target : {"sm_90a", "sm_100a"})
        for (const DType dtype : {DType::bf16, DType::f16}) {
          Job job = make_job(mods, target, dtype, dim);
          job.request.tensor_maps = false;
          jobs.push_back(job);
        }
  expect_clean(sample(jobs, 17));
}

TEST(CudaCompile, EveryHeadDimensionTypeAndTarget) {
  const ModCase mods{"soft_cap_window", stock::soft_cap(30.0f), stock::sliding_window(100), {}};
  std::vector<Job> jobs;
  for (const auto& dim : dims)
    for (const std::string& target : targets)
      for (const DType dtype : dtypes) jobs.push_back(make_job(mods, target, dtype, dim));
  expect_clean(sample(jobs, 7));
}

TEST(CudaCompile, TablesAndUnalignedRows) {
  const ModCase mods{"causal", {}, stock::causal(), {}};
  std::vector<Job> jobs;
  for (const std::string& target : targets)
    for (const DType dtype : dtypes) {
      jobs.push_back(make_job(mods, target, dtype, {64, 64}, true));
      jobs.push_back(make_job(mods, target, dtype, {128, 128}, false, static_cast<int>(size_bytes(dtype))));
      Job small = make_job(mods, target, dtype, {128, 128}, true);
      small.request.kv_block = 16;
      jobs.push_back(small);
    }
  expect_clean(sample(jobs, 5));
}

/// Few queries of grouped heads: a kernel of its own.
std::vector<Job> group_jobs() {
  std::vector<Job> jobs;
  for (const ModCase& mods : all_cases())
    for (const auto& dim : dims)
      for (const std::string& target : targets)
        for (const DType dtype : {DType::bf16, DType::f16}) {
          Job job = make_job(mods, target, dtype, dim);
          const ir::Program program = passes::canonicalize(ir::lower(mods.score, mods.mask));
          if (!cuda::why_no_groups(program, job.request).empty()) continue;
          job.request.packs_groups = true;
          jobs.push_back(job);
          job.request.vector_bytes = 2;
          jobs.push_back(job);
        }
  return jobs;
}

TEST(CudaCompile, PackedGroups) {
  std::vector<Job> jobs = sample(group_jobs(), 211);
  // Where registers are scarcest, on every target.
  for (const ModCase& mods : all_cases()) {
    if (mods.name != "relative_bias" && mods.name != "document_causal") continue;
    for (const std::string& target : targets)
      for (const int dim : {128, 256}) {
        Job job = make_job(mods, target, DType::bf16, {dim, dim});
        job.request.packs_groups = true;
        jobs.push_back(job);
      }
  }
  expect_clean(jobs);
}

TEST(CudaCompile, TheWholeProduct) {
  if (!compile_all()) GTEST_SKIP() << "set ATTNC_COMPILE_ALL=1 (tens of thousands of compiles)";
  std::vector<Job> jobs;
  for (const ModCase& mods : all_cases())
    for (const auto& dim : dims)
      for (const std::string& target : targets)
        for (const DType dtype : dtypes) jobs.push_back(make_job(mods, target, dtype, dim));
  expect_clean(jobs);
}

}  // namespace
}  // namespace attnc::testing
