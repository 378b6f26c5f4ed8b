// SPDX-License-Identifier: Apache-2.0
#include "runtime/oracle/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <tuple>

#include "compiler/ir/half.h"
#include "dsl/format.h"

namespace attnc::oracle {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::int64_t offset_of(const TensorView& view, const std::int64_t* index) {
  std::int64_t offset = 0;
  for (int i = 0; i < view.rank; ++i) offset += index[i] * view.stride_elems[static_cast<std::size_t>(i)];
  return offset;
}

double round_to(double value, DType dtype) {
  const auto single = static_cast<float>(value);
  if (dtype == DType::bf16) return static_cast<double>(ir::bf16_to_float(ir::float_to_bf16(single)));
  if (dtype == DType::f16) return static_cast<double>(ir::f16_to_float(ir::float_to_f16(single)));
  return static_cast<double>(single);
}

/// Distance between neighbours of the dtype near |scale|.
double ulp(double scale, DType dtype) {
  const int bits = dtype == DType::bf16 ? 8 : dtype == DType::f16 ? 11 : 24;
  const int least = dtype == DType::f16 ? -14 : -126;
  int exponent = least;
  if (scale > 0 && std::isfinite(scale)) exponent = std::max(std::ilogb(scale), least);
  return std::ldexp(1.0, exponent - (bits - 1));
}

std::vector<double> read_row(const TensorView& view, std::int64_t b, std::int64_t h, std::int64_t row) {
  std::vector<double> values(static_cast<std::size_t>(view.shape[3]));
  for (std::int64_t d = 0; d < view.shape[3]; ++d) {
    const std::int64_t index[] = {b, h, row, d};
    values[static_cast<std::size_t>(d)] = read_element(view, index);
  }
  return values;
}

/// softmax(scores) applied to the rows of v. `narrow` rounds what a plain evaluation in that dtype would store.
void softmax_times_v(const std::vector<double>& scores, const std::vector<std::uint8_t>& kept,
                     const std::vector<std::vector<double>>& v, const DType* narrow, std::vector<double>& out,
                     double& lse) {
  const std::size_t keys = scores.size();
  const std::size_t dims = out.size();
  std::fill(out.begin(), out.end(), 0.0);
  double greatest = -infinity;
  bool any = false, poisoned = false;
  for (std::size_t k = 0; k < keys; ++k) {
    if (!kept[k] || scores[k] == -infinity) continue;  // a score of -inf is a dropped key, and the other way round
    any = true;
    poisoned |= std::isnan(scores[k]);
    greatest = std::max(greatest, scores[k]);
  }
  lse = -infinity;
  if (!any) return;
  if (poisoned || std::isinf(greatest)) {  // as IEEE softmax: inf - inf is NaN
    lse = poisoned ? std::numeric_limits<double>::quiet_NaN() : greatest;
    std::fill(out.begin(), out.end(), std::numeric_limits<double>::quiet_NaN());
    return;
  }
  std::vector<double> weights(keys, 0.0);
  double sum = 0;
  for (std::size_t k = 0; k < keys; ++k) {
    if (!kept[k]) continue;
    weights[k] = std::exp(scores[k] - greatest);
    if (narrow) {
      weights[k] = static_cast<double>(static_cast<float>(weights[k]));
      sum = static_cast<double>(static_cast<float>(sum + weights[k]));
    } else {
      sum += weights[k];
    }
  }
  lse = greatest + std::log(sum);
  if (!narrow) {
    for (std::size_t k = 0; k < keys; ++k)
      if (kept[k])
        for (std::size_t d = 0; d < dims; ++d) out[d] += weights[k] / sum * v[k][d];
    return;
  }
  std::vector<float> accumulator(dims, 0.0f);
  for (std::size_t k = 0; k < keys; ++k) {
    if (!kept[k]) continue;
    const auto weight = static_cast<float>(round_to(weights[k] / sum, *narrow));
    for (std::size_t d = 0; d < dims; ++d) accumulator[d] += weight * static_cast<float>(v[k][d]);
  }
  for (std::size_t d = 0; d < dims; ++d) out[d] = round_to(static_cast<double>(accumulator[d]), *narrow);
}

}  // namespace

double read_element(const TensorView& view, const std::int64_t* index) {
  const auto* at = static_cast<const std::byte*>(view.data) +
                   offset_of(view, index) * static_cast<std::int64_t>(size_bytes(view.dtype));
  auto read = [at]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (view.dtype) {
    case DType::f32:
      return static_cast<double>(read(float{}));
    case DType::f16:
      return static_cast<double>(ir::f16_to_float(read(std::uint16_t{})));
    case DType::bf16:
      return static_cast<double>(ir::bf16_to_float(read(std::uint16_t{})));
    case DType::i64:
      return static_cast<double>(read(std::int64_t{}));
    case DType::i32:
      return read(std::int32_t{});
    case DType::i8:
      return read(std::int8_t{});
    case DType::u8:
      return read(std::uint8_t{});
    case DType::boolean:
      return read(std::uint8_t{}) != 0;
  }
  return 0;
}

