// SPDX-License-Identifier: Apache-2.0
// attnc from C++: a causal window with soft-capping, on the CPU, and what an error looks like.
#include <attnc/attnc.h>

#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  using namespace attnc;
  constexpr int H = 2, S = 100, D = 32;
  std::vector<float> q(H * S * D), k(q.size()), v(q.size()), out(q.size(), NAN);
  for (std::size_t i = 0; i < q.size(); ++i) {
    q[i] = static_cast<float>(i % 7) - 3;
    k[i] = static_cast<float>(i % 5) - 2;
    v[i] = 1;  // every output is then exactly the sum of the weights: 1
  }
  const auto view = [&](std::vector<float>& data) { return TensorView(data.data(), DType::f32, {1, H, S, D}); };

  try {
    mask_mod("q_idx >= kv_index");
    return 1;  // a name that does not exist must be refused
  } catch (const Error& error) {
    std::printf("as it should be, refused:\n%s\n", error.what());
  }
  try {
    const Attention attention({.score_mod = stock::soft_cap(20.0f),
                               .mask_mod = mask_mod([](Index, Index, Index i, Index j) { return i >= j && i - j < 8; }),
                               .head_dim = D,
                               .log = [](auto category, auto message) {
                                 std::printf("[%.*s] %.*s\n", static_cast<int>(category.size()), category.data(),
                                             static_cast<int>(message.size()), message.data());
                               }});
    attention.forward(view(q), view(k), view(v), view(out));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.code() == ErrorCode::no_device ? 77 : 1;
  }
  double worst = 0;
  for (const float x : out) worst = std::fmax(worst, std::isnan(x) ? INFINITY : std::fabs(x - 1));
  std::printf("attnc %s from C++: greatest difference to 1: %.1e\n", attnc_version(), worst);
  return worst < 1e-5 ? 0 : 1;
}
