/* SPDX-License-Identifier: Apache-2.0 */
/* attnc from C, and from every language that can call C. C11; also C++. Included by <attnc/attnc.h>.
 *
 * Rules that hold for every function:
 * - Nothing is thrown. A function that can fail returns an attnc_status and takes `attnc_error** error` last: NULL if
 * the caller does not want the message, else *error becomes NULL on success and, on failure, an object that the caller
 * frees with attnc_error_free.
 * - A failed call has no effect, and leaves *out parameters alone.
 * - Strings are UTF-8, NUL-terminated and only read during the call, as is everything else that is passed by pointer,
 *   unless said otherwise. attnc never takes ownership of the caller's memory.
 * - What a function named *_create or *_from_* gives belongs to the caller, who frees it with the matching *_free,
 * once, when no other thread uses it any more. *_free(NULL) does nothing.
 * - Functions that take a `const` handle may be called on one handle from many threads at once. There is no global
 * state.
 * - An option struct begins with `struct_size`, set by its *_INIT macro; all other members 0 mean the default. A
 * program built with an older header works with a newer library, and one built with a newer header works with an older
 * library as long as it leaves the members that library does not know at 0. Structs without `struct_size` never change.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../dsl/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every addition; nothing is ever removed or changed within one shared-library version. */
#define ATTNC_C_API_VERSION 2

/* ATTNC_C_API_VERSION of the library that is running: at least the header's if all of the header is to work. */
ATTNC_API int32_t attnc_c_api_version(void);
/* Version of the library, "major.minor.patch". Static storage. */
ATTNC_API const char* attnc_version(void);

/* ---- errors ---- */

typedef int32_t attnc_status;
enum {
  ATTNC_OK = 0,
  ATTNC_INVALID_EXPRESSION = 1, /* a mod does not parse, does not type-check, or is over a documented limit */
  ATTNC_INVALID_ARGUMENT = 2,   /* a tensor, shape, stride, parameter or option breaks a rule; the message says which */
  ATTNC_UNSUPPORTED = 3,        /* well-formed, but this build or this device cannot do it */
  ATTNC_NO_DEVICE = 4,          /* no such device, driver or run-time compiler on this machine */
  ATTNC_OUT_OF_MEMORY = 5,      /* host or device memory exhausted */
  ATTNC_IO = 6,                 /* a file cannot be read or written */
  ATTNC_INTERNAL = 7            /* a bug of attnc; the message says how to report it */
};

/* Immutable; may be handed between threads. */
typedef struct attnc_error attnc_error;

/* "ok", "invalid_expression", ...; "unknown" for a value of a newer library. Static storage. */
ATTNC_API const char* attnc_status_name(attnc_status status);
/* ATTNC_OK for NULL. */
ATTNC_API attnc_status attnc_error_status(const attnc_error* error);
/* What went wrong: the argument, its value and the rule; for an expression, its text with a caret under the place.
 * Lives as long as `error`; "" for NULL. */
ATTNC_API const char* attnc_error_message(const attnc_error* error);
ATTNC_API void attnc_error_free(attnc_error* error);

/* Frees a text that attnc returned through a `char**`. */
ATTNC_API void attnc_string_free(char* text);

/* ---- types, devices, tensors ---- */

/* Element type of a tensor. */
typedef int32_t attnc_dtype;
enum {
  ATTNC_DTYPE_F32 = 0,
  ATTNC_DTYPE_F16 = 1,
  ATTNC_DTYPE_BF16 = 2,
  ATTNC_DTYPE_I64 = 3,
  ATTNC_DTYPE_I32 = 4,
  ATTNC_DTYPE_I8 = 5,
  ATTNC_DTYPE_U8 = 6,
  ATTNC_DTYPE_BOOL = 7 /* one byte, 0 or 1 */
};

/* Type of a parameter inside a mod. */
typedef int32_t attnc_type;
enum { ATTNC_TYPE_BOOL = 0, ATTNC_TYPE_I32 = 1, ATTNC_TYPE_I64 = 2, ATTNC_TYPE_F32 = 3 };

typedef int32_t attnc_device_kind;
enum { ATTNC_DEVICE_CPU = 0, ATTNC_DEVICE_CUDA = 1 };

/* Zero-initialised: the CPU. `index` is the CUDA ordinal; 0 for the CPU. */
typedef struct attnc_device {
  attnc_device_kind kind;
  int32_t index;
} attnc_device;

