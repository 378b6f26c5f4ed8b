// SPDX-License-Identifier: Apache-2.0
// The part of the CUDA driver API that attnc uses, declared here and found at run time, so that one binary runs with
// and without a driver. Names and values are those of NVIDIA's documentation, "CUDA Driver API".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace attnc::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = std::uint64_t;
using CUcontext = struct CUctx_st*;
using CUstream = struct CUstream_st*;
using CUfunction = struct CUfunc_st*;
using CUlibrary = struct CUlib_st*;
using CUkernel = struct CUkern_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUmemoryPool = struct CUmemPoolHandle_st*;

inline constexpr CUresult CUDA_SUCCESS = 0;
inline constexpr CUresult CUDA_ERROR_INVALID_VALUE = 1;
inline constexpr CUresult CUDA_ERROR_OUT_OF_MEMORY = 2;
inline constexpr CUresult CUDA_ERROR_NO_DEVICE = 100;
inline constexpr CUresult CUDA_ERROR_INVALID_IMAGE = 200;
inline constexpr CUresult CUDA_ERROR_NO_BINARY_FOR_GPU = 209;
inline constexpr CUresult CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222;
inline constexpr CUresult CUDA_ERROR_INVALID_SOURCE = 300;

// CUdevice_attribute
inline constexpr int CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
inline constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
inline constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
inline constexpr int CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS = 88;
inline constexpr int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;
// CUfunction_attribute
inline constexpr int CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3;
inline constexpr int CU_FUNC_ATTRIBUTE_NUM_REGS = 4;
inline constexpr int CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
inline constexpr int CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT = 9;
// CUpointer_attribute
inline constexpr int CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2;
inline constexpr int CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9;
inline constexpr int CU_MEMORYTYPE_HOST = 1;
inline constexpr int CU_MEMORYTYPE_DEVICE = 2;
// CUstreamCaptureStatus
inline constexpr int CU_STREAM_CAPTURE_STATUS_NONE = 0;
inline constexpr int CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1;
// CUmemPoolProps, as for memory of one device that no other process sees
struct CUmemPoolProps {
  int allocation_type = 1;  // CU_MEM_ALLOCATION_TYPE_PINNED
  int handle_types = 0;     // CU_MEM_HANDLE_TYPE_NONE
  int location_type = 1;    // CU_MEM_LOCATION_TYPE_DEVICE
  int location_id = 0;
  void* security_attributes = nullptr;
  std::size_t max_bytes = 0;  // no limit
  unsigned char reserved[56] = {};
};
inline constexpr int CU_MEMPOOL_ATTR_RELEASE_THRESHOLD = 4;  // std::uint64_t, bytes
// CUlaunchConfig and its attributes
struct CUlaunchAttribute {
  int id = 0;
  int padding = 0;
  union {
    int enabled;
    char bytes[64];
  } value = {};
};
inline constexpr int CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6;
struct CUlaunchConfig {
  unsigned grid_x = 1, grid_y = 1, grid_z = 1;
  unsigned block_x = 1, block_y = 1, block_z = 1;
  unsigned smem_bytes = 0;
  CUstream stream = nullptr;
  CUlaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};
// CUtensorMap
struct alignas(64) CUtensorMap {
  std::uint64_t opaque[16];
};
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9;
inline constexpr int CU_TENSOR_MAP_INTERLEAVE_NONE = 0;
inline constexpr int CU_TENSOR_MAP_SWIZZLE_128B = 3;
inline constexpr int CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3;
inline constexpr int CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0;