void write_element(const TensorView& view, const std::int64_t* index, double value) {
  auto* at =
      static_cast<std::byte*>(view.data) + offset_of(view, index) * static_cast<std::int64_t>(size_bytes(view.dtype));
  auto write = [at](auto stored) { std::memcpy(at, &stored, sizeof stored); };
  switch (view.dtype) {
    case DType::f32:
      write(static_cast<float>(value));
      break;
    case DType::f16:
      write(ir::float_to_f16(static_cast<float>(value)));
      break;
    case DType::bf16:
      write(ir::float_to_bf16(static_cast<float>(value)));
      break;
    case DType::i64:
      write(static_cast<std::int64_t>(value));
      break;
    case DType::i32:
      write(static_cast<std::int32_t>(value));
      break;
    case DType::i8:
      write(static_cast<std::int8_t>(value));
      break;
    case DType::u8:
    case DType::boolean:
      write(static_cast<std::uint8_t>(value));
      break;
  }
}

std::vector<RowId> choose_rows(int batch, int heads, int q_len, int limit, std::uint64_t seed) {
  std::vector<RowId> rows;
  const std::int64_t total = static_cast<std::int64_t>(batch) * heads * q_len;
  if (total <= limit) {
    for (int b = 0; b < batch; ++b)
      for (int h = 0; h < heads; ++h)
        for (int q = 0; q < q_len; ++q) rows.push_back({b, h, q});
    return rows;
  }
  std::mt19937_64 random(seed);
  std::set<std::tuple<int, int, int>> chosen;
  for (int q : {0, 1, 15, 16, 63, 64, 127, 128, 191, 192, q_len / 2, q_len - 2, q_len - 1})
    if (q >= 0 && q < q_len && static_cast<int>(chosen.size()) < limit) {
      chosen.insert({0, 0, q});
      if (static_cast<int>(chosen.size()) < limit) chosen.insert({batch - 1, heads - 1, q});
    }
  while (static_cast<int>(chosen.size()) < limit)
    chosen.insert({static_cast<int>(random() % static_cast<std::uint64_t>(batch)),
                   static_cast<int>(random() % static_cast<std::uint64_t>(heads)),
                   static_cast<int>(random() % static_cast<std::uint64_t>(q_len))});
  for (auto [b, h, q] : chosen) rows.push_back({b, h, q});
  return rows;
}

std::vector<ReferenceRow> reference_rows(const ir::Program& program, const ReferenceInputs& inputs,
                                         const std::vector<RowId>& rows) {
  const auto heads = inputs.q.shape[1], kv_heads = inputs.k.shape[1];
  const auto keys = static_cast<std::size_t>(inputs.k.shape[2]);
  const auto dims = static_cast<std::size_t>(inputs.k.shape[3]);
  const DType dtype = inputs.q.dtype;
  ir::Interpreter interpreter(program, inputs.bindings);
  ir::Interpreter plain_interpreter(program, inputs.bindings, ir::Interpreter::Precision::single);
  std::vector<std::vector<double>> k_rows(keys), v_rows(keys);
  std::int64_t loaded_b = -1, loaded_h = -1;
  std::vector<ReferenceRow> results;
  for (const RowId& id : rows) {
    const std::int64_t kv_head = kv_heads == 0 ? 0 : id.h / (heads / kv_heads);
    if (loaded_b != id.b || loaded_h != kv_head) {
      for (std::size_t k = 0; k < keys; ++k) {
        k_rows[k] = read_row(inputs.k, id.b, kv_head, static_cast<std::int64_t>(k));
        v_rows[k] = read_row(inputs.v, id.b, kv_head, static_cast<std::int64_t>(k));
      }
      loaded_b = id.b, loaded_h = kv_head;
    }
    const std::vector<double> q_row = read_row(inputs.q, id.b, id.h, id.q);
    std::vector<double> exact(keys), plain(keys);
    for (std::size_t k = 0; k < keys; ++k) {
      double dot = 0;
      float dot_single = 0;
      for (std::size_t d = 0; d < dims; ++d) {
        dot += q_row[d] * k_rows[k][d];
        dot_single += static_cast<float>(q_row[d]) * static_cast<float>(k_rows[k][d]);
      }
      exact[k] = dot * static_cast<double>(inputs.scale);
      plain[k] = round_to(static_cast<double>(dot_single * inputs.scale), dtype);
    }
    std::vector<std::uint8_t> kept(keys, 1);
    if (keys > 0) {
      const std::vector<std::int32_t> q_idx(keys, id.q);
      std::vector<std::int32_t> kv_idx(keys);
      for (std::size_t k = 0; k < keys; ++k) kv_idx[k] = static_cast<std::int32_t>(k);
      const ir::LaneContext context{id.b, id.h, static_cast<std::int32_t>(inputs.q.shape[2]),
                                    static_cast<std::int32_t>(keys), static_cast<double>(inputs.scale)};
      std::vector<double> modified = exact;
      interpreter.run(context, static_cast<int>(keys), q_idx.data(), kv_idx.data(), exact.data(), modified.data(),
                      kept.data());
      exact = modified;
      modified = plain;
      plain_interpreter.run(context, static_cast<int>(keys), q_idx.data(), kv_idx.data(), plain.data(), modified.data(),
                            nullptr);
      for (std::size_t k = 0; k < keys; ++k) plain[k] = round_to(modified[k], dtype);
    }
    ReferenceRow row{id, std::vector<double>(static_cast<std::size_t>(inputs.v.shape[3])), 0,
                     std::vector<double>(static_cast<std::size_t>(inputs.v.shape[3]))};
    double plain_lse = 0;
    softmax_times_v(exact, kept, v_rows, nullptr, row.gold, row.gold_lse);
    softmax_times_v(plain, kept, v_rows, &dtype, row.plain, plain_lse);
    results.push_back(std::move(row));
  }
  return results;
}