enum { ATTNC_MAX_RANK = 5 };

/* A borrowed tensor. Strides count elements, may be negative, and 0 broadcasts. The memory must stay valid until the
 * work that uses it is done: on a CUDA device, until the stream has passed it. */
typedef struct attnc_tensor {
  void* data;
  attnc_dtype dtype;
  int32_t rank; /* 0 to ATTNC_MAX_RANK; entries of the arrays from `rank` on are ignored */
  int64_t shape[ATTNC_MAX_RANK];
  int64_t stride_elems[ATTNC_MAX_RANK];
} attnc_tensor;

/* Fills *out with a contiguous, row-major view. Fails with ATTNC_INVALID_ARGUMENT for a bad rank, dtype or extent. */
ATTNC_API attnc_status attnc_tensor_contiguous(attnc_tensor* out, void* data, attnc_dtype dtype, int32_t rank,
                                               const int64_t* shape, attnc_error** error);

/* ---- captures of mods ---- */

/* A scalar that a mod reads by name; its value may change from call to call and never causes a compilation. */
typedef struct attnc_param_decl {
  const char* name;
  attnc_type type;
  int32_t has_default;     /* 0: every call must bind a value */
  double default_real;     /* for ATTNC_TYPE_F32 */
  int64_t default_integer; /* for the other types */
} attnc_param_decl;

/* A tensor that a mod indexes by name. An index outside it reads 0 and never faults. */
typedef struct attnc_buffer_decl {
  const char* name;
  attnc_dtype dtype;
  int32_t rank;
} attnc_buffer_decl;

/* A parameter's value for one call. An integer may bind a float parameter; not the reverse. */
typedef struct attnc_param_value {
  const char* name;
  int32_t is_integer;
  int32_t reserved; /* 0 */
  double real;      /* used when is_integer is 0 */
  int64_t integer;  /* used otherwise */
} attnc_param_value;

/* A buffer for one call, of the declared dtype and rank, on the device that runs the work. */
typedef struct attnc_buffer_value {
  const char* name;
  attnc_tensor tensor;
} attnc_buffer_value;

/* ---- attention ---- */

/* Told about compilations ("compile"), the layout of each CUDA kernel that is loaded ("plan") and cache trouble
 * ("cache"). Called on the thread that meets the event, possibly on several at once; must not throw, longjmp, or call
 * back into the same handle. The strings live during the call. */
typedef void (*attnc_log_callback)(void* user_data, const char* category, const char* message);

/* What makes a variant: all of it is part of its identity, and none of it is a shape. */
typedef struct attnc_attention_options {
  size_t struct_size;
  const char* score_mod;          /* text form, e.g. "cap * tanh(score / cap)"; NULL: the score as it is */
  const char* mask_mod;           /* text form, e.g. "q_idx >= kv_idx"; NULL: every key */
  const attnc_param_decl* params; /* what the two texts may name besides the coordinates */
  size_t num_params;
  const attnc_buffer_decl* buffers;
  size_t num_buffers;
  attnc_dtype dtype;  /* of q, k, v and out: f32, f16 or bf16 */
  int32_t head_dim;   /* of q and k; must be given: 1 to 256 (GPU: a multiple of 8) */
  int32_t head_dim_v; /* of v and out; 0: as head_dim */
  int32_t precise;    /* 1: no approximate transcendentals */
  attnc_device device;
  const char* cache_dir;  /* NULL: ATTNC_CACHE_DIR, then the XDG cache directory; see docs/cache.md */
  attnc_log_callback log; /* NULL: silent. Must stay callable until the handle is freed */
  void* log_user_data;
} attnc_attention_options;
#define ATTNC_ATTENTION_OPTIONS_INIT \
  { .struct_size = sizeof(attnc_attention_options) }

typedef struct attnc_block_mask attnc_block_mask;

/* Per call. Zero-initialised members mean "none" or the default. */
typedef struct attnc_forward_options {
  size_t struct_size;
  const attnc_tensor* lse;         /* output, f32 [B, Hq, Sq]: natural-log sum of exponentials; NULL: not wanted */
  const float* scale;              /* softmax scale; NULL: 1/sqrt(head_dim) */
  const attnc_param_value* params; /* parameters without a value here take their default */
  size_t num_params;
  const attnc_buffer_value* buffers; /* every captured buffer */
  size_t num_buffers;
  const attnc_block_mask* block_mask; /* blocks in neither of its lists are skipped; NULL: look at every block. On a
                                         CUDA device, must not be freed before the stream has passed */
  void* stream;                       /* CUstream / cudaStream_t; ignored on the CPU */
} attnc_forward_options;
#define ATTNC_FORWARD_OPTIONS_INIT \
  { .struct_size = sizeof(attnc_forward_options) }

