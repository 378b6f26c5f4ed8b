// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/nvtx.h"

#include <cstdlib>
#include <string_view>

#ifdef ATTNC_HAS_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace attnc {
namespace {

bool is_asked_for() noexcept {
  const char* value = std::getenv("ATTNC_NVTX");
  return value != nullptr && std::string_view(value) == "1";
}

#ifdef ATTNC_HAS_NVTX
nvtxDomainHandle_t domain() noexcept {
  static const nvtxDomainHandle_t made = nvtxDomainCreateA("attnc");
  return made;
}
#endif

}  // namespace

bool has_profile_ranges() noexcept {
#ifdef ATTNC_HAS_NVTX
  return true;
#else
  return false;
#endif
}

bool ProfileRange::enabled() noexcept {
  static const bool asked_for = has_profile_ranges() && is_asked_for();
  return asked_for;
}

#ifdef ATTNC_HAS_NVTX
void ProfileRange::push(const char* name) noexcept {
  nvtxEventAttributes_t attributes{};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = name;
  nvtxDomainRangePushEx(domain(), &attributes);
}
void ProfileRange::pop() noexcept { nvtxDomainRangePop(domain()); }
#else
void ProfileRange::push(const char*) noexcept {}
void ProfileRange::pop() noexcept {}
#endif

}  // namespace attnc
