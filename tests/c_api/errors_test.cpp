// SPDX-License-Identifier: Apache-2.0
// Every mistake a caller can make in plain data is answered with a status and a message that names it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "support.h"

namespace {

// Fails one allocation of this thread, to see that none is taken for granted. < 0: never.
thread_local int allocations_left = -1;

void* allocate(std::size_t bytes) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  void* p = std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace attnc::c_api_test {
namespace {

attnc_attention_options options() {
  auto o = sized<attnc_attention_options>();
  o.head_dim = 16;
  return o;
}

/// What attnc_attention_create answers; on failure it must leave its output alone.
Answer create(const attnc_attention_options& o) {
  attnc_attention* raw = nullptr;
  const Answer answer = ask([&](attnc_error** e) { return attnc_attention_create(&o, &raw, e); });
  const AttentionPtr owned(raw);
  EXPECT_EQ(answer.status == ATTNC_OK, raw != nullptr);
  return answer;
}

#define EXPECT_REFUSED(answer_, status_, text_)                                   \
  do {                                                                            \
    const Answer a = (answer_);                                                   \
    EXPECT_EQ(a.status, status_) << a.message;                                    \
    EXPECT_NE(a.message.find(text_), std::string::npos) << "says: " << a.message; \
  } while (0)

TEST(CApiErrors, ExpressionsComeBackWithACaret) {
  attnc_attention_options o = options();
  o.score_mod = "score * * 2";
  EXPECT_REFUSED(create(o), ATTNC_INVALID_EXPRESSION, "^");
  o = options();
  o.mask_mod = "q_idx >= kv_index";
  EXPECT_REFUSED(create(o), ATTNC_INVALID_EXPRESSION, "kv_index");
}

TEST(CApiErrors, Options) {
  EXPECT_EQ(create(options()).status, ATTNC_OK);
  attnc_attention_options o = options();
  o.dtype = 99;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "dtype is 99");
  o = options();
  o.dtype = -1;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "dtype is -1");
  o = options();
  o.dtype = ATTNC_DTYPE_I32;
  EXPECT_NE(create(o).status, ATTNC_OK);
  o = options();
  o.head_dim = 0;
  EXPECT_NE(create(o).status, ATTNC_OK);
  o = options();
  o.device.kind = 7;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "device.kind is 7");
  o = options();
  o.device.index = -3;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "device.index is -3");
}

TEST(CApiErrors, Captures) {
  attnc_attention_options o = options();
  o.num_params = 1;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "params is NULL, but its count is 1");
  attnc_param_decl param{nullptr, ATTNC_TYPE_F32, 1, 0, 0};
  o.params = &param;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "params[0].name is NULL");
  param.name = "cap";
  param.type = 4;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "params[0].type is 4");
  o = options();
  attnc_buffer_decl buffer{"table", 8, 1};
  o.buffers = &buffer;
  o.num_buffers = 1;
  EXPECT_REFUSED(create(o), ATTNC_INVALID_ARGUMENT, "buffers[0].dtype is 8");
  buffer = {"table", ATTNC_DTYPE_F32, 6};
  o.score_mod = "score + table[h]";
  EXPECT_EQ(create(o).status, ATTNC_INVALID_EXPRESSION);
}

TEST(CApiErrors, Tensors) {
  const std::int64_t shape[] = {2, 3, 4, 5, 6, 7};
  attnc_tensor t{};
  const auto make = [&](attnc_dtype dtype, int rank, const std::int64_t* extents) {
    return ask([&](attnc_error** e) { return attnc_tensor_contiguous(&t, nullptr, dtype, rank, extents, e); });
  };
  EXPECT_EQ(make(ATTNC_DTYPE_F16, 5, shape).status, ATTNC_OK);
  EXPECT_EQ(t.stride_elems[0], 3 * 4 * 5 * 6);
  EXPECT_EQ(t.stride_elems[4], 1);
  EXPECT_EQ(make(ATTNC_DTYPE_F32, 0, nullptr).status, ATTNC_OK);
  EXPECT_REFUSED(make(ATTNC_DTYPE_F32, 6, shape), ATTNC_INVALID_ARGUMENT, "rank is 6");
  EXPECT_REFUSED(make(ATTNC_DTYPE_F32, -1, shape), ATTNC_INVALID_ARGUMENT, "rank is -1");
  EXPECT_REFUSED(make(42, 2, shape), ATTNC_INVALID_ARGUMENT, "dtype is 42");
  const std::int64_t negative[] = {4, -2};
  EXPECT_REFUSED(make(ATTNC_DTYPE_F32, 2, negative), ATTNC_INVALID_ARGUMENT, "shape[1] is -2");
  const std::int64_t huge[] = {std::int64_t{1} << 40, std::int64_t{1} << 40};
  EXPECT_REFUSED(make(ATTNC_DTYPE_F32, 2, huge), ATTNC_INVALID_ARGUMENT, "2^63");
}