/* A compiled attention variant. All functions on a const handle are safe to call from many threads at once. */
typedef struct attnc_attention attnc_attention;

/* Checks mods and options; compiles nothing yet. Fails with ATTNC_INVALID_EXPRESSION (message with a caret),
 * ATTNC_INVALID_ARGUMENT or ATTNC_UNSUPPORTED. */
ATTNC_API attnc_status attnc_attention_create(const attnc_attention_options* options, attnc_attention** out,
                                              attnc_error** error);
/* On a CUDA device: only when every stream it was used on has passed the last forward. */
ATTNC_API void attnc_attention_free(attnc_attention* attention);

/* Compiles now, or loads from the cache, what the first forward would need. Idempotent. */
ATTNC_API attnc_status attnc_attention_prepare(const attnc_attention* attention, attnc_error** error);

/* out = softmax(score_mod(scale * q k^T) where mask_mod) v; docs/semantics.md has the details.
 * q [B, Hq, Sq, D], k [B, Hkv, Skv, D], v [B, Hkv, Skv, Dv], out [B, Hq, Sq, Dv]; innermost stride 1, others any; Hq a
 * multiple of Hkv. CPU: returns when done. CUDA: enqueues on options->stream and returns. `options` may be NULL. */
ATTNC_API attnc_status attnc_attention_forward(const attnc_attention* attention, const attnc_tensor* q,
                                               const attnc_tensor* k, const attnc_tensor* v, const attnc_tensor* out,
                                               const attnc_forward_options* options, attnc_error** error);

/* One stage of the compiler as text: "ir", "placement", "bounds", "plan", "signature", "cuda", "llvm", "ptx", "sass".
 * `target`: NULL for the variant's device, or "cpu", "sm_80", "sm_90a", ... *text is freed with attnc_string_free. */
ATTNC_API attnc_status attnc_attention_explain(const attnc_attention* attention, const char* stage, const char* target,
                                               char** text, attnc_error** error);

/* ---- block masks ---- */

/* Whether the elements of partial blocks are kept as bits; see ElementBits in block_mask.h. */
typedef int32_t attnc_element_bits;
enum {
  ATTNC_ELEMENT_BITS_AUTOMATIC = 0, /* where the mask is dear to evaluate */
  ATTNC_ELEMENT_BITS_ALWAYS = 1,    /* wherever they can be */
  ATTNC_ELEMENT_BITS_NEVER = 2
};

typedef struct attnc_block_mask_options {
  size_t struct_size;
  const char* mask_mod; /* text form; must be given */
  const attnc_param_decl* params;
  size_t num_params;
  const attnc_buffer_decl* buffers;
  size_t num_buffers;
  const attnc_param_value* param_values;
  size_t num_param_values;
  const attnc_buffer_value* buffer_values; /* on `device` */
  size_t num_buffer_values;
  int32_t batch; /* how many batches and heads the mask tells apart; 0 or 1: one, which broadcasts */
  int32_t heads;
  int32_t q_len; /* must be given */
  int32_t kv_len;
  int32_t block_q; /* rows per block, 16 to 512, a multiple of 16; 0: 128 */
  int32_t block_kv;
  attnc_device device;         /* where the tables are built and live */
  void* stream;                /* CUDA: the caller's stream */
  int32_t only_partial_blocks; /* 1: list every non-empty block as partial */
  int32_t reserved;            /* 0 */
  /* Since version 2. */
  attnc_element_bits element_bits; /* CUDA */
  int32_t reserved_2;              /* 0 */
} attnc_block_mask_options;
#define ATTNC_BLOCK_MASK_OPTIONS_INIT \
  { .struct_size = sizeof(attnc_block_mask_options) }

/* Decides every block of a q_len x kv_len score matrix, without holding one. CUDA: enqueues the work on `stream` and
   returns; see BlockMask::create in block_mask.h. */
