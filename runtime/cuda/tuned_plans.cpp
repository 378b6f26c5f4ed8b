// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/tuned_plans.h"

#include "compiler/plan/candidates.h"
#include "dsl/error.h"

#include "dsl/format.h"

namespace attnc::cuda {
namespace {

/// Raise when a record's signature or payload changes its meaning.
constexpr int record_schema = 1;

std::string record_signature(const TunedVariant& variant, std::string_view planned_signature) {
  return attnc::format("attnc tuned plan, schema {}\ndevice {}, {} multiprocessors\nfor\n{}", record_schema,
                       variant.device_name, variant.multiprocessors, planned_signature);
}

}  // namespace

std::vector<plan::TilePlan> candidates(const TunedVariant& variant) {
  const KernelSource source = make_kernel_source(variant.program, variant.request, /*line_directives=*/false);
  std::vector<plan::TilePlan> plans =
      plan::candidates(problem_of(variant.request, source.traits), variant.request.target);
  // Printing may have settled the mods' traits after the plan was made: what is made is what counts as the planner's.
  std::erase(plans, source.plan);
  plans.insert(plans.begin(), source.plan);
  return plans;
}

std::optional<plan::TilePlan> find_tuned_plan(const KernelCache& cache, const TunedVariant& variant,
                                              std::string_view planned_signature) {
  const CachedKernelPtr record = cache.load(record_signature(variant, planned_signature));
  if (!record) return std::nullopt;
  for (const plan::TilePlan& plan : candidates(variant))
    if (plan::print(plan) == record->binary) return plan;
  return std::nullopt;
}

void remember_tuned_plan(const KernelCacheOptions& options, const TunedVariant& variant,
                         std::string_view planned_signature, const plan::TilePlan& plan) {
  const std::string signature = record_signature(variant, planned_signature);
  const std::string text = plan::print(plan);
  const BuildFunction make_record = [&] { return BuiltKernel{text, ""}; };
  KernelCache cache(options);
  const CachedKernelPtr known = cache.get_or_build(signature, make_record);
  if (known->binary != text) cache.replace_rejected(signature, known, make_record);
  const CachedKernelPtr written = KernelCache(options).load(signature);
  if (!written || written->binary != text) {
    throw Error(ErrorCode::io,
                attnc::format("attnc: the tuned plan could not be written to the kernel cache in '{}' (see "
                              "attnc cache stats)",
                              cache.stats().directory));
  }
}

}  // namespace attnc::cuda
