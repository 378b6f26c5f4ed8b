// SPDX-License-Identifier: Apache-2.0
// Which blocks of the score matrix hold work. FlexAttention's tables with FlexAttention's names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../dsl/export.h"
#include "../dsl/mods.h"
#include "bindings.h"
#include "tensor.h"

namespace attnc {

/// Rows of q and keys per block. FlexAttention's default is 128 x 128.
struct BlockSize {
  int q = 128;
  int kv = 128;
  bool operator==(const BlockSize&) const = default;
};

/// Whether the elements of partial blocks are kept as bits, 2 KB a block, for kernels that would otherwise evaluate the
/// mask anew in each head (today the Hopper kernel, bf16 and f16).
enum class ElementBits {
  automatic,  ///< where the mask is dear to evaluate and no run of keys in each row
  always,     ///< wherever they can be
  never,
};

struct BlockMaskOptions {
  BlockSize block_size{};         ///< each 16 to 512, a multiple of 16
  Device device = Device::cpu();  ///< that of the Attention the mask is for
  void* stream = nullptr;         ///< CUDA: the caller's stream
  std::span<const ParamValue> params{};
  std::span<const BufferValue> buffers{};
  bool separate_full_blocks = true;  ///< false: every non-empty block is listed as partial
  /// CUDA: room on the device for the index lists of each side, which is taken before their length is known. The lists
  /// of a mask never need more than 4 bytes a block, and less memory is taken if that is less. A row of blocks whose
  /// list does not fit is treated as all partial: attention stays right and gets slower (stats().overflowing_rows).
  std::int64_t max_list_bytes = std::int64_t{16} << 20;
  /// CUDA: elements as bits, for blocks of 128 x 128 whose lists have room for every block. They are those of the time
  /// of create() or rebuild(), and used by forward calls with the same mask_mod over the same captures; other calls
  /// evaluate their mask_mod as ever.
  ElementBits element_bits = ElementBits::automatic;
  /// CUDA: room for them, 2 KB for every block of the matrix, partial or not; a mask that needs more has none.
  std::int64_t max_bit_bytes = std::int64_t{64} << 20;
  std::string cache_dir{};  ///< as AttentionOptions
  LogCallback log{};        ///< CUDA: told of compiles; none: silent
};

/// New values for the captures of a mask that exists.
struct BlockMaskRebuildOptions {
  void* stream = nullptr;  ///< CUDA: the caller's stream
  std::span<const ParamValue> params{};
  std::span<const BufferValue> buffers{};
};

/// How the blocks were decided.
struct BlockMaskStats {
  std::int64_t proved_full = 0;
  std::int64_t proved_empty = 0;
  std::int64_t evaluated = 0;         ///< decided by looking at elements
  std::int64_t overflowing_rows = 0;  ///< see BlockMaskOptions::max_list_bytes
  double build_ms = 0;                ///< host time; a device may still be working when create() returns
};

/// Tables over blocks: partial blocks (mask_mod still asked for each element) and full blocks (not asked). Blocks in
/// neither list are skipped. Immutable, cheap to copy (shared storage), safe to use from many threads.
///
///   kv_num_blocks      [batch, heads, q_blocks]             int32
///   kv_indices         [batch, heads, q_blocks, kv_width]   int32, ascending; entries past the count are 0
///   full_kv_*          the same for full blocks, full_kv_width
///   q_num_blocks, q_indices, full_q_*: the transpose, for backward, [batch, heads, kv_blocks(, q_width)]
///
/// batch and heads may be 1, which broadcasts. A width is the largest count in its table and at least 1, so that a
/// sparse mask over a million tokens stays small. Inside, a row is a list of runs of like blocks; the tables are made
/// from them when first asked for, and kept. The tables that these functions return are in host memory whatever the
/// device: those of a mask built on a CUDA device are read back when first asked for, which waits for the stream.
class ATTNC_API BlockMask {
 public:
  /// Empty: "no block mask".
  BlockMask() = default;

  /// Decides every block of a q_len x kv_len score matrix. B and H: how many batches and heads the mask tells apart
  /// (1 broadcasts). Interval analysis decides whole rectangles of blocks at once (docs/bounds.md), so the cost follows
  /// the boundary of the mask and not its area; only blocks it leaves open are looked at element by element. Never
  /// holds q_len * kv_len elements.
  ///
  /// On the CPU: uses all cores. On a CUDA device: enqueues the work on options.stream and returns without waiting for
  /// the device; the tables are there for work enqueued on that stream after. The first mask of a mod compiles. Memory
  /// is taken from the stream's pool, so create cannot be captured into a graph: capture rebuild(). Where the captured
  /// buffers are in ordinary host memory, or there is no driver, the tables are built on the host, and copied to the
  /// device by the first forward.
  ///
  /// Throws Error(invalid_argument, invalid_expression, out_of_memory, unsupported).
  static BlockMask create(const MaskMod& mask, int B, int H, int q_len, int kv_len,
                          const BlockMaskOptions& options = {});

