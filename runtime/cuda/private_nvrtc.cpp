// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/private_nvrtc.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <utility>

#include "dsl/format.h"

namespace attnc::cuda {
namespace {

/// A file descriptor that closes itself; negative: none.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

std::optional<NvrtcApi> load_second_build(const NvrtcApi& first) {
  constexpr std::string_view name = "libnvrtc.so";
  const std::size_t at = first.path.rfind(name);
  if (at == std::string::npos) return std::nullopt;
  std::string path = first.path;
  auto api = load_nvrtc(path.replace(at, name.size(), "libnvrtc.alt.so"));
  if (api && (api->major != first.major || api->minor != first.minor)) {
    dlclose(api->handle);
    return std::nullopt;
  }
  return api;
}

/// A new file without a name in `folder`; negative if there can be none.
int open_nameless(const char* folder) {
  const int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
  if (file >= 0) return file;
  std::string name = attnc::format("{}/attnc-XXXXXX", folder);  // for file systems that cannot, as overlays
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

bool copy_file(int from, int to) {
  struct stat about {};
  if (fstat(from, &about) != 0) return false;
  rlimit largest{};  // writing beyond it raises SIGXFSZ, which ends the process
  if (getrlimit(RLIMIT_FSIZE, &largest) == 0 && largest.rlim_cur < static_cast<rlim_t>(about.st_size)) return false;
  for (off_t left = about.st_size; left > 0;) {
    const ssize_t copied = sendfile(to, from, nullptr, static_cast<std::size_t>(left));
    if (copied <= 0) return false;
    left -= copied;
  }
  return true;
}

NvrtcApi find_private() {
  const NvrtcApi& found = nvrtc();
  const char* const named = std::getenv("ATTNC_NVRTC");
  if (named != nullptr && *named != '\0') return found;
  if (auto second = load_second_build(found)) return *std::move(second);
  if (found.shared) {
    if (auto copy = load_copy(found)) return *std::move(copy);
  }
  return found;
}

}  // namespace

std::optional<NvrtcApi> load_copy(const NvrtcApi& shared) {
  const File original(open(shared.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (original.get() < 0) return std::nullopt;
  // NVRTC looks for its builtins by name, and beside itself, where a copy without a name has nothing. Loaded already,
  // they are found by name. They hold data only, so they may be shared.
  const std::string folder = shared.path.substr(0, shared.path.rfind('/') + 1);
  dlopen(attnc::format("{}libnvrtc-builtins.so.{}", folder, shared.version_text()).c_str(), RTLD_NOW | RTLD_LOCAL);
  for (const char* place : {"/var/tmp", "/tmp"}) {
    const File copy(open_nameless(place));
    if (copy.get() < 0 || lseek(original.get(), 0, SEEK_SET) != 0 || !copy_file(original.get(), copy.get())) continue;
    // The loader remembers this name. "/./" keeps it apart from what others may load from a descriptor later.
    if (auto api = load_nvrtc(attnc::format("/proc/self/./fd/{}", copy.get()))) return api;
  }
  return std::nullopt;
}

const NvrtcApi& private_nvrtc() {
  static const NvrtcApi found = find_private();
  return found;
}

}  // namespace attnc::cuda
