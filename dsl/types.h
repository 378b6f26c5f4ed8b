// SPDX-License-Identifier: Apache-2.0
// Value types of expressions and element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace attnc {

/// The type of a value inside a mod.
enum class Type : std::uint8_t {
  boolean,
  i32,  ///< wraps on overflow
  i64,  ///< wraps on overflow
  f32,
};

/// The element type of a tensor or captured buffer.
enum class DType : std::uint8_t { f32, f16, bf16, i64, i32, i8, u8, boolean };

/// The type a buffer element has once loaded into a mod: f16 and bf16 load as f32, i8 and u8 as i32.
constexpr Type loaded_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return Type::f32;
    case DType::i64:
      return Type::i64;
    case DType::i32:
    case DType::i8:
    case DType::u8:
      return Type::i32;
    case DType::boolean:
      return Type::boolean;
  }
  return Type::f32;
}

constexpr std::size_t size_bytes(DType dtype) {
  switch (dtype) {
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

constexpr std::string_view name(Type type) {
  switch (type) {
    case Type::boolean:
      return "bool";
    case Type::i32:
      return "i32";
    case Type::i64:
      return "i64";
    case Type::f32:
      return "f32";
  }
  return "?";
}

constexpr std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::i64:
      return "i64";
    case DType::i32:
      return "i32";
    case DType::i8:
      return "i8";
    case DType::u8:
      return "u8";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

}  // namespace attnc