  /// Decides the blocks anew for other parameters and buffer contents (documents cut elsewhere), in the memory there
  /// is. All copies of this mask change with it, and what its functions returned before is no longer valid. On a CUDA
  /// device nothing is compiled, allocated or waited for (unless a captured buffer has grown), and the call can be
  /// captured into a graph: each replay then reads the buffers' contents of that time. Work that uses the mask has to
  /// be ordered after the rebuild, as by using one stream. Not while another thread uses the mask.
  /// Throws Error(invalid_argument) for a mask that create() did not make.
  void rebuild(const BlockMaskRebuildOptions& options);

  /// Device memory that the tables take, in bytes; 0 for a mask that was not built on a device.
  std::int64_t device_bytes() const;

  /// From FlexAttention-style tables on the host (copied). `full_*` may be empty. A row of *_indices is
  /// size / (B * H * q_blocks) entries long: kv_blocks as FlexAttention makes them, or narrower but at least the count.
  /// Entries ascend; no block is in both lists. `device`: that of the Attention the mask is for, which gets its copy of
  /// the tables with the first forward. Throws Error(invalid_argument).
  static BlockMask from_kv_blocks(std::span<const std::int32_t> kv_num_blocks, std::span<const std::int32_t> kv_indices,
                                  std::span<const std::int32_t> full_kv_num_blocks,
                                  std::span<const std::int32_t> full_kv_indices, int B, int H, int q_len, int kv_len,
                                  BlockSize block_size = {}, Device device = Device::cpu());

  explicit operator bool() const { return state_ != nullptr; }
  int batch() const;
  int heads() const;
  int q_len() const;
  int kv_len() const;
  int q_blocks() const;  ///< ceil(q_len / block_size.q)
  int kv_blocks() const;
  BlockSize block_size() const;
  Device device() const;
  const BlockMaskStats& stats() const;

  /// Entries per row of the index table of the same name.
  int kv_width() const;
  int full_kv_width() const;
  int q_width() const;
  int full_q_width() const;

  std::span<const std::int32_t> kv_num_blocks() const;
  std::span<const std::int32_t> kv_indices() const;
  std::span<const std::int32_t> full_kv_num_blocks() const;
  std::span<const std::int32_t> full_kv_indices() const;
  std::span<const std::int32_t> q_num_blocks() const;
  std::span<const std::int32_t> q_indices() const;
  std::span<const std::int32_t> full_q_num_blocks() const;
  std::span<const std::int32_t> full_q_indices() const;

  /// Blocks of each kind, over all batches and heads.
  std::int64_t full_blocks() const;
  std::int64_t partial_blocks() const;
  std::int64_t empty_blocks() const;
  /// Percent of blocks skipped, 0 to 100.
  double sparsity() const;
  /// [batch, heads, q_blocks, kv_blocks]: 0 empty, 1 partial, 2 full.
  std::vector<std::uint8_t> to_dense() const;
  /// One batch and head (each kept as extent 1).
  BlockMask slice(std::optional<int> b, std::optional<int> h) const;
  /// Rows of blocks [first, last): a mask of its own, whose q_idx 0 is row first * block_size().q of this one.
  BlockMask slice_q_blocks(int first, int last) const;
  /// A text picture of one (b, h): '█' full, '░' partial, ' ' empty; at most `columns` wide.
  std::string to_string(int b = 0, int h = 0, int columns = 64) const;

  bool operator==(const BlockMask& other) const;

 private:
  struct State;
  explicit BlockMask(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
  friend struct BlockMaskAccess;  // the backends' way to the tables
  friend struct BlockMaskFactory;
};

/// The tables of a mask that keeps what both (either) keep. Worked out on the host, as slices are: masks built on a
/// device are read back, and the result is copied to the device by the first forward that uses it. The two must agree
/// in lengths, block size and device; batch and heads broadcast. A block full in both stays full under &, in either
/// under |; what else may hold elements is partial, so attention has to be given the combined mask_mod as well. Throws
/// Error(invalid_argument).
ATTNC_API BlockMask operator&(const BlockMask& a, const BlockMask& b);
ATTNC_API BlockMask operator|(const BlockMask& a, const BlockMask& b);
/// The tables of a mask that keeps what this one drops: full and empty blocks change places, partial ones stay partial.
/// (Not `!`, which asks whether a mask is there at all.)
ATTNC_API BlockMask operator~(const BlockMask& a);

}  // namespace attnc
