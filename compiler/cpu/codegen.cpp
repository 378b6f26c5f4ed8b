// SPDX-License-Identifier: Apache-2.0
#include "compiler/cpu/codegen.h"

#include <llvm/ADT/SmallString.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Pass.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Target/TargetOptions.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/Transforms/Scalar.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "dsl/error.h"
#include "dsl/format.h"

namespace attnc::cpu {
namespace {

const llvm::Target& find_target(const std::string& triple) {
  initialize_llvm();
  std::string message;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, message);
  if (found == nullptr)
    throw Error(ErrorCode::unsupported, "LLVM has no code generator for " + triple + ": " + message);
  return *found;
}

std::unique_ptr<llvm::TargetMachine> make_target_machine(const CpuTarget& target) {
  llvm::TargetOptions options;
  // x86's small code model reaches constants and callees because the linker puts one kernel's sections together.
  return std::unique_ptr<llvm::TargetMachine>(
      find_target(target.triple)
          .createTargetMachine(target.triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
                               llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default, /*JIT=*/true));
}

std::string compile(llvm::Module& module, const CpuTarget& target, llvm::CodeGenFileType type) {
  const auto machine = make_target_machine(target);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  std::string problem;
  llvm::raw_string_ostream problem_stream(problem);
  if (llvm::verifyModule(module, &problem_stream))
    throw Error(ErrorCode::internal, "the CPU emitter made invalid LLVM IR: " + problem);
  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  // The emitters write loads and address arithmetic where they read best: share and hoist them here. Anything more of
  // the usual pipeline costs more time than it saves.
  passes.add(llvm::createEarlyCSEPass());
  passes.add(llvm::createLICMPass());
  if (machine->addPassesToEmitFile(passes, stream, nullptr, type))
    throw Error(ErrorCode::internal, "LLVM cannot emit this kind of file for " + target.triple);
  passes.run(module);
  return std::string(bytes.str());
}

std::string host_features() {
  std::vector<std::string> list;
  for (const auto& feature : llvm::sys::getHostCPUFeatures())
    list.push_back((feature.second ? "+" : "-") + feature.first().str());
  std::sort(list.begin(), list.end());
  std::string text;
  for (const std::string& feature : list) text += (text.empty() ? "" : ",") + feature;
  return text;
}

}  // namespace

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
}

CpuTarget CpuTarget::host() {
  CpuTarget target;
  target.triple = llvm::sys::getProcessTriple();
  const char* forced = std::getenv("ATTNC_CPU_TARGET");
  if (forced != nullptr && *forced != '\0') {
    // Asked first without a CPU: LLVM prints a warning of its own about one it does not know.
    const std::unique_ptr<llvm::MCSubtargetInfo> any(
        find_target(target.triple).createMCSubtargetInfo(target.triple, "", ""));
    if (!any->isCPUStringValid(forced))
      throw Error(ErrorCode::unsupported, attnc::format("ATTNC_CPU_TARGET={}: LLVM knows no such CPU", forced));
    target.cpu = forced;
  } else {
    target.cpu = llvm::sys::getHostCPUName().str();
    target.features = host_features();
  }
  const auto machine = make_target_machine(target);
  const llvm::MCSubtargetInfo& info = *machine->getMCSubtargetInfo();
  const llvm::Triple triple(target.triple);
  if (triple.isX86()) {
    if (info.checkFeatures("+avx512f") && info.checkFeatures("+avx512vl") && info.checkFeatures("+avx512bw"))
      target.vector_bits = 512;
    else if (info.checkFeatures("+avx2"))
      target.vector_bits = 256;
    target.vector_registers = target.vector_bits == 512 ? 32 : 16;
    target.has_f16_conversion = info.checkFeatures("+f16c");
    target.has_fma = info.checkFeatures("+fma");
  } else {
    target.vector_registers = 32;
    target.has_f16_conversion = triple.isAArch64();
    target.has_fma = triple.isAArch64();
  }
  if (const char* bits = std::getenv("ATTNC_CPU_VECTOR_BITS"); bits != nullptr && *bits != '\0') {
    const std::string_view text = bits;
    if (text != "128" && text != "256" && text != "512")
      throw Error(ErrorCode::unsupported, attnc::format("ATTNC_CPU_VECTOR_BITS={}: must be 128, 256 or 512", text));
    target.vector_bits = std::min(target.vector_bits, std::atoi(bits));
  }
  return target;
}

std::string compile_object(llvm::Module& module, const CpuTarget& target) {
  return compile(module, target, llvm::CodeGenFileType::ObjectFile);
}
std::string compile_assembly(llvm::Module& module, const CpuTarget& target) {
  return compile(module, target, llvm::CodeGenFileType::AssemblyFile);
}

std::string print_module(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

std::string llvm_version() { return "LLVM " LLVM_VERSION_STRING; }

}  // namespace attnc::cpu
