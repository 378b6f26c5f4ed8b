// SPDX-License-Identifier: Apache-2.0
// Object code in memory, linked and ready to call (LLVM ORC).
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace attnc::cpu {

/// One relocatable object file linked into this process. Immutable, so safe to use from many threads; the code lives as
/// long as the object.
class LoadedObject {
 public:
  /// Links `object_bytes` against the C and math library of this process.
  /// Throws Error(internal) with LLVM's message, e.g. for damaged bytes.
  static std::shared_ptr<const LoadedObject> load(std::string_view object_bytes);
  ~LoadedObject();

  /// Throws Error(internal) if there is no such function.
  template <class Function>
  Function* function(const char* symbol) const {
    return reinterpret_cast<Function*>(address(symbol));
  }

 private:
  struct State;
  explicit LoadedObject(std::unique_ptr<State> state);
  void* address(const char* symbol) const;
  std::unique_ptr<State> state_;
};

}  // namespace attnc::cpu