TEST(CApiErrors, Forward) {
  const attnc_attention_options o = options();
  attnc_attention* raw = nullptr;
  ASSERT_EQ(attnc_attention_create(&o, &raw, nullptr), ATTNC_OK);
  const AttentionPtr attention(raw);
  std::vector<float> data = numbers(4 * 16, 1), out(4 * 16, -7);
  const attnc_tensor good = tensor(data.data(), ATTNC_DTYPE_F32, {1, 1, 4, 16});
  const attnc_tensor good_out = tensor(out.data(), ATTNC_DTYPE_F32, {1, 1, 4, 16});
  const auto forward = [&](const attnc_tensor& q, const attnc_forward_options* call) {
    return ask([&](attnc_error** e) { return attnc_attention_forward(raw, &q, &good, &good, &good_out, call, e); });
  };
  attnc_tensor bad = good;
  bad.rank = 9;
  EXPECT_REFUSED(forward(bad, nullptr), ATTNC_INVALID_ARGUMENT, "q.rank is 9");
  bad = good;
  bad.dtype = 99;
  EXPECT_REFUSED(forward(bad, nullptr), ATTNC_INVALID_ARGUMENT, "q.dtype is 99");
  bad = good;
  bad.data = nullptr;
  EXPECT_REFUSED(forward(bad, nullptr), ATTNC_INVALID_ARGUMENT, "q");
  attnc_tensor no_lse = good;
  no_lse.data = nullptr;
  auto call = sized<attnc_forward_options>();
  call.lse = &no_lse;
  EXPECT_REFUSED(forward(good, &call), ATTNC_INVALID_ARGUMENT, "lse.data is NULL");
  call = sized<attnc_forward_options>();
  attnc_param_value nobody{"nobody", 0, 0, 1, 0};
  call.params = &nobody;
  call.num_params = 1;
  EXPECT_REFUSED(forward(good, &call), ATTNC_INVALID_ARGUMENT, "nobody");
  nobody.name = nullptr;
  EXPECT_REFUSED(forward(good, &call), ATTNC_INVALID_ARGUMENT, "params[0].name is NULL");
  EXPECT_EQ(out, std::vector<float>(4 * 16, -7)) << "a refused call has no effect";
}

/// A caller's struct from another version of the header: `size` bytes of which the library knows some.
template <class Struct>
std::vector<unsigned char> as_bytes(const Struct& s, std::size_t size) {
  std::vector<unsigned char> bytes(std::max(size, sizeof(Struct)), 0);
  std::memcpy(bytes.data(), &s, sizeof(Struct));
  std::memcpy(bytes.data(), &size, sizeof size);
  return bytes;
}

TEST(CApiErrors, OptionStructsGrow) {
  const auto create_sized = [](std::vector<unsigned char> bytes) {
    attnc_attention_options o;
    std::memcpy(&o, bytes.data(), sizeof o);
    attnc_attention* raw = nullptr;
    const Answer answer = ask([&](attnc_error** e) {
      return attnc_attention_create(reinterpret_cast<const attnc_attention_options*>(bytes.data()), &raw, e);
    });
    const AttentionPtr owned(raw);
    return answer;
  };
  const std::size_t size = sizeof(attnc_attention_options);
  EXPECT_REFUSED(create_sized(as_bytes(options(), 0)), ATTNC_INVALID_ARGUMENT, "struct_size is 0");
  EXPECT_REFUSED(create_sized(as_bytes(options(), size - 1)), ATTNC_INVALID_ARGUMENT, "struct_size");
  EXPECT_EQ(create_sized(as_bytes(options(), size)).status, ATTNC_OK);
  std::vector<unsigned char> newer = as_bytes(options(), size + 24);
  EXPECT_EQ(create_sized(newer).status, ATTNC_OK) << "members this library does not know, unused";
  newer[size + 9] = 1;
  EXPECT_REFUSED(create_sized(newer), ATTNC_UNSUPPORTED, "does not know");
}

