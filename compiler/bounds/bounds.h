// SPDX-License-Identifier: Apache-2.0
// What is true of a mod for a whole box of coordinates at once, by interval arithmetic on its program.
//
// Everything here is sound and incomplete: an answer other than "unknown" holds for every element of the box, on every
// backend (integers exactly, wrap-around included; floats for fp64 and for f32 with hardware approximations alike).
// See docs/bounds.md for what the analysis knows and how precise it is on real masks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compiler/ir/interpret.h"
#include "compiler/ir/program.h"

namespace attnc::bounds {

/// Sequence lengths up to this are assumed by every proof made before lengths are known; calls with longer ones are
/// refused. (It keeps kv_idx + 1024 and the like provably free of wrap-around.)
inline constexpr std::int64_t max_length = std::int64_t{1} << 30;

/// The same numbers as BlockVerdict in templates/contract.cuh.
enum class Verdict : std::uint8_t { empty = 0, partial = 1, full = 2 };

/// Closed ranges of the coordinates. Every range is non-empty and inside its length.
struct Box {
  std::int32_t b_first = 0, b_last = 0;
  std::int32_t h_first = 0, h_last = 0;
  std::int32_t q_first = 0, q_last = 0;
  std::int32_t kv_first = 0, kv_last = 0;
  std::int32_t q_len_first = 1, q_len_last = 1;  ///< equal where the length is known
  std::int32_t kv_len_first = 1, kv_len_last = 1;

  /// One whole attention: b < batch, h < heads, q_idx < q_len, kv_idx < kv_len. All at least 1.
  static Box whole(int batch, int heads, int q_len, int kv_len);
  /// Every call there can be: indices from 0, lengths up to max_length.
  static Box anything();
};

/// A closed range of integers.
struct Extent {
  std::int64_t lo = 0, hi = 0;
};

/// What a value can be. Only the fields of its type mean something.
struct ValueRange {
  Type type = Type::i32;
  std::int64_t lo = 0, hi = 0;                   ///< i32, i64
  double real_lo = 0, real_hi = 0;               ///< f32, apart from NaN
  bool may_be_nan = true;                        ///< f32
  bool may_be_true = true, may_be_false = true;  ///< boolean

  static ValueRange unknown(Type type);
  static ValueRange unknown(DType element);  ///< all an element of a captured buffer can be, once loaded
};

/// What is known of the contents of captured buffers. Implementations must be thread-safe.
class BufferRanges {
 public:
  virtual ~BufferRanges() = default;
  /// All that a load from buffer `slot` can give when index d lies in index[d]; outside the buffer it gives 0.
  virtual ValueRange range(int slot, std::span<const Extent> index) const = 0;
};

/// Reads buffers in host memory. A load whose index varies in one dimension is answered from minima and maxima over
/// power-of-two runs of elements, which are built on first use (one pass over those elements) and kept.
/// `bindings` must outlive it.
class HostBufferRanges final : public BufferRanges {
 public:
  HostBufferRanges(const ir::Program& program, const ir::Bindings& bindings);
  ~HostBufferRanges() override;
  ValueRange range(int slot, std::span<const Extent> index) const override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What is known besides the box.
struct Knowledge {
  const ir::Bindings* bindings = nullptr;  ///< values of parameters; null: any value
  const BufferRanges* buffers = nullptr;   ///< null: any content
};

/// Evaluates a program over boxes. Keeps scratch: one object per thread. `program` and what `knowledge` points at must
/// outlive it. About 20 ns an operation.
class Evaluator {
 public:
  Evaluator(const ir::Program& program, const Knowledge& knowledge);
  ~Evaluator();
  Evaluator(Evaluator&&) noexcept;
  /// Full and empty are proved, partial is undecided. A program without a mask is full.
  Verdict classify(const Box& box);
  /// The range of one value. The score input is taken to be anything, NaN included.
  ValueRange range(ir::ValueId value, const Box& box);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One-shot Evaluator::classify.
Verdict classify(const ir::Program& program, const Knowledge& knowledge, const Box& box);

// Code generation -----------------------------------------------------------------------------------------------------

/// `classify` of contract.cuh as straight-line scalar code: an ordinary program, without a mask of its own, over the
/// same operations, so the printers for ordinary programs print it.
///
///   params   those of the mask program with the same slots, then `first_range_param + RangeParam`, then `extents`, all
///   i32 buffers  those of the mask program with the same slots, then the extrema tables below inputs   b, h, q_len,
///   kv_len only loads    guarded as usual (outside the buffer: 0)
///
/// The block is full if !may_be_false, else empty if !may_be_true, else partial. i64 occurs where i32 could overflow.
/// Comparisons of floats are undecided. `program.mask` and `program.score` are unset: the roots are the two below.
struct ClassifierProgram {
  /// Extra parameters, in this order: closed ranges of the block, all inside the lengths.
  enum RangeParam : int { q_first = 0, q_last, kv_first, kv_last, range_param_count };
  /// A table of minima or maxima over runs of `granule` elements of a captured buffer, along one dimension. Bound as
  /// the program's buffer `buffer_slot`, of the same rank as `source_slot`, with `levels` times as many entries in
  /// `dimension` as the source has runs there: entry k * runs + i covers the 2^k runs from run i on, clipped to the
  /// buffer's extent. So any stretch of up to 2^levels - 1 runs is the union of two entries. dtype is that of loaded
  /// values: i32, i64 or bool (of booleans, the minimum is their conjunction and the maximum their disjunction).
  /// Floats have no tables.
  struct Extrema {
    int buffer_slot = 0;
    int source_slot = 0;
    int dimension = 0;
    bool maximum = false;
  };
  /// An extra parameter that holds the extent of a captured buffer in one dimension.
  struct ExtentParam {
    int param = 0;
    int source_slot = 0;
    int dimension = 0;
  };
  /// Elements per run of every Extrema table. A load whose index may lie in more than 2^levels - 1 runs is unknown.
  int granule = 64;
  static constexpr int levels = 7;