Errors measure(const std::vector<ReferenceRow>& rows, const TensorView& out) {
  Errors errors;
  double count = 0;
  for (const ReferenceRow& row : rows)
    for (std::size_t d = 0; d < row.gold.size(); ++d) {
      if (std::isnan(row.gold[d])) continue;
      const std::int64_t index[] = {row.id.b, row.id.h, row.id.q, static_cast<std::int64_t>(d)};
      const double error = std::fabs(read_element(out, index) - row.gold[d]),
                   plain = std::fabs(row.plain[d] - row.gold[d]);
      errors.mean += error, errors.plain_mean += plain;
      errors.max = std::max(errors.max, error), errors.plain_max = std::max(errors.plain_max, plain);
      ++count;
    }
  if (count > 0) errors.mean /= count, errors.plain_mean /= count;
  return errors;
}

std::string judge(const std::vector<ReferenceRow>& rows, const TensorView& out, const TensorView& lse) {
  double sum_error = 0, sum_plain = 0, max_plain = 0;
  std::int64_t count = 0;
  struct Worst {
    double excess = -infinity, error = 0, allowance = 0;
    RowId id;
  } worst;
  std::vector<std::tuple<double, double, RowId>> row_errors;  // greatest error of the row, 2 ulp at its scale
  for (const ReferenceRow& row : rows) {
    double row_error = 0, row_scale = 0;
    for (std::size_t d = 0; d < row.gold.size(); ++d) {
      const std::int64_t index[] = {row.id.b, row.id.h, row.id.q, static_cast<std::int64_t>(d)};
      const double value = read_element(out, index);
      const auto where = [&] { return attnc::format("out[{},{},{},{}]", row.id.b, row.id.h, row.id.q, d); };
      if (std::isnan(row.gold[d])) {
        if (!std::isnan(value)) return attnc::format("{} is {} where the reference is NaN", where(), value);
        continue;
      }
      if (std::isnan(value))
        return attnc::format("{} is NaN (or was not written) where the reference is {}", where(), row.gold[d]);
      const double error = std::fabs(value - row.gold[d]);
      const double plain_error = std::isnan(row.plain[d]) ? 0 : std::fabs(row.plain[d] - row.gold[d]);
      sum_error += error;
      sum_plain += plain_error;
      max_plain = std::max(max_plain, plain_error);
      row_error = std::max(row_error, error);
      row_scale = std::max(row_scale, std::fabs(row.gold[d]));
      ++count;
    }
    row_errors.emplace_back(row_error, 2 * ulp(row_scale, out.dtype), row.id);
    if (!lse.empty()) {
      const std::int64_t index[] = {row.id.b, row.id.h, row.id.q};
      const double value = read_element(lse, index);
      const auto where = [&] { return attnc::format("lse[{},{},{}]", row.id.b, row.id.h, row.id.q); };
      if (std::isnan(row.gold_lse) ? !std::isnan(value) : row.gold_lse == -infinity && value != row.gold_lse)
        return attnc::format("{} is {}, the reference {}", where(), value, row.gold_lse);
      if (std::isfinite(row.gold_lse)) {
        const double allowance = (out.dtype == DType::f32 ? 1e-4 : 2e-3) + 1e-3 * std::fabs(row.gold_lse);
        if (!(std::fabs(value - row.gold_lse) <= allowance))
          return attnc::format("{} is {}, the reference {}, allowed {}", where(), value, row.gold_lse, allowance);
      }
    }
  }
  if (count == 0) return "";
  const double mean_error = sum_error / static_cast<double>(count), mean_plain = sum_plain / static_cast<double>(count);
  if (!(mean_error <= 1.5 * mean_plain + 1e-7))
    return attnc::format("mean error {:.3g} exceeds 1.5 x {:.3g} + 1e-7 (plain evaluation in {})", mean_error,
                         mean_plain, name(out.dtype));
  for (const auto& [error, two_ulp, id] : row_errors)
    if (const double allowance = 2 * max_plain + two_ulp; error - allowance > worst.excess)
      worst = {error - allowance, error, allowance, id};
  if (worst.excess > 0)
    return attnc::format("greatest error {:.3g} at row [{},{},{}] exceeds {:.3g} (2 x {:.3g} + 2 ulp)", worst.error,
                         worst.id.b, worst.id.h, worst.id.q, worst.allowance, max_plain);
  return "";
}

}  // namespace attnc::oracle