ATTNC_API attnc_status attnc_block_mask_create(const attnc_block_mask_options* options, attnc_block_mask** out,
                                               attnc_error** error);

typedef struct attnc_block_mask_rebuild_options {
  size_t struct_size;
  const attnc_param_value* param_values;
  size_t num_param_values;
  const attnc_buffer_value* buffer_values;
  size_t num_buffer_values;
  void* stream; /* CUDA: the caller's stream */
} attnc_block_mask_rebuild_options;
#define ATTNC_BLOCK_MASK_REBUILD_OPTIONS_INIT \
  { .struct_size = sizeof(attnc_block_mask_rebuild_options) }

/* Decides the blocks of a mask that attnc_block_mask_create made anew, in the memory there is: nothing is compiled,
   allocated or waited for on a CUDA device, and the call can be captured into a graph. What was read from the mask
   before is no longer valid. Not while another thread uses the mask. */
ATTNC_API attnc_status attnc_block_mask_rebuild(attnc_block_mask* mask, const attnc_block_mask_rebuild_options* options,
                                                attnc_error** error);

/* FlexAttention-style tables, made elsewhere. Indices ascend in each row and no block is in both lists. */
typedef struct attnc_kv_blocks {
  size_t struct_size;
  const int32_t* kv_num_blocks;      /* host memory [batch, heads, q_blocks], with q_blocks = ceil(q_len / block_q) */
  const int32_t* kv_indices;         /* [batch, heads, q_blocks, kv_width] */
  const int32_t* full_kv_num_blocks; /* NULL, as full_kv_indices: no full blocks */
  const int32_t* full_kv_indices;    /* [batch, heads, q_blocks, full_kv_width] */
  int32_t kv_width; /* entries per row, at least the greatest count; 0: kv_blocks = ceil(kv_len / block_kv) */
  int32_t full_kv_width;
  int32_t batch; /* 0 or 1: one, which broadcasts */
  int32_t heads;
  int32_t q_len;
  int32_t kv_len;
  int32_t block_q; /* 0: 128 */
  int32_t block_kv;
  attnc_device device; /* that of the attention the mask is for */
} attnc_kv_blocks;
#define ATTNC_KV_BLOCKS_INIT \
  { .struct_size = sizeof(attnc_kv_blocks) }

/* Copies the tables. */
ATTNC_API attnc_status attnc_block_mask_from_kv_blocks(const attnc_kv_blocks* blocks, attnc_block_mask** out,
                                                       attnc_error** error);

/* The part of one batch and one head, each kept as extent 1; -1 keeps all of them. */
ATTNC_API attnc_status attnc_block_mask_slice(const attnc_block_mask* mask, int32_t batch, int32_t head,
                                              attnc_block_mask** out, attnc_error** error);
/* Rows of blocks [first, last). */
ATTNC_API attnc_status attnc_block_mask_slice_q_blocks(const attnc_block_mask* mask, int32_t first, int32_t last,
                                                       attnc_block_mask** out, attnc_error** error);
/* Blocks that both, or either, hold. The two must agree in shape and block size. */
ATTNC_API attnc_status attnc_block_mask_and(const attnc_block_mask* a, const attnc_block_mask* b,
                                            attnc_block_mask** out, attnc_error** error);
ATTNC_API attnc_status attnc_block_mask_or(const attnc_block_mask* a, const attnc_block_mask* b, attnc_block_mask** out,
                                           attnc_error** error);
/* Blocks that are full become empty and the reverse; partial ones stay partial. */
ATTNC_API attnc_status attnc_block_mask_not(const attnc_block_mask* mask, attnc_block_mask** out, attnc_error** error);
ATTNC_API void attnc_block_mask_free(attnc_block_mask* mask);

typedef struct attnc_block_mask_info {
  size_t struct_size;
  int32_t batch;
  int32_t heads;
  int32_t q_len;
  int32_t kv_len;
  int32_t q_blocks;
  int32_t kv_blocks;
  int32_t block_q;
  int32_t block_kv;
  attnc_device device;
  double sparsity;     /* percent of blocks skipped, 0 to 100 */
  int64_t full_blocks; /* of each kind, over all batches and heads */
  int64_t partial_blocks;
  int64_t empty_blocks;
  int64_t proved_full; /* blocks decided by interval analysis */
  int64_t proved_empty;
  int64_t evaluated; /* blocks decided by looking at every element */
  double build_ms;
} attnc_block_mask_info;
#define ATTNC_BLOCK_MASK_INFO_INIT \
  { .struct_size = sizeof(attnc_block_mask_info) }

