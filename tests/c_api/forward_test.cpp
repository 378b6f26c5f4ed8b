// SPDX-License-Identifier: Apache-2.0
// The C API computes what the C++ API computes, to the bit, and refuses what it refuses.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "support.h"

namespace attnc::c_api_test {
namespace {

constexpr int kB = 2, kHq = 4, kHkv = 2, kS = 70, kD = 16;

/// One problem with everything a call can carry: GQA, parameter, buffer, lse, scale.
struct Problem {
  std::vector<float> q = numbers(kB * kHq * kS * kD, 1);
  std::vector<float> k = numbers(kB * kHkv * kS * kD, 2);
  std::vector<float> v = numbers(kB * kHkv * kS * kD, 3);
  std::vector<float> slope = numbers(kHq, 4);
  std::vector<float> out = std::vector<float>(q.size(), NAN);
  std::vector<float> lse = std::vector<float>(kB * kHq * kS, NAN);
  attnc_tensor tq = tensor(q.data(), ATTNC_DTYPE_F32, {kB, kHq, kS, kD});
  attnc_tensor tk = tensor(k.data(), ATTNC_DTYPE_F32, {kB, kHkv, kS, kD});
  attnc_tensor tv = tensor(v.data(), ATTNC_DTYPE_F32, {kB, kHkv, kS, kD});
  attnc_tensor tout = tensor(out.data(), ATTNC_DTYPE_F32, {kB, kHq, kS, kD});
  attnc_tensor tlse = tensor(lse.data(), ATTNC_DTYPE_F32, {kB, kHq, kS});
  attnc_buffer_value buffer{"slope", tensor(slope.data(), ATTNC_DTYPE_F32, {kHq})};
};

constexpr const char* kScore = "cap * tanh(score / cap) + slope[h] * (kv_idx - q_idx)";
constexpr const char* kMask = "q_idx >= kv_idx && q_idx - kv_idx < window";
const attnc_param_decl kParams[] = {{"cap", ATTNC_TYPE_F32, 1, 30, 0}, {"window", ATTNC_TYPE_I32, 0, 0, 0}};
const attnc_buffer_decl kBuffers[] = {{"slope", ATTNC_DTYPE_F32, 1}};

attnc_attention_options options() {
  auto o = sized<attnc_attention_options>();
  o.score_mod = kScore;
  o.mask_mod = kMask;
  o.params = kParams;
  o.num_params = 2;
  o.buffers = kBuffers;
  o.num_buffers = 1;
  o.dtype = ATTNC_DTYPE_F32;
  o.head_dim = kD;
  return o;
}

AttentionPtr create(const attnc_attention_options& o) {
  attnc_attention* raw = nullptr;
  const Answer answer = ask([&](attnc_error** e) { return attnc_attention_create(&o, &raw, e); });
  EXPECT_EQ(answer.status, ATTNC_OK) << answer.message;
  return AttentionPtr(raw);
}

const attnc_param_value kValues[] = {{"cap", 0, 0, 5.0, 0}, {"window", 1, 0, 0, 20}};

attnc_forward_options call_options(const Problem& p) {
  auto o = sized<attnc_forward_options>();
  o.params = kValues;
  o.num_params = 2;
  o.buffers = &p.buffer;
  o.num_buffers = 1;
  return o;
}

Answer forward(const attnc_attention* attention, const Problem& p, const attnc_forward_options* o) {
  return ask([&](attnc_error** e) { return attnc_attention_forward(attention, &p.tq, &p.tk, &p.tv, &p.tout, o, e); });
}

/// The same through C++.
void forward_cpp(Problem& p, const float* scale, const BlockMask* block_mask) {
  const Captures captures{{{"cap", Type::f32, 30, 0, true}, {"window", Type::i32, 0, 0, false}},
                          {{"slope", DType::f32, 1}}};
  const Attention attention(
      {.score_mod = score_mod(kScore, captures), .mask_mod = mask_mod(kMask, captures), .head_dim = kD});
  const ParamValue params[] = {{"cap", 5.0}, {"window", 20}};
  const BufferValue buffers[] = {{"slope", {p.slope.data(), DType::f32, {kHq}}}};
  ForwardOptions o{
      .lse = {p.lse.data(), DType::f32, {kB, kHq, kS}}, .params = params, .buffers = buffers, .block_mask = block_mask};
  if (scale != nullptr) o.scale = *scale;
  attention.forward({p.q.data(), DType::f32, {kB, kHq, kS, kD}}, {p.k.data(), DType::f32, {kB, kHkv, kS, kD}},
                    {p.v.data(), DType::f32, {kB, kHkv, kS, kD}}, {p.out.data(), DType::f32, {kB, kHq, kS, kD}}, o);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(CApiForward, AgreesWithCppToTheBit) {
  const AttentionPtr attention = create(options());
  const float scale = 0.7f;
  for (const float* s : {static_cast<const float*>(nullptr), &scale}) {
    Problem expected, p;
    forward_cpp(expected, s, nullptr);
    attnc_forward_options o = call_options(p);
    o.lse = &p.tlse;
    o.scale = s;
    const Answer answer = forward(attention.get(), p, &o);
    ASSERT_EQ(answer.status, ATTNC_OK) << answer.message;
    EXPECT_TRUE(same_bits(p.out, expected.out));
    EXPECT_TRUE(same_bits(p.lse, expected.lse));
    EXPECT_FALSE(std::isnan(p.out[0]));
  }
}

TEST(CApiForward, TakesABlockMask) {
  const AttentionPtr attention = create(options());
  auto mo = sized<attnc_block_mask_options>();
  mo.mask_mod = kMask;
  mo.params = kParams;
  mo.num_params = 2;
  mo.param_values = &kValues[1];
  mo.num_param_values = 1;
  mo.q_len = mo.kv_len = kS;
  mo.block_q = mo.block_kv = 16;
  attnc_block_mask* raw = nullptr;
  Answer answer = ask([&](attnc_error** e) { return attnc_block_mask_create(&mo, &raw, e); });
  ASSERT_EQ(answer.status, ATTNC_OK) << answer.message;
  const BlockMaskPtr mask(raw);

  Problem with, without;
  attnc_forward_options o = call_options(without);
  ASSERT_EQ(forward(attention.get(), without, &o).status, ATTNC_OK);
  o = call_options(with);
  o.block_mask = mask.get();
  answer = forward(attention.get(), with, &o);
  ASSERT_EQ(answer.status, ATTNC_OK) << answer.message;
  double worst = 0;
  for (std::size_t i = 0; i < with.out.size(); ++i) worst = std::fmax(worst, std::fabs(with.out[i] - without.out[i]));
  EXPECT_LT(worst, 1e-5);
}

TEST(CApiForward, PrepareAndExplain) {
  const AttentionPtr attention = create(options());
  Answer answer = ask([&](attnc_error** e) { return attnc_attention_prepare(attention.get(), e); });
  EXPECT_EQ(answer.status, ATTNC_OK) << answer.message;
  char* text = nullptr;
  answer = ask([&](attnc_error** e) { return attnc_attention_explain(attention.get(), "ir", nullptr, &text, e); });
  ASSERT_EQ(answer.status, ATTNC_OK) << answer.message;
  const TextPtr owned(text);
  EXPECT_NE(std::string(text).find("tanh"), std::string::npos) << text;
  char* untouched = nullptr;
  answer = ask([&](attnc_error** e) {
    return attnc_attention_explain(attention.get(), "no such stage", nullptr, &untouched, e);
  });
  EXPECT_EQ(answer.status, ATTNC_INVALID_ARGUMENT);
  EXPECT_EQ(untouched, nullptr);
}

TEST(CApiForward, OneHandleManyThreads) {
  const AttentionPtr attention = create(options());
  Problem expected;
  forward_cpp(expected, nullptr, nullptr);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        Problem p;
        attnc_forward_options o = call_options(p);
        if (t % 4 == 3) o.num_buffers = 0;  // errors of one thread are no other's business
        const Answer answer = forward(attention.get(), p, &o);
        if (t % 4 == 3)
          wrong += answer.status != ATTNC_INVALID_ARGUMENT || answer.message.find("slope") == std::string::npos;
        else
          wrong += answer.status != ATTNC_OK || !same_bits(p.out, expected.out);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(CApiForward, LogsThroughTheCallback) {
  struct Seen {
    std::atomic<int> compiles = 0;
  } seen;
  attnc_attention_options o = options();
  o.score_mod = "score * 1.2345678";  // not in any cache of another test
  o.cache_dir = "/dev/null/no cache here";
  o.log_user_data = &seen;
  o.log = [](void* user_data, const char* category, const char* message) {
    if (std::string(category) == "compile" && message[0] != '\0') ++static_cast<Seen*>(user_data)->compiles;
  };
  const AttentionPtr attention = create(o);
  EXPECT_EQ(seen.compiles, 0);
  const Answer answer = ask([&](attnc_error** e) { return attnc_attention_prepare(attention.get(), e); });
  EXPECT_EQ(answer.status, ATTNC_OK) << answer.message;
  EXPECT_GE(seen.compiles, 1);
}

}  // namespace
}  // namespace attnc::c_api_test
