// SPDX-License-Identifier: Apache-2.0
#include "tests/support/mod_cases.h"

#include <cmath>
#include <random>

#include "dsl/stock.h"

namespace attnc::testing {
namespace {

GuardedTensor& add(Problem& problem, const std::string& name, DType dtype, const std::vector<std::int64_t>& shape) {
  return problem.buffers[name] = GuardedTensor::create(dtype, shape);
}

template <class Value>
void fill(GuardedTensor& tensor, Value&& value) {
  const std::int64_t total = tensor.view.elements();
  std::int64_t index[TensorView::max_rank] = {};
  for (std::int64_t i = 0; i < total; ++i) {
    write_element(tensor.view, index, value(static_cast<const std::int64_t*>(index)));
    for (int d = tensor.view.rank - 1; d >= 0; --d) {
      if (++index[d] < tensor.view.shape[static_cast<std::size_t>(d)]) break;
      index[d] = 0;
    }
  }
}

int longest(const Problem& problem) { return std::max(problem.spec.q_len, problem.spec.kv_len); }

void bind_slopes(Problem& p) {
  const int heads = p.spec.q_heads;
  fill(add(p, "slope", DType::f32, {heads}),
       [heads](const std::int64_t* i) { return std::exp2(-8.0 * static_cast<double>(i[0] + 1) / heads); });
}

void bind_documents(Problem& p) {
  std::mt19937_64 random(p.spec.seed + 77);
  const int length = longest(p);
  std::vector<int> document(static_cast<std::size_t>(length));
  int current = 0;
  const int mean = std::max(2, length / 7);
  for (int& d : document) {
    if (random() % static_cast<std::uint64_t>(mean) == 0) ++current;
    d = current;
  }
  fill(add(p, "doc", DType::i32, {length}),
       [&](const std::int64_t* i) { return document[static_cast<std::size_t>(i[0])]; });
}

}  // namespace

std::vector<ModCase> score_cases() {
  using namespace stock;
  std::vector<ModCase> cases;
  cases.push_back({"identity", {}, {}, {}});
  cases.push_back({"soft_cap_30", soft_cap(30.0f), {}, {}});
  cases.push_back({"soft_cap_50", soft_cap(50.0f), {}, {}});
  cases.push_back({"soft_cap_20_param", soft_cap(param("cap", 30.0f)), {}, [](Problem& p) {
                     p.params.push_back({"cap", 20.0f});
                   }});
  cases.push_back({"alibi", alibi(), {}, bind_slopes});
  cases.push_back(
      {"relative_bias", relative_bias(q_len() + kv_len()), {}, [](Problem& p) {
         add(p, "bias", DType::f32, {p.spec.q_heads, 2 * (p.spec.q_len + p.spec.kv_len)}).fill_normal(p.spec.seed + 5);
       }});
  cases.push_back(
      {"relative_bias_clipped_by_table", relative_bias(16, DType::bf16), {}, [](Problem& p) {
         add(p, "bias", DType::bf16, {p.spec.q_heads, 32}).fill_normal(p.spec.seed + 5);  // most loads fall outside
       }});
  cases.push_back({"absolute_bias", absolute_bias(DType::f16), {}, [](Problem& p) {
                     add(p, "bias", DType::f16, {p.spec.batch, p.spec.q_heads, p.spec.q_len, p.spec.kv_len})
                         .fill_normal(p.spec.seed + 6);
                   }});
  cases.push_back({"times_two", times_two(), {}, {}});
  cases.push_back({"squared", squared(), {}, {}});
  cases.push_back({"distance_decay", distance_decay(), {}, {}});
  cases.push_back({"head_gate", head_gate(), {}, [](Problem& p) {
                     add(p, "gate", DType::f32, {p.spec.q_heads}).fill_normal(p.spec.seed + 7);
                   }});
  cases.push_back({"log_kernel", log_kernel(1e-2f), {}, {}});
  cases.push_back({"small_reduction", small_reduction(), {}, [](Problem& p) {
                     add(p, "p", DType::f32, {longest(p), 3}).fill_normal(p.spec.seed + 8, 0.5);
                   }});
  return cases;
}

std::vector<ModCase> mask_cases() {
  using namespace stock;
  std::vector<ModCase> cases;
  auto mask = [&cases](std::string name, MaskMod m, std::function<void(Problem&)> bind = {}) {
    cases.push_back({std::move(name), {}, std::move(m), std::move(bind)});
  };
  mask("causal", causal());
  mask("causal_lower_right", causal_lower_right());
  mask("sliding_window_100", sliding_window(100));
  mask("sliding_window_param", sliding_window(param("window", 64)), [](Problem& p) {
    p.params.push_back({"window", 37});
  });
  mask("sliding_window_two_sided", sliding_window_two_sided(50));
  mask("dilated", dilated(60, 3));
  mask("prefix_lm", prefix_lm(40));
  mask("document", document(), bind_documents);
  mask("document_causal", document() & causal(), bind_documents);
  mask("neighborhood", neighborhood(16, 3));
  mask("neighborhood_clamped", neighborhood_clamped(16, 16, 2));
  mask("global_or_window", global_or_window(20), [](Problem& p) {
    fill(add(p, "global", DType::boolean, {longest(p)}), [](const std::int64_t* i) { return i[0] % 97 == 3; });
  });
  mask("padding", padding(), [](Problem& p) {
    const int kv_len = p.spec.kv_len;
    fill(add(p, "length", DType::i32, {p.spec.batch}),
         [kv_len](const std::int64_t* i) { return std::max<std::int64_t>(0, kv_len - 1 - 13 * i[0]); });
  });
  mask("window_per_head", window_per_head(), [](Problem& p) {
    fill(add(p, "window", DType::i32, {p.spec.q_heads}), [](const std::int64_t* i) { return 8 * (i[0] + 1); });
  });
  mask("odd_keys_only", odd_keys_only());
  mask("checkerboard", checkerboard());
  mask("nothing", nothing());
  mask("everything", everything());
  mask("causal_and_not_window", causal() & !sliding_window(32));
  mask("window_or_document", sliding_window(16) | document(), bind_documents);
  return cases;
}

std::vector<ModCase> all_cases() {
  std::vector<ModCase> cases = score_cases();
  for (ModCase& c : mask_cases()) cases.push_back(std::move(c));
  cases.push_back({"causal_soft_cap", stock::soft_cap(30.0f), stock::causal(), {}});
  cases.push_back({"causal_alibi", stock::alibi(), stock::causal(), bind_slopes});
  cases.push_back(
      {"window_soft_cap_param", stock::soft_cap(param("cap", 50.0f)), stock::sliding_window(param("window", 48)), {}});
  cases.push_back({"document_causal_alibi", stock::alibi(), stock::document() & stock::causal(), [](Problem& p) {
                     bind_slopes(p);
                     bind_documents(p);
                   }});
  return cases;
}

}  // namespace attnc::testing
