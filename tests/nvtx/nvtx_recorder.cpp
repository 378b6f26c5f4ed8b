// SPDX-License-Identifier: Apache-2.0
// The least a profiler does: NVTX loads it at its first call, and it notes each range in the file that
// ATTNC_TEST_NVTX_RECORD names. The handshake is that of NVIDIA's documentation, "NVTX: implementing a tool".
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

int depth = 0;

void note(const std::string& line) {
  const char* path = std::getenv("ATTNC_TEST_NVTX_RECORD");
  if (path == nullptr) return;
  if (std::FILE* file = std::fopen(path, "a")) {
    std::fprintf(file, "%s\n", line.c_str());
    std::fclose(file);
  }
}

nvtxDomainHandle_t NVTX_API create_domain(const char* name) {
  note(std::string("domain ") + name);
  static int domain;
  return reinterpret_cast<nvtxDomainHandle_t>(&domain);
}

int NVTX_API push(nvtxDomainHandle_t, const nvtxEventAttributes_t* attributes) {
  note("push " + std::to_string(depth) + " " + attributes->message.ascii);
  return depth++;
}

int NVTX_API pop(nvtxDomainHandle_t) {
  note("pop " + std::to_string(--depth));
  return depth;
}

template <class Function>
void replace(NvtxFunctionTable table, unsigned int index, Function* function) {
  *table[index] = reinterpret_cast<NvtxFunctionPointer>(function);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned int size = 0;
  if (callbacks == nullptr || callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) == 0 ||
      size <= NVTX_CBID_CORE2_DomainCreateA)
    return 0;
  replace(table, NVTX_CBID_CORE2_DomainCreateA, create_domain);
  replace(table, NVTX_CBID_CORE2_DomainRangePushEx, push);
  replace(table, NVTX_CBID_CORE2_DomainRangePop, pop);
  note("attached");
  return 1;
}
