// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/cubin.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

namespace attnc::cuda {
namespace {

/// The little-endian value at `offset`; none if it lies beyond the end.
template <class T>
std::optional<T> read(std::string_view bytes, std::uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::optional<std::string_view> part(std::string_view bytes, std::uint64_t offset, std::uint64_t size) {
  if (offset > bytes.size() || bytes.size() - offset < size) return std::nullopt;
  return bytes.substr(offset, size);
}

/// The section of that name in a 64-bit ELF file (System V gABI, "Sections").
std::optional<std::string_view> section(std::string_view elf, const std::string& name) {
  const auto table = read<std::uint64_t>(elf, 0x28);
  const auto entry_bytes = read<std::uint16_t>(elf, 0x3a), count = read<std::uint16_t>(elf, 0x3c),
             names_index = read<std::uint16_t>(elf, 0x3e);
  if (elf.substr(0, 4) !=
          "\x7f"
          "ELF" ||
      !table || !entry_bytes || !count || !names_index)
    return std::nullopt;
  const auto body = [&](std::uint64_t index) -> std::optional<std::string_view> {
    const std::uint64_t header = *table + index * *entry_bytes;
    const auto offset = read<std::uint64_t>(elf, header + 0x18), size = read<std::uint64_t>(elf, header + 0x20);
    return offset && size ? part(elf, *offset, *size) : std::nullopt;
  };
  const auto names = body(*names_index);
  if (!names) return std::nullopt;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto at = read<std::uint32_t>(elf, *table + i * *entry_bytes);
    if (at && *at <= names->size() &&
        names->substr(*at, name.size() + 1) == std::string_view(name.c_str(), name.size() + 1))
      return body(i);
  }
  return std::nullopt;
}

}  // namespace

int count_stack_pointer_writes(std::string_view cubin, std::string_view entry) {
  // Instructions have 16 bytes since sm_70: an opcode in bits 0 to 11, and in bits 16 to 23 the register that receives
  // the result. The three that name a convergence barrier there are told apart by their opcodes; seen in what nvdisasm
  // prints of some fifty kernels.
  constexpr std::uint64_t instruction_bytes = 16, bsync = 0x941, break_ = 0x942, bssy = 0x945, stack_pointer = 1;
  const auto code = section(cubin, ".text." + std::string(entry));
  if (!code) return -1;
  int writes = 0;
  for (std::uint64_t at = 0; at + instruction_bytes <= code->size(); at += instruction_bytes) {
    const std::uint64_t word = *read<std::uint64_t>(*code, at), opcode = word & 0xfff;
    writes += (word >> 16 & 0xff) == stack_pointer && opcode != bsync && opcode != break_ && opcode != bssy;
  }
  return writes;
}

}  // namespace attnc::cuda
