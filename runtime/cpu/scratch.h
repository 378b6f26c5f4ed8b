// SPDX-License-Identifier: Apache-2.0
// The memory one thread works in: a few hundred kilobytes, whatever the sequence lengths.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "compiler/cpu/emit.h"
#include "compiler/cpu/kernel_abi.h"
#include "compiler/cpu/plan.h"

namespace attnc::cpu {

/// One allocation, carved up as CpuPlan and the mods' slots want it.
class Scratch {
 public:
  Scratch(const CpuPlan& plan, const SlotCounts& slots);
  /// Sets the scratch pointers of a task.
  void attach(TaskAbi& task) const;
  std::size_t size_bytes() const { return size_bytes_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  TaskAbi pointers_{};
  std::size_t size_bytes_ = 0;
  std::unique_ptr<std::byte[], Free> memory_;
};

/// Scratch kept between calls, one per thread that was ever at work at once. Thread-safe.
class ScratchPool {
 public:
  ScratchPool(const CpuPlan& plan, const SlotCounts& slots) : plan_(plan), slots_(slots) {}

  class Lease {
   public:
    Lease(ScratchPool& pool, std::unique_ptr<Scratch> scratch) : pool_(pool), scratch_(std::move(scratch)) {}
    ~Lease() { pool_.give_back(std::move(scratch_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    const Scratch& operator*() const { return *scratch_; }
    const Scratch* operator->() const { return scratch_.get(); }

   private:
    ScratchPool& pool_;
    std::unique_ptr<Scratch> scratch_;
  };
  Lease take();

 private:
  void give_back(std::unique_ptr<Scratch> scratch);
  const CpuPlan plan_;
  const SlotCounts slots_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

}  // namespace attnc::cpu
