// SPDX-License-Identifier: Apache-2.0
// Soft-capping: scores pass through cap * tanh(score / cap) before the softmax, as in Gemma 2. `cap` is a run-time
// parameter, so the two values below run the same compiled kernel.
#include <attnc/attnc.h>

#include "support.h"

using namespace attnc;

int main() {
  return example::run([] {
    const Expr cap = param("cap", 30.0f);
    const ScoreMod soft = score_mod([=](Score s, Index, Index, Index, Index) { return cap * tanh(s / cap); });
    const Attention attention({.score_mod = soft, .dtype = DType::f32, .head_dim = 64, .device = example::device()});

    example::Tensor q = example::random(1, 4, 300, 64, 1);
    example::Tensor k = example::random(1, 4, 300, 64, 2);
    example::Tensor v = example::random(1, 4, 300, 64, 3);
    example::Tensor out(1, 4, 300, 64);

    int status = 0;
    for (const float value : {30.0f, 2.0f}) {
      const ParamValue params[] = {{"cap", value}};
      attention.forward(q.view(), k.view(), v.view(), out.view(), {.params = params});
      const double difference = example::difference_to_loop(
          q, k, v, out, [=](float s, int, int, int, int) { return value * std::tanh(s / value); },
          [](int, int, int, int) { return true; });
      std::printf("cap = %g  ", value);
      status |= example::verdict("softcap", difference);
    }
    return status;
  });
}