/// Every driver function attnc calls: ATTNC_CUDA_FUNCTION(member, symbol, arguments).
#define ATTNC_CUDA_FUNCTIONS(X)                                                                                        \
  X(init, "cuInit", (unsigned flags))                                                                                  \
  X(driver_get_version, "cuDriverGetVersion", (int* version))                                                          \
  X(get_error_name, "cuGetErrorName", (CUresult error, const char** text))                                             \
  X(get_error_string, "cuGetErrorString", (CUresult error, const char** text))                                         \
  X(device_get_count, "cuDeviceGetCount", (int* count))                                                                \
  X(device_get, "cuDeviceGet", (CUdevice * device, int ordinal))                                                       \
  X(device_get_name, "cuDeviceGetName", (char* name, int length, CUdevice device))                                     \
  X(device_get_attribute, "cuDeviceGetAttribute", (int* value, int attribute, CUdevice device))                        \
  X(primary_ctx_retain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device))                            \
  X(primary_ctx_release, "cuDevicePrimaryCtxRelease_v2", (CUdevice device))                                            \
  X(ctx_get_current, "cuCtxGetCurrent", (CUcontext * context))                                                         \
  X(ctx_get_device, "cuCtxGetDevice", (CUdevice * device))                                                             \
  X(ctx_push_current, "cuCtxPushCurrent_v2", (CUcontext context))                                                      \
  X(ctx_pop_current, "cuCtxPopCurrent_v2", (CUcontext * context))                                                      \
  X(library_load_data, "cuLibraryLoadData",                                                                            \
    (CUlibrary * library, const void* code, int* jit_options, void** jit_values, unsigned jit_count, int* options,     \
     void** values, unsigned count))                                                                                   \
  X(library_unload, "cuLibraryUnload", (CUlibrary library))                                                            \
  X(library_get_kernel, "cuLibraryGetKernel", (CUkernel * kernel, CUlibrary library, const char* name))                \
  X(kernel_get_function, "cuKernelGetFunction", (CUfunction * function, CUkernel kernel))                              \
  X(kernel_set_attribute, "cuKernelSetAttribute", (int attribute, int value, CUkernel kernel, CUdevice device))        \
  X(kernel_get_attribute, "cuKernelGetAttribute", (int* value, int attribute, CUkernel kernel, CUdevice device))       \
  X(launch_kernel, "cuLaunchKernel",                                                                                   \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,       \
     unsigned block_z, unsigned smem_bytes, CUstream stream, void** arguments, void** extra))                          \
  X(launch_kernel_ex, "cuLaunchKernelEx",                                                                              \
    (const CUlaunchConfig* config, CUfunction function, void** arguments, void** extra))                               \
  X(stream_is_capturing, "cuStreamIsCapturing", (CUstream stream, int* status))                                        \
  X(stream_synchronize, "cuStreamSynchronize", (CUstream stream))                                                      \
  X(pointer_get_attribute, "cuPointerGetAttribute", (void* value, int attribute, CUdeviceptr pointer))                 \
  X(mem_alloc_async, "cuMemAllocAsync", (CUdeviceptr * pointer, std::size_t bytes, CUstream stream))                   \
  X(mem_pool_create, "cuMemPoolCreate", (CUmemoryPool * pool, const CUmemPoolProps* properties))                       \
  X(mem_pool_set_attribute, "cuMemPoolSetAttribute", (CUmemoryPool pool, int attribute, void* value))                  \
  X(mem_alloc_from_pool_async, "cuMemAllocFromPoolAsync",                                                              \
    (CUdeviceptr * pointer, std::size_t bytes, CUmemoryPool pool, CUstream stream))                                    \
  X(mem_free_async, "cuMemFreeAsync", (CUdeviceptr pointer, CUstream stream))                                          \
  X(memset_d32_async, "cuMemsetD32Async", (CUdeviceptr pointer, unsigned value, std::size_t count, CUstream stream))   \
  X(memcpy_dtoh_async, "cuMemcpyDtoHAsync_v2", (void* to, CUdeviceptr from, std::size_t bytes, CUstream stream))       \
  X(memcpy_htod_async, "cuMemcpyHtoDAsync_v2", (CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream)) \
  X(mem_alloc, "cuMemAlloc_v2", (CUdeviceptr * pointer, std::size_t bytes))                                            \
  X(mem_free, "cuMemFree_v2", (CUdeviceptr pointer))                                                                   \
  X(stream_create, "cuStreamCreate", (CUstream * stream, unsigned flags))                                              \
  X(stream_destroy, "cuStreamDestroy_v2", (CUstream stream))                                                           \
  X(stream_begin_capture, "cuStreamBeginCapture_v2", (CUstream stream, int mode))                                      \
  X(stream_end_capture, "cuStreamEndCapture", (CUstream stream, CUgraph * graph))                                      \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", (CUgraphExec * exec, CUgraph graph, unsigned long long flags))   \
  X(graph_launch, "cuGraphLaunch", (CUgraphExec exec, CUstream stream))                                                \
  X(graph_exec_destroy, "cuGraphExecDestroy", (CUgraphExec exec))                                                      \
  X(graph_destroy, "cuGraphDestroy", (CUgraph graph))                                                                  \
  X(event_create, "cuEventCreate", (CUevent * event, unsigned flags))                                                  \
  X(event_destroy, "cuEventDestroy_v2", (CUevent event))                                                               \
  X(event_record, "cuEventRecord", (CUevent event, CUstream stream))                                                   \
  X(event_synchronize, "cuEventSynchronize", (CUevent event))                                                          \
  X(event_elapsed_time, "cuEventElapsedTime", (float* ms, CUevent start, CUevent end))                                 \
  X(tensor_map_encode_tiled, "cuTensorMapEncodeTiled",                                                                 \
    (CUtensorMap * map, int dtype, std::uint32_t rank, void* data, const std::uint64_t* dims,                          \
     const std::uint64_t* strides_bytes, const std::uint32_t* box, const std::uint32_t* element_strides,               \
     int interleave, int swizzle, int l2_promotion, int oob_fill))

/// The driver's functions. Immutable once made.
struct DriverApi {
#define ATTNC_CUDA_DECLARE(member, symbol, arguments) CUresult(*member) arguments = nullptr;
  ATTNC_CUDA_FUNCTIONS(ATTNC_CUDA_DECLARE)
#undef ATTNC_CUDA_DECLARE
  int version = 0;  ///< 12040 for 12.4
};

/// The oldest driver that has all of the above.
inline constexpr int oldest_driver_version = 12000;

/// Loads libcuda.so.1 once per process. Throws Error(no_device) saying what is missing: the library, a new enough
/// version of it, or a device. Thread-safe.
const DriverApi& driver();
/// Whether driver() would succeed; never throws.
bool has_driver() noexcept;

/// Throws Error for anything but success: out_of_memory, or internal with the driver's own words. `what` says what was
/// tried: "loading the kernel".
void check(CUresult result, std::string_view what);
/// "CUDA_ERROR_INVALID_VALUE (invalid argument)"
std::string describe(CUresult result);

}  // namespace attnc::cuda