  ir::Program program;
  int first_range_param = 0;
  ir::ValueId may_be_true = ir::no_value;
  ir::ValueId may_be_false = ir::no_value;
  std::vector<Extrema> extrema;
  std::vector<ExtentParam> extents;
  /// False: the verdict is partial whatever the block (nothing worth emitting).
  bool useful = false;
};

struct ClassifierOptions {
  int granule = 64;
  bool use_extrema = false;  ///< false: a load that varies inside a block is unknown, and there are no tables to bind
};
ClassifierProgram make_classifier(const ir::Program& mask_program, const ClassifierOptions& options = {});

/// A mask that keeps exactly the keys lo <= kv_idx < hi of each row (MaskKind::band of contract.cuh).
///
/// `program` is the program asked about with instructions appended (ids of the old ones stay valid); `lo` and `hi` are
/// i32 values of row or uniform level, not clipped to [0, kv_len). Exact for lengths up to max_length, wrap-around of
/// the mask's own arithmetic included.
struct RowBand {
  ir::Program program;
  ir::ValueId lo = ir::no_value;
  ir::ValueId hi = ir::no_value;
};
/// Conjunctions of comparisons that are monotone in kv_idx: sums, differences, multiples, floor division by positive
/// literals, abs, min, max; unions of half-lines of one direction; conditions that do not read kv_idx.
/// nullopt: not recognised, or no mask.
std::optional<RowBand> row_band(const ir::Program& program);

// Proofs for whole calls ----------------------------------------------------------------------------------------------

/// An assumption about one call, checkable before launch.
struct LoadCondition {
  int buffer_slot = 0;
  int dimension = 0;
  ir::ValueId load = ir::no_value;
  ir::ValueId index = ir::no_value;
  std::string text;  ///< for people: "extent 0 of doc >= q_len"
};
struct LoadGuards {
  /// Loads that need no guard in a call where loads_in_range() says so.
  std::vector<ir::ValueId> droppable;
  /// Loads that keep their guard whatever the call (the index comes from another load, a float, ...).
  std::vector<ir::ValueId> kept;
  std::vector<LoadCondition> conditions;  ///< of the droppable ones
};
LoadGuards load_guards(const ir::Program& program);
/// Whether every droppable load of `guards` stays inside its buffer in this call: for all b < batch, h < heads,
/// q_idx < q_len, kv_idx < kv_len. Reads the bindings' parameters and shapes, not the buffers' contents. Microseconds.
bool loads_in_range(const ir::Program& program, const LoadGuards& guards, const ir::Bindings& bindings, int batch,
                    int heads, int q_len, int kv_len);
/// The same program with the guards of `guards.droppable` off.
ir::Program without_guards(ir::Program program, const LoadGuards& guards);

/// Proof that every row keeps at least one key, by a witness: a key chosen per row for which the mask is true.
struct RowSafety {
  enum class Witness : std::uint8_t {
    same_index,   ///< kv_idx = q_idx; needs q_len <= kv_len
    first_key,    ///< kv_idx = 0
    last_key,     ///< kv_idx = kv_len - 1
    lower_right,  ///< kv_idx = q_idx + kv_len - q_len; needs q_len <= kv_len
  };
  struct Candidate {
    Witness witness = Witness::same_index;
    ir::Program mask;     ///< the mask with the witness put in for kv_idx; captures keep their slots; no mask: true
    bool always = false;  ///< proved for every call that meets the witness's need of lengths
  };
  std::vector<Candidate> candidates;  ///< only those a call might prove
};
RowSafety row_safety(const ir::Program& program);
/// Whether every row of this call keeps a key. `knowledge.bindings` should hold the parameters. False: not proved.
bool rows_nonempty(const RowSafety& safety, const Knowledge& knowledge, int batch, int heads, int q_len, int kv_len);
/// What `rows_nonempty` needs of a call when one candidate is proved `always`: true when q_len <= kv_len suffices.
bool rows_nonempty_if_q_within_kv(const RowSafety& safety);

/// A c such that |score_mod(...)| <= c wherever it is not NaN, in natural units, for every score and coordinate of the
/// box. nullopt: unbounded, unknown or no score_mod. Without bindings the bound holds for all parameter values.
std::optional<double> score_bound(const ir::Program& program, const Knowledge& knowledge, const Box& box);

/// Replaces boolean values proved constant for every call by literals, and drops a mask proved true (and one proved
/// false becomes the literal false). The result is not canonicalized.
ir::Program drop_dead_mods(const ir::Program& program);

/// For people (`attnc explain --emit bounds`): the range of every value over `box`, then what is proved: mask constant,
/// band, rows, score bound, guards, classifier size.
std::string explain_bounds(const ir::Program& program, const Knowledge& knowledge = {},
                           const Box& box = Box::anything());

}  // namespace attnc::bounds
