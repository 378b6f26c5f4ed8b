/* SPDX-License-Identifier: Apache-2.0 */
/* attnc from C: packed documents through a captured buffer, a block mask, and what an error looks like. */
#include <attnc/attnc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { H = 2, S = 96, D = 16, N = H * S * D };

/* Prints and frees `error`; 77 says to CTest that there is no device to run on. */
static int failed(attnc_status status, attnc_error* error) {
  fprintf(stderr, "%s: %s\n", attnc_status_name(status), attnc_error_message(error));
  attnc_error_free(error);
  return status == ATTNC_NO_DEVICE ? 77 : 1;
}

static void print_log(void* user_data, const char* category, const char* message) {
  (void)user_data;
  printf("[%s] %s\n", category, message);
}

int main(void) {
  static float q[N], k[N], v[N], out[N];
  static int32_t ids[S];
  for (int i = 0; i < N; ++i) {
    q[i] = (float)(i % 7) - 3;
    k[i] = (float)(i % 5) - 2;
    v[i] = (float)(i / D % S / 32); /* a token's value is the number of its document, so that is each output */
    out[i] = NAN;
  }
  for (int i = 0; i < S; ++i) ids[i] = i / 32;

  const attnc_buffer_decl doc = {"doc", ATTNC_DTYPE_I32, 1};
  attnc_attention_options options = ATTNC_ATTENTION_OPTIONS_INIT;
  options.mask_mod = "doc[q_idx] == doc[kv_idx] && q_idx >= kv_idx";
  options.buffers = &doc;
  options.num_buffers = 1;
  options.dtype = ATTNC_DTYPE_F32;
  options.head_dim = D;
  options.log = print_log;
  attnc_attention* attention = NULL;
  attnc_error* error = NULL;
  attnc_status status = attnc_attention_create(&options, &attention, &error);
  if (status != ATTNC_OK) return failed(status, error);

  attnc_buffer_value doc_value = {"doc", {0}};
  const int64_t doc_shape[] = {S}, shape[] = {1, H, S, D};
  attnc_tensor tq, tk, tv, tout;
  attnc_tensor_contiguous(&doc_value.tensor, ids, ATTNC_DTYPE_I32, 1, doc_shape, NULL);
  attnc_tensor_contiguous(&tq, q, ATTNC_DTYPE_F32, 4, shape, NULL);
  attnc_tensor_contiguous(&tk, k, ATTNC_DTYPE_F32, 4, shape, NULL);
  attnc_tensor_contiguous(&tv, v, ATTNC_DTYPE_F32, 4, shape, NULL);
  attnc_tensor_contiguous(&tout, out, ATTNC_DTYPE_F32, 4, shape, NULL);

  attnc_forward_options call = ATTNC_FORWARD_OPTIONS_INIT;
  status = attnc_attention_forward(attention, &tq, &tk, &tv, &tout, &call, &error);
  if (status == ATTNC_NO_DEVICE) return failed(status, error);
  if (status != ATTNC_INVALID_ARGUMENT) return 1; /* the buffer is not bound yet */
  printf("as it should be, refused: %s\n", attnc_error_message(error));
  attnc_error_free(error);

  call.buffers = &doc_value;
  call.num_buffers = 1;
  status = attnc_attention_forward(attention, &tq, &tk, &tv, &tout, &call, &error);
  if (status != ATTNC_OK) return failed(status, error);
  attnc_attention_free(attention);

  double worst = 0;
  for (int i = 0; i < N; ++i) worst = fmax(worst, isnan(out[i]) ? HUGE_VAL : fabs(out[i] - v[i]));
  printf("attnc %s from C: greatest difference to the documents' numbers: %.1e\n", attnc_version(), worst);
  return worst < 1e-5 ? 0 : 1;
}
