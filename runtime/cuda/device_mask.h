// SPDX-License-Identifier: Apache-2.0
// A BlockMask's tables in device memory, built there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"
#include "runtime/attention.h"
#include "runtime/block_mask.h"
#include "runtime/cuda/launch_arguments.h"
#include "runtime/cuda/mask_identity.h"

namespace attnc::cuda {

struct DeviceMaskSpec {
  ir::Program program;  ///< canonicalized; its mask decides
  Device device;
  int batch = 1, heads = 1;   ///< those the mask tells apart
  int q_len = 1, kv_len = 1;  ///< at least 1
  BlockSize block_size;
  bool separate_full_blocks = true;
  std::int64_t max_list_bytes = 0;  ///< see BlockMaskOptions
  ElementBits element_bits = ElementBits::automatic;
  std::int64_t max_bit_bytes = 0;
  std::string cache_dir;
  LogCallback log;
};

/// What the host wants to see of the tables.
struct DeviceMaskContents {
  int words = 0;                       ///< 32-bit words of a row of blocks
  std::vector<std::uint32_t> partial;  ///< [batch, heads, q_blocks, words], bit j of word w: kv block 32 w + j
  std::vector<std::uint32_t> full;
  BlockMaskStats stats;  ///< without build_ms
};

/// Lists as they lie on the device, for tests.
struct DeviceMaskLists {
  std::vector<std::int32_t> counts, offsets, indices;  ///< of templates/block_mask/arguments.cuh
};

/// Whether the device reads all captured buffers. False if none of them is: they are then for the host to read.
/// Throws Error(invalid_argument) if some are and some are not, and Error(no_device) for an ordinal that does not
/// exist.
bool device_reads(const ir::Bindings& bindings, Device device);

class DeviceMask {
 public:
  /// Finds or compiles the kernels and allocates on `stream`. Refused while the stream captures. Throws Error.
  DeviceMask(DeviceMaskSpec spec, const ir::Bindings& bindings, void* stream);
  ~DeviceMask();
  DeviceMask(const DeviceMask&) = delete;
  DeviceMask& operator=(const DeviceMask&) = delete;

  /// Enqueues the build on `stream`, from buffers that the device reads: neither waits nor, unless a captured buffer
  /// has grown, allocates. Legal under capture in that case.
  void build(const ir::Bindings& bindings, void* stream);

  const DeviceMaskSpec& spec() const;
  /// The kernels' argument. Broadcasts over what the mask does not tell apart.
  BlockTableArgument argument() const;
  /// The elements of partial blocks (ForwardArguments::mask_bits), for a call whose mask is `mask` over `bindings`;
  /// null where there are none, or those of another mask.
  const std::uint32_t* bits(const MaskIdentity& mask, const ir::Bindings& bindings) const;
  std::int64_t device_bytes() const;

  /// Reads back; waits for the stream of the last build.
  DeviceMaskContents download() const;
  DeviceMaskLists download_lists(bool q_side) const;
  std::vector<std::uint32_t> download_bits() const;
  std::vector<std::int32_t> download_work_order() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace attnc::cuda