TEST(CApiErrors, ResultStructsGrow) {
  auto mo = sized<attnc_block_mask_options>();
  mo.mask_mod = "q_idx >= kv_idx";
  mo.q_len = mo.kv_len = 64;
  attnc_block_mask* raw = nullptr;
  ASSERT_EQ(attnc_block_mask_create(&mo, &raw, nullptr), ATTNC_OK);
  const BlockMaskPtr mask(raw);
  const std::size_t size = sizeof(attnc_block_mask_info);
  std::vector<unsigned char> newer = as_bytes(attnc_block_mask_info{}, size + 16);
  std::fill(newer.begin() + static_cast<std::ptrdiff_t>(size), newer.end(), 0xAA);
  EXPECT_EQ(attnc_block_mask_get_info(raw, reinterpret_cast<attnc_block_mask_info*>(newer.data()), nullptr), ATTNC_OK);
  EXPECT_EQ(std::vector<unsigned char>(newer.begin() + static_cast<std::ptrdiff_t>(size), newer.end()),
            std::vector<unsigned char>(16, 0))
      << "what this library does not know is 0";
  attnc_block_mask_info small{};
  small.struct_size = size - 8;
  EXPECT_EQ(attnc_block_mask_get_info(raw, &small, nullptr), ATTNC_INVALID_ARGUMENT);
  EXPECT_EQ(small.q_len, 0);
}

/// Fails the n-th allocation of `call` for n = 0, 1, ... until it gets through.
template <class Call>
void sweep_allocations(Call&& call) {
  int failures = 0;
  for (int n = 0; n < 100000; ++n) {
    attnc_error* error = nullptr;
    allocations_left = n;
    const attnc_status status = call(&error);
    allocations_left = -1;
    const ErrorPtr owned(error);
    if (status == ATTNC_OK) {
      EXPECT_GT(failures, 0);
      return;
    }
    ++failures;
    ASSERT_EQ(status, ATTNC_OUT_OF_MEMORY) << attnc_error_message(error);
    ASSERT_NE(error, nullptr);
    ASSERT_STREQ(attnc_error_message(error), "out of memory");
  }
  FAIL() << "never got through";
}

TEST(CApiErrors, NoAllocationIsTakenForGranted) {
  attnc_attention_options o = options();
  const attnc_param_decl param{"a_parameter_with_a_name_that_no_small_string_holds", ATTNC_TYPE_F32, 1, 2, 0};
  const attnc_buffer_decl buffer{"slope", ATTNC_DTYPE_F32, 1};
  o.params = &param;
  o.num_params = 1;
  o.buffers = &buffer;
  o.num_buffers = 1;
  o.score_mod = "tanh(score / 3.0) + slope[h] * (kv_idx - q_idx)";
  o.mask_mod = "q_idx >= kv_idx";
  o.cache_dir = "/a/directory/that/is/never/looked/at";
  sweep_allocations([&](attnc_error** e) {
    attnc_attention* raw = nullptr;
    const attnc_status status = attnc_attention_create(&o, &raw, e);
    EXPECT_EQ(status == ATTNC_OK, raw != nullptr);
    attnc_attention_free(raw);
    return status;
  });
  attnc_attention* raw = nullptr;
  ASSERT_EQ(attnc_attention_create(&o, &raw, nullptr), ATTNC_OK);
  const AttentionPtr attention(raw);
  sweep_allocations([&](attnc_error** e) {
    char* text = nullptr;
    const attnc_status status = attnc_attention_explain(attention.get(), "placement", nullptr, &text, e);
    EXPECT_EQ(status == ATTNC_OK, text != nullptr);
    attnc_string_free(text);
    return status;
  });
}

}  // namespace
}  // namespace attnc::c_api_test
