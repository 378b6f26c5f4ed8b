// SPDX-License-Identifier: Apache-2.0
// Minima and maxima of captured buffers in host memory.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "compiler/bounds/bounds.h"
#include "compiler/ir/half.h"
#include "dsl/once.h"

namespace attnc::bounds {
namespace {

/// One element as the mod sees it.
struct Element {
  std::int64_t integer = 0;
  double real = 0;
};

Element read(DType dtype, const std::byte* at) {
  auto as = [at]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::f32:
      return {0, as(float{})};
    case DType::f16:
      return {0, ir::f16_to_float(as(std::uint16_t{}))};
    case DType::bf16:
      return {0, ir::bf16_to_float(as(std::uint16_t{}))};
    case DType::i64:
      return {as(std::int64_t{}), 0};
    case DType::i32:
      return {as(std::int32_t{}), 0};
    case DType::i8:
      return {as(std::int8_t{}), 0};
    case DType::u8:
      return {as(std::uint8_t{}), 0};
    case DType::boolean:
      return {as(std::uint8_t{}) != 0, 0};
  }
  return {};
}

/// All of some elements. Starts as none.
struct Hull {
  std::int64_t lo = std::numeric_limits<std::int64_t>::max(), hi = std::numeric_limits<std::int64_t>::min();
  double real_lo = std::numeric_limits<double>::infinity(), real_hi = -std::numeric_limits<double>::infinity();
  bool nan = false;

  void add(const Element& e) {
    lo = std::min(lo, e.integer), hi = std::max(hi, e.integer);
    if (std::isnan(e.real)) {
      nan = true;
    } else {
      real_lo = std::min(real_lo, e.real), real_hi = std::max(real_hi, e.real);
    }
  }
  void add(const Hull& h) {
    lo = std::min(lo, h.lo), hi = std::max(hi, h.hi);
    real_lo = std::min(real_lo, h.real_lo), real_hi = std::max(real_hi, h.real_hi);
    nan |= h.nan;
  }
  ValueRange as(Type type) const {
    ValueRange r = ValueRange::unknown(type);
    switch (type) {
      case Type::boolean:
        r.may_be_true = hi > 0, r.may_be_false = lo <= 0;
        break;
      case Type::f32:
        if (real_lo <= real_hi) r.real_lo = real_lo, r.real_hi = real_hi;  // all NaN: the numbers do not matter
        r.may_be_nan = nan;
        break;
      default:
        r.lo = lo, r.hi = hi;
    }
    return r;
  }
};

/// A line of elements with the hulls of its runs of 2^k elements, k from leaf_log2 up.
class Line {
 public:
  Line(DType dtype, const std::byte* base, std::int64_t extent, std::int64_t stride_bytes)
      : dtype_(dtype), base_(base), stride_bytes_(stride_bytes) {
    std::vector<Hull> level(static_cast<std::size_t>((extent + leaf - 1) / leaf));
    fill_leaves(level, extent);
    levels_.push_back(std::move(level));
    while (levels_.back().size() > 1) {
      const std::vector<Hull>& fine = levels_.back();
      std::vector<Hull> coarse((fine.size() + 1) / 2);
      for (std::size_t i = 0; i < fine.size(); ++i) coarse[i / 2].add(fine[i]);
      levels_.push_back(std::move(coarse));
    }
  }

  /// Hull of elements [first, last), both inside the extent.
  Hull hull(std::int64_t first, std::int64_t last) const {
    Hull result;
    while (first < last && first % leaf != 0) result.add(element(first++));
    while (first < last && last % leaf != 0) result.add(element(--last));
    auto lo = static_cast<std::size_t>(first / leaf), hi = static_cast<std::size_t>(last / leaf);
    for (std::size_t k = 0; lo < hi; ++k, lo /= 2, hi /= 2) {
      if (lo % 2) result.add(levels_[k][lo++]);
      if (lo < hi && hi % 2) result.add(levels_[k][--hi]);
    }
    return result;
  }

 private:
  static constexpr std::int64_t leaf = 16;

  /// The one pass over all elements; 32-bit integers, which documents and flags of all kinds usually are, go fast.
  void fill_leaves(std::vector<Hull>& level, std::int64_t extent) const {
    for (std::int64_t first = 0; first < extent; first += leaf) {
      const std::int64_t last = std::min(first + leaf, extent);
      Hull& hull = level[static_cast<std::size_t>(first / leaf)];
      if (dtype_ == DType::i32 && stride_bytes_ == 4) {
        std::int32_t lo = std::numeric_limits<std::int32_t>::max(), hi = std::numeric_limits<std::int32_t>::min(),
                     value;
        for (std::int64_t i = first; i < last; ++i) {
          std::memcpy(&value, base_ + i * 4, 4);
          lo = std::min(lo, value), hi = std::max(hi, value);
        }
        hull.lo = lo, hull.hi = hi;
        hull.real_lo = hull.real_hi = 0;
      } else {
        for (std::int64_t i = first; i < last; ++i) hull.add(element(i));
      }
    }
  }
  Element element(std::int64_t i) const { return read(dtype_, base_ + i * stride_bytes_); }

