// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/loaded_object.h"

#include <llvm/ExecutionEngine/Orc/ExecutionUtils.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/TargetParser/Host.h>

#include "compiler/cpu/codegen.h"
#include "dsl/error.h"

namespace attnc::cpu {
namespace {

[[noreturn]] void fail(const char* what, llvm::Error error) {
  throw Error(ErrorCode::internal, std::string(what) + ": " + llvm::toString(std::move(error)));
}
template <class T>
T take(const char* what, llvm::Expected<T> value) {
  if (!value) fail(what, value.takeError());
  return std::move(*value);
}

}  // namespace

struct LoadedObject::State {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

LoadedObject::LoadedObject(std::unique_ptr<State> state) : state_(std::move(state)) {}
LoadedObject::~LoadedObject() = default;

std::shared_ptr<const LoadedObject> LoadedObject::load(std::string_view object_bytes) {
  initialize_llvm();
  auto state = std::make_unique<State>();
  // The builder asks for a target machine only to compile IR, which never happens here.
  llvm::orc::JITTargetMachineBuilder builder{llvm::Triple(llvm::sys::getProcessTriple())};
  state->jit =
      take("cannot start the JIT linker", llvm::orc::LLJITBuilder().setJITTargetMachineBuilder(builder).create());
  auto& library = state->jit->getMainJITDylib();
  library.addGenerator(take(
      "cannot see this process's symbols",
      llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(state->jit->getDataLayout().getGlobalPrefix())));
  auto buffer =
      llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(object_bytes.data(), object_bytes.size()), "attnc");
  if (llvm::Error error = state->jit->addObjectFile(std::move(buffer))) fail("cannot link a kernel", std::move(error));
  return std::shared_ptr<const LoadedObject>(new LoadedObject(std::move(state)));
}

void* LoadedObject::address(const char* symbol) const {
  return take("cannot link a kernel", state_->jit->lookup(symbol)).toPtr<void*>();
}

}  // namespace attnc::cpu
