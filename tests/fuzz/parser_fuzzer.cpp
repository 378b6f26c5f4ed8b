// SPDX-License-Identifier: Apache-2.0
// Feeds bytes to the text form. Whatever they are, the parser returns a mod or raises Error(invalid_expression) with a
// message safe to print; and what it returns lowers, folds and verifies.
//
//   parser_fuzzer -max_total_time=60 [CORPUS_FOLDER]
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "compiler/ir/lower.h"
#include "compiler/ir/print.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/passes.h"
#include "dsl/mods.h"

namespace {

constexpr std::string_view seeds[] = {
    "30 * tanh(score / 30)",
    "q_idx >= kv_idx && q_idx - kv_idx < window",
    "doc[q_idx] == doc[kv_idx] || kv_idx < 0x10",
    "abs(q_idx / 56 - kv_idx / 56) < 5 && abs(q_idx % 56 - kv_idx % 56) < 5",
    "score + bias[h, q_idx - kv_idx + 1024] * cap",
    "where(q_len != kv_len, clamp(score, -1e3, .5), ~q_idx ^ (kv_idx & 7 | 1 << 2) >> 1)",
    "b == 0 ? score : h <= 1 ? -inf : f32(i64(2147483648) + i32(true)) - !false",
    "pow(fma(score, 2.f, 1), sigmoid(rsqrt(exp2(log2(max(min(b, 1), 0))))))",
};

void check_message(std::string_view message) {
  for (const char c : message) {
    if (c != '\n' && (c < 0x20 || c > 0x7e)) std::abort();
  }
  if (message.size() > 1000) std::abort();
}

void check(std::string_view text, bool is_score) {
  static const attnc::Captures captures{
      .params = {{"cap", attnc::Type::f32, 30.0}, {"window", attnc::Type::i32, 5.0, 5}},
      .buffers = {{"doc", attnc::DType::i32, 1}, {"bias", attnc::DType::f16, 2}, {"gain", attnc::DType::f32, 0}}};
  attnc::ScoreMod score;
  attnc::MaskMod mask;
  try {
    if (is_score) {
      score = attnc::score_mod(text, captures);
    } else {
      mask = attnc::mask_mod(text, captures);
    }
  } catch (const attnc::Error& error) {
    if (error.code() != attnc::ErrorCode::invalid_expression) std::abort();
    check_message(error.what());
    return;
  }
  attnc::ir::Program program;
  try {
    program = attnc::ir::lower(score, mask);
  } catch (const attnc::Error& error) {  // conversions count as operations too, so lowering may still find too many
    if (error.code() != attnc::ErrorCode::invalid_expression) std::abort();
    return;
  }
  attnc::ir::verify(program, "lowering");
  const attnc::ir::Program canonical = attnc::passes::canonicalize(program);
  attnc::ir::verify(canonical, "canonicalize");
  const std::string printed = attnc::ir::print(canonical, true);
  if (printed != attnc::ir::print(attnc::passes::canonicalize(canonical), true)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text, true);
  check(text, false);
  return 0;
}

/// Starts from the seeds above: an input shorter than a few bytes becomes one of them before libFuzzer mutates it.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  const std::string_view start = seeds[seed % std::size(seeds)];
  if (size < 4 && start.size() <= max_size) {
    std::memcpy(data, start.data(), start.size());
    size = start.size();
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