/* Fills *out, whose struct_size the caller has set. */
ATTNC_API attnc_status attnc_block_mask_get_info(const attnc_block_mask* mask, attnc_block_mask_info* out,
                                                 attnc_error** error);

/* FlexAttention's tables: host memory inside the mask, valid until it is freed. Partial blocks are asked element by
 * element, full ones are not. Indices ascend; entries past the count are unspecified. */
typedef struct attnc_block_mask_tables {
  size_t struct_size;
  const int32_t* kv_num_blocks;      /* [batch, heads, q_blocks] */
  const int32_t* kv_indices;         /* [batch, heads, q_blocks, kv_width] */
  const int32_t* full_kv_num_blocks; /* [batch, heads, q_blocks] */
  const int32_t* full_kv_indices;    /* [batch, heads, q_blocks, full_kv_width] */
  const int32_t* q_num_blocks;       /* [batch, heads, kv_blocks]: the transpose, for backward */
  const int32_t* q_indices;          /* [batch, heads, kv_blocks, q_width] */
  const int32_t* full_q_num_blocks;  /* [batch, heads, kv_blocks] */
  const int32_t* full_q_indices;     /* [batch, heads, kv_blocks, full_q_width] */
  int32_t kv_width;                  /* entries per row: the greatest count, not always the number of blocks */
  int32_t full_kv_width;
  int32_t q_width;
  int32_t full_q_width;
} attnc_block_mask_tables;
#define ATTNC_BLOCK_MASK_TABLES_INIT \
  { .struct_size = sizeof(attnc_block_mask_tables) }

ATTNC_API attnc_status attnc_block_mask_get_tables(const attnc_block_mask* mask, attnc_block_mask_tables* out,
                                                   attnc_error** error);

/* Writes [batch, heads, q_blocks, kv_blocks] bytes: 0 empty, 1 partial, 2 full. `capacity` in bytes, at least that. */
ATTNC_API attnc_status attnc_block_mask_to_dense(const attnc_block_mask* mask, uint8_t* out, size_t capacity,
                                                 attnc_error** error);
/* A picture of one (batch, head) at most `columns` wide, to be freed with attnc_string_free. */
ATTNC_API attnc_status attnc_block_mask_to_string(const attnc_block_mask* mask, int32_t batch, int32_t head,
                                                  int32_t columns, char** text, attnc_error** error);

/* ---- the kernel cache on disk ---- */

/* `cache_dir` as in attnc_attention_options. These may run while any number of processes use the directory. They fail
 * with ATTNC_IO if it cannot be read; one that does not exist yet is empty. */

typedef struct attnc_cache_stats {
  size_t struct_size;
  uint64_t entries;
  uint64_t bytes; /* of all the cache's files, entries or not */
  uint64_t temporaries;
  uint64_t set_aside; /* entries found damaged */
  uint64_t max_entries;
  uint64_t max_bytes;
} attnc_cache_stats;
#define ATTNC_CACHE_STATS_INIT \
  { .struct_size = sizeof(attnc_cache_stats) }

/* *directory (may be NULL): where it is, "" without a usable one; to be freed with attnc_string_free. */
ATTNC_API attnc_status attnc_cache_get_stats(const char* cache_dir, attnc_cache_stats* out, char** directory,
                                             attnc_error** error);
/* Reads every entry in full and sets aside what is damaged. The counts may be NULL. */
ATTNC_API attnc_status attnc_cache_verify(const char* cache_dir, uint64_t* good, uint64_t* damaged,
                                          attnc_error** error);
/* Removes leftovers, and least recently used entries down to the limits; UINT64_MAX: the cache's own limit.
 * The counts may be NULL. */
ATTNC_API attnc_status attnc_cache_prune(const char* cache_dir, uint64_t max_bytes, uint64_t max_entries,
                                         uint64_t* removed_entries, uint64_t* removed_bytes, attnc_error** error);
/* Empties the directory. Kernels that live in a process stay usable. The counts may be NULL. */
ATTNC_API attnc_status attnc_cache_clear(const char* cache_dir, uint64_t* removed_entries, uint64_t* removed_bytes,
                                         attnc_error** error);

#ifdef __cplusplus
}
#endif
