// SPDX-License-Identifier: Apache-2.0
// The few names device code needs that NVRTC does not bundle: fixed-width integers and constants.
#pragma once

namespace attnc {

using int8 = signed char;
using uint8 = unsigned char;
using int16 = short;
using uint16 = unsigned short;
using int32 = int;
using uint32 = unsigned int;
using int64 = long long;
using uint64 = unsigned long long;

inline constexpr float log2_e = 1.4426950408889634f;
inline constexpr float ln_2 = 0.6931471805599453f;

}  // namespace attnc