  DType dtype_;
  const std::byte* base_;
  std::int64_t stride_bytes_;
  std::vector<std::vector<Hull>> levels_;
};

}  // namespace

struct HostBufferRanges::State {
  State(const ir::Program& program, const ir::Bindings& b) : bindings(b), of_rank_one(program.buffers.size()) {
    for (const BufferDecl& decl : program.buffers) dtypes.push_back(decl.dtype);
  }

  /// Which line: the buffer, the dimension that varies and the other indices.
  struct Key {
    int slot = 0, dimension = 0;
    std::array<std::int64_t, ir::max_operands> index{};
    auto operator<=>(const Key&) const = default;
  };
  struct Built {
    Once once;
    std::unique_ptr<Line> line;
  };

  const Line& line(const Key& key) {
    const ir::BoundBuffer& buffer = bindings.buffers[static_cast<std::size_t>(key.slot)];
    Built* built = nullptr;
    if (buffer.shape.size() == 1) {
      built = &of_rank_one[static_cast<std::size_t>(key.slot)];
    } else {
      std::shared_lock shared(mutex);
      auto found = lines.find(key);
      if (found == lines.end()) {
        shared.unlock();
        std::unique_lock exclusive(mutex);
        found = lines.try_emplace(key).first;
        built = &found->second;
      } else {
        built = &found->second;
      }
    }
    built->once.run([&] {
      std::int64_t offset = 0;
      for (std::size_t d = 0; d < buffer.shape.size(); ++d)
        if (static_cast<int>(d) != key.dimension) offset += key.index[d] * buffer.stride_elems[d];
      const auto size = static_cast<std::int64_t>(size_bytes(buffer.dtype));
      const auto d = static_cast<std::size_t>(key.dimension);
      built->line = std::make_unique<Line>(buffer.dtype, static_cast<const std::byte*>(buffer.data) + offset * size,
                                           buffer.shape[d], buffer.stride_elems[d] * size);
    });
    return *built->line;
  }

  const ir::Bindings& bindings;
  std::vector<DType> dtypes;
  std::vector<Built> of_rank_one;  // by slot: the usual case needs no lock
  std::shared_mutex mutex;
  std::map<Key, Built> lines;
};

HostBufferRanges::HostBufferRanges(const ir::Program& program, const ir::Bindings& bindings)
    : state_(std::make_unique<State>(program, bindings)) {}
HostBufferRanges::~HostBufferRanges() = default;

ValueRange HostBufferRanges::range(int slot, std::span<const Extent> index) const {
  const DType dtype = state_->dtypes[static_cast<std::size_t>(slot)];
  const Type type = loaded_type(dtype);
  const ir::BoundBuffer& buffer = state_->bindings.buffers[static_cast<std::size_t>(slot)];
  if (buffer.data == nullptr || buffer.shape.size() != index.size()) return ValueRange::unknown(dtype);

  State::Key key{slot, -1, {}};
  bool outside = false;  // whether some index misses the buffer, where a load gives 0
  std::int64_t first = 0, last = 0;
  for (std::size_t d = 0; d < index.size(); ++d) {
    const std::int64_t lo = std::max<std::int64_t>(index[d].lo, 0), hi = std::min(index[d].hi, buffer.shape[d] - 1);
    outside |= lo != index[d].lo || hi != index[d].hi;
    if (lo > hi) {  // every index misses
      Hull zero;
      zero.add(Element{});
      return zero.as(type);
    }
    if (lo == hi) {
      key.index[d] = lo;
    } else if (key.dimension >= 0) {
      return ValueRange::unknown(dtype);  // varies in two dimensions
    } else {
      key.dimension = static_cast<int>(d);
      first = lo, last = hi + 1;
    }
  }

  Hull hull;
  if (outside) hull.add(Element{});
  if (key.dimension >= 0) {
    hull.add(state_->line(key).hull(first, last));
  } else {
    std::int64_t offset = 0;
    for (std::size_t d = 0; d < index.size(); ++d) offset += key.index[d] * buffer.stride_elems[d];
    hull.add(read(buffer.dtype, static_cast<const std::byte*>(buffer.data) +
                                    offset * static_cast<std::int64_t>(size_bytes(buffer.dtype))));
  }
  return hull.as(type);
}

}  // namespace attnc::bounds
