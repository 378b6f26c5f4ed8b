/* SPDX-License-Identifier: Apache-2.0 */
/* The C API as a C11 program meets it: the header compiles, and a NULL anywhere is refused, never followed. */
#include <stdio.h>
#include <string.h>

#include "attnc/attnc.h"

static int failures = 0;

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                     \
    }                                                                 \
  } while (0)

/* `call` refuses a NULL, says which, and copes with a caller who does not want to know. */
#define REFUSES(name, call_with)                                                      \
  do {                                                                                \
    attnc_error* error = NULL;                                                        \
    CHECK(call_with(&error) == ATTNC_INVALID_ARGUMENT);                               \
    CHECK(attnc_error_status(error) == ATTNC_INVALID_ARGUMENT);                       \
    if (strstr(attnc_error_message(error), name " is NULL") == NULL) {                \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, attnc_error_message(error)); \
      ++failures;                                                                     \
    }                                                                                 \
    attnc_error_free(error);                                                          \
    CHECK(call_with(NULL) == ATTNC_INVALID_ARGUMENT);                                 \
  } while (0)

static void test_nulls(void) {
  attnc_attention* attention = NULL;
  attnc_attention_options options = ATTNC_ATTENTION_OPTIONS_INIT;
  options.head_dim = 8;
  CHECK(attnc_attention_create(&options, &attention, NULL) == ATTNC_OK);

  float data[8] = {0};
  const int64_t shape[4] = {1, 1, 1, 8};
  attnc_tensor t;
  CHECK(attnc_tensor_contiguous(&t, data, ATTNC_DTYPE_F32, 4, shape, NULL) == ATTNC_OK);
  char* text = NULL;
  attnc_block_mask* mask = NULL;
  attnc_block_mask_options mask_options = ATTNC_BLOCK_MASK_OPTIONS_INIT;
  mask_options.q_len = mask_options.kv_len = 64;

#define CALL(e) attnc_tensor_contiguous(NULL, data, ATTNC_DTYPE_F32, 4, shape, e)
  REFUSES("out", CALL);
#undef CALL
#define CALL(e) attnc_tensor_contiguous(&t, data, ATTNC_DTYPE_F32, 4, NULL, e)
  REFUSES("shape", CALL);
#undef CALL
#define CALL(e) attnc_attention_create(NULL, &attention, e)
  REFUSES("attnc_attention_options", CALL);
#undef CALL
#define CALL(e) attnc_attention_create(&options, NULL, e)
  REFUSES("out", CALL);
#undef CALL
#define CALL(e) attnc_attention_prepare(NULL, e)
  REFUSES("attention", CALL);
#undef CALL
#define CALL(e) attnc_attention_forward(NULL, &t, &t, &t, &t, NULL, e)
  REFUSES("attention", CALL);
#undef CALL
#define CALL(e) attnc_attention_forward(attention, NULL, &t, &t, &t, NULL, e)
  REFUSES("q", CALL);
#undef CALL
#define CALL(e) attnc_attention_forward(attention, &t, NULL, &t, &t, NULL, e)
  REFUSES("k", CALL);
#undef CALL
#define CALL(e) attnc_attention_forward(attention, &t, &t, NULL, &t, NULL, e)
  REFUSES("v", CALL);
#undef CALL
#define CALL(e) attnc_attention_forward(attention, &t, &t, &t, NULL, NULL, e)
  REFUSES("out", CALL);
#undef CALL
#define CALL(e) attnc_attention_explain(NULL, "ir", NULL, &text, e)
  REFUSES("attention", CALL);
#undef CALL
#define CALL(e) attnc_attention_explain(attention, NULL, NULL, &text, e)
  REFUSES("stage", CALL);
#undef CALL
#define CALL(e) attnc_attention_explain(attention, "ir", NULL, NULL, e)
  REFUSES("text", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_create(NULL, &mask, e)
  REFUSES("attnc_block_mask_options", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_create(&mask_options, &mask, e)
  REFUSES("mask_mod", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_create(&mask_options, NULL, e)
  REFUSES("out", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_from_kv_blocks(NULL, &mask, e)
  REFUSES("attnc_kv_blocks", CALL);
#undef CALL
  attnc_kv_blocks blocks = ATTNC_KV_BLOCKS_INIT;
  blocks.q_len = blocks.kv_len = 64;
#define CALL(e) attnc_block_mask_from_kv_blocks(&blocks, &mask, e)
  REFUSES("kv_num_blocks", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_slice(NULL, 0, 0, &mask, e)
  REFUSES("mask", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_slice_q_blocks(NULL, 0, 1, &mask, e)
  REFUSES("mask", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_and(NULL, NULL, &mask, e)
  REFUSES("a", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_or(NULL, NULL, &mask, e)
  REFUSES("a", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_get_info(NULL, NULL, e)
  REFUSES("mask", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_get_tables(NULL, NULL, e)
  REFUSES("mask", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_to_dense(NULL, NULL, 0, e)
  REFUSES("mask", CALL);
#undef CALL
#define CALL(e) attnc_block_mask_to_string(NULL, 0, 0, 64, &text, e)
  REFUSES("mask", CALL);
#undef CALL
  CHECK(mask == NULL && text == NULL);

  attnc_attention_free(attention);
  attnc_attention_free(NULL);
  attnc_block_mask_free(NULL);
  attnc_error_free(NULL);
  attnc_string_free(NULL);
}

static void test_constants(void) {
  CHECK(attnc_c_api_version() == ATTNC_C_API_VERSION);
  CHECK(strlen(attnc_version()) >= strlen("0.0.0"));
  CHECK(strcmp(attnc_status_name(ATTNC_OK), "ok") == 0);
  CHECK(strcmp(attnc_status_name(ATTNC_INTERNAL), "internal") == 0);
  CHECK(strcmp(attnc_status_name(1000), "unknown") == 0);
  CHECK(attnc_error_status(NULL) == ATTNC_OK);
  CHECK(strcmp(attnc_error_message(NULL), "") == 0);
}

static void test_option_structs_start_empty(void) {
  const attnc_forward_options call = ATTNC_FORWARD_OPTIONS_INIT;
  const attnc_block_mask_info info = ATTNC_BLOCK_MASK_INFO_INIT;
  const attnc_block_mask_tables tables = ATTNC_BLOCK_MASK_TABLES_INIT;
  const attnc_cache_stats stats = ATTNC_CACHE_STATS_INIT;
  CHECK(call.struct_size == sizeof call && call.block_mask == NULL && call.scale == NULL);
  CHECK(info.struct_size == sizeof info && tables.struct_size == sizeof tables && stats.struct_size == sizeof stats);
}

int main(void) {
  test_constants();
  test_option_structs_start_empty();
  test_nulls();
  if (failures == 0) printf("ok\n");
  return failures == 0 ? 0 : 1;
}
