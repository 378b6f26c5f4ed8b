/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the binary layout of every struct and the value of every constant of the C API, for abi.txt. Refuses holes, so
 * that no member can be forgotten here and no padding can come alive when a member is added. */
#include <stdio.h>

#include "attnc/attnc.h"

static int status = 0;
static size_t end = 0; /* of the last member */

#define STRUCT(type)                                       \
  do {                                                     \
    printf("struct %s: %zu bytes\n", #type, sizeof(type)); \
    end = 0;                                               \
  } while (0)
#define MEMBER(type, member) print_member(#type "." #member, offsetof(type, member), sizeof(((type*)0)->member))
#define END(type)                                                                         \
  do {                                                                                    \
    if (end != sizeof(type)) status = (fprintf(stderr, "%s ends in a hole\n", #type), 1); \
  } while (0)
#define CONSTANT(name) printf("constant %s = %ld\n", #name, (long)(name))

static void print_member(const char* name, size_t offset, size_t size) {
  if (offset != end) {
    fprintf(stderr, "hole before %s\n", name);
    status = 1;
  }
  end = offset + size;
  printf("  %s: at %zu, %zu bytes\n", name, offset, size);
}

int main(void) {
  CONSTANT(ATTNC_OK);
  CONSTANT(ATTNC_INVALID_EXPRESSION);
  CONSTANT(ATTNC_INVALID_ARGUMENT);
  CONSTANT(ATTNC_UNSUPPORTED);
  CONSTANT(ATTNC_NO_DEVICE);
  CONSTANT(ATTNC_OUT_OF_MEMORY);
  CONSTANT(ATTNC_IO);
  CONSTANT(ATTNC_INTERNAL);
  CONSTANT(ATTNC_DTYPE_F32);
  CONSTANT(ATTNC_DTYPE_F16);
  CONSTANT(ATTNC_DTYPE_BF16);
  CONSTANT(ATTNC_DTYPE_I64);
  CONSTANT(ATTNC_DTYPE_I32);
  CONSTANT(ATTNC_DTYPE_I8);
  CONSTANT(ATTNC_DTYPE_U8);
  CONSTANT(ATTNC_DTYPE_BOOL);
  CONSTANT(ATTNC_TYPE_BOOL);
  CONSTANT(ATTNC_TYPE_I32);
  CONSTANT(ATTNC_TYPE_I64);
  CONSTANT(ATTNC_TYPE_F32);
  CONSTANT(ATTNC_DEVICE_CPU);
  CONSTANT(ATTNC_DEVICE_CUDA);
  CONSTANT(ATTNC_ELEMENT_BITS_AUTOMATIC);
  CONSTANT(ATTNC_ELEMENT_BITS_ALWAYS);
  CONSTANT(ATTNC_ELEMENT_BITS_NEVER);
  CONSTANT(ATTNC_MAX_RANK);
  STRUCT(attnc_device);
  MEMBER(attnc_device, kind);
  MEMBER(attnc_device, index);
  END(attnc_device);
  STRUCT(attnc_tensor);
  MEMBER(attnc_tensor, data);
  MEMBER(attnc_tensor, dtype);
  MEMBER(attnc_tensor, rank);
  MEMBER(attnc_tensor, shape);
  MEMBER(attnc_tensor, stride_elems);
  END(attnc_tensor);
  STRUCT(attnc_param_decl);
  MEMBER(attnc_param_decl, name);
  MEMBER(attnc_param_decl, type);
  MEMBER(attnc_param_decl, has_default);
  MEMBER(attnc_param_decl, default_real);
  MEMBER(attnc_param_decl, default_integer);
  END(attnc_param_decl);
  STRUCT(attnc_buffer_decl);
  MEMBER(attnc_buffer_decl, name);
  MEMBER(attnc_buffer_decl, dtype);
  MEMBER(attnc_buffer_decl, rank);
  END(attnc_buffer_decl);
  STRUCT(attnc_param_value);
  MEMBER(attnc_param_value, name);
  MEMBER(attnc_param_value, is_integer);
  MEMBER(attnc_param_value, reserved);
  MEMBER(attnc_param_value, real);
  MEMBER(attnc_param_value, integer);
  END(attnc_param_value);
  STRUCT(attnc_buffer_value);
  MEMBER(attnc_buffer_value, name);
  MEMBER(attnc_buffer_value, tensor);
  END(attnc_buffer_value);
  STRUCT(attnc_attention_options);
  MEMBER(attnc_attention_options, struct_size);
  MEMBER(attnc_attention_options, score_mod);
  MEMBER(attnc_attention_options, mask_mod);
  MEMBER(attnc_attention_options, params);
  MEMBER(attnc_attention_options, num_params);
  MEMBER(attnc_attention_options, buffers);
  MEMBER(attnc_attention_options, num_buffers);
  MEMBER(attnc_attention_options, dtype);
  MEMBER(attnc_attention_options, head_dim);
  MEMBER(attnc_attention_options, head_dim_v);
  MEMBER(attnc_attention_options, precise);
  MEMBER(attnc_attention_options, device);
  MEMBER(attnc_attention_options, cache_dir);
  MEMBER(attnc_attention_options, log);
  MEMBER(attnc_attention_options, log_user_data);
  END(attnc_attention_options);
  STRUCT(attnc_forward_options);
  MEMBER(attnc_forward_options, struct_size);
  MEMBER(attnc_forward_options, lse);
  MEMBER(attnc_forward_options, scale);
  MEMBER(attnc_forward_options, params);
  MEMBER(attnc_forward_options, num_params);
  MEMBER(attnc_forward_options, buffers);
  MEMBER(attnc_forward_options, num_buffers);
  MEMBER(attnc_forward_options, block_mask);
  MEMBER(attnc_forward_options, stream);
  END(attnc_forward_options);
  STRUCT(attnc_block_mask_options);
  MEMBER(attnc_block_mask_options, struct_size);
  MEMBER(attnc_block_mask_options, mask_mod);
  MEMBER(attnc_block_mask_options, params);
  MEMBER(attnc_block_mask_options, num_params);
  MEMBER(attnc_block_mask_options, buffers);
  MEMBER(attnc_block_mask_options, num_buffers);
  MEMBER(attnc_block_mask_options, param_values);
  MEMBER(attnc_block_mask_options, num_param_values);
  MEMBER(attnc_block_mask_options, buffer_values);
  MEMBER(attnc_block_mask_options, num_buffer_values);
  MEMBER(attnc_block_mask_options, batch);
  MEMBER(attnc_block_mask_options, heads);
  MEMBER(attnc_block_mask_options, q_len);
  MEMBER(attnc_block_mask_options, kv_len);
  MEMBER(attnc_block_mask_options, block_q);
  MEMBER(attnc_block_mask_options, block_kv);
  MEMBER(attnc_block_mask_options, device);
  MEMBER(attnc_block_mask_options, stream);
  MEMBER(attnc_block_mask_options, only_partial_blocks);
  MEMBER(attnc_block_mask_options, reserved);
  MEMBER(attnc_block_mask_options, element_bits);
  MEMBER(attnc_block_mask_options, reserved_2);
  END(attnc_block_mask_options);
  STRUCT(attnc_kv_blocks);
  MEMBER(attnc_kv_blocks, struct_size);
  MEMBER(attnc_kv_blocks, kv_num_blocks);
  MEMBER(attnc_kv_blocks, kv_indices);
  MEMBER(attnc_kv_blocks, full_kv_num_blocks);
  MEMBER(attnc_kv_blocks, full_kv_indices);
  MEMBER(attnc_kv_blocks, kv_width);
  MEMBER(attnc_kv_blocks, full_kv_width);
  MEMBER(attnc_kv_blocks, batch);
  MEMBER(attnc_kv_blocks, heads);
  MEMBER(attnc_kv_blocks, q_len);
  MEMBER(attnc_kv_blocks, kv_len);
  MEMBER(attnc_kv_blocks, block_q);
  MEMBER(attnc_kv_blocks, block_kv);
  MEMBER(attnc_kv_blocks, device);
  END(attnc_kv_blocks);

  STRUCT(attnc_block_mask_rebuild_options);
  MEMBER(attnc_block_mask_rebuild_options, struct_size);
  MEMBER(attnc_block_mask_rebuild_options, param_values);
  MEMBER(attnc_block_mask_rebuild_options, num_param_values);
  MEMBER(attnc_block_mask_rebuild_options, buffer_values);
  MEMBER(attnc_block_mask_rebuild_options, num_buffer_values);
  MEMBER(attnc_block_mask_rebuild_options, stream);
  END(attnc_block_mask_rebuild_options);
  STRUCT(attnc_block_mask_info);
  MEMBER(attnc_block_mask_info, struct_size);
  MEMBER(attnc_block_mask_info, batch);
  MEMBER(attnc_block_mask_info, heads);
  MEMBER(attnc_block_mask_info, q_len);
  MEMBER(attnc_block_mask_info, kv_len);
  MEMBER(attnc_block_mask_info, q_blocks);
  MEMBER(attnc_block_mask_info, kv_blocks);
  MEMBER(attnc_block_mask_info, block_q);
  MEMBER(attnc_block_mask_info, block_kv);
  MEMBER(attnc_block_mask_info, device);
  MEMBER(attnc_block_mask_info, sparsity);
  MEMBER(attnc_block_mask_info, full_blocks);
  MEMBER(attnc_block_mask_info, partial_blocks);
  MEMBER(attnc_block_mask_info, empty_blocks);
  MEMBER(attnc_block_mask_info, proved_full);
  MEMBER(attnc_block_mask_info, proved_empty);
  MEMBER(attnc_block_mask_info, evaluated);
  MEMBER(attnc_block_mask_info, build_ms);
  END(attnc_block_mask_info);
  STRUCT(attnc_block_mask_tables);
  MEMBER(attnc_block_mask_tables, struct_size);
  MEMBER(attnc_block_mask_tables, kv_num_blocks);
  MEMBER(attnc_block_mask_tables, kv_indices);
  MEMBER(attnc_block_mask_tables, full_kv_num_blocks);
  MEMBER(attnc_block_mask_tables, full_kv_indices);
  MEMBER(attnc_block_mask_tables, q_num_blocks);
  MEMBER(attnc_block_mask_tables, q_indices);
  MEMBER(attnc_block_mask_tables, full_q_num_blocks);
  MEMBER(attnc_block_mask_tables, full_q_indices);
  MEMBER(attnc_block_mask_tables, kv_width);
  MEMBER(attnc_block_mask_tables, full_kv_width);
  MEMBER(attnc_block_mask_tables, q_width);
  MEMBER(attnc_block_mask_tables, full_q_width);
  END(attnc_block_mask_tables);
  STRUCT(attnc_cache_stats);
  MEMBER(attnc_cache_stats, struct_size);
  MEMBER(attnc_cache_stats, entries);
  MEMBER(attnc_cache_stats, bytes);
  MEMBER(attnc_cache_stats, temporaries);
  MEMBER(attnc_cache_stats, set_aside);
  MEMBER(attnc_cache_stats, max_entries);
  MEMBER(attnc_cache_stats, max_bytes);
  END(attnc_cache_stats);
  return status;
}
