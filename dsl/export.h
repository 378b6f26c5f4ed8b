// SPDX-License-Identifier: Apache-2.0
// ATTNC_API marks what libattnc offers; everything else is hidden. Valid C and C++.
//
// ATTNC_SHARED is defined while a shared libattnc is built and, by attnc::attnc and pkg-config, for those who link it.
// In a static build nothing is exported, so a library that embeds attnc does not offer attnc's symbols in turn.
#pragma once

#if defined(ATTNC_SHARED) && (defined(__GNUC__) || defined(__clang__))
#define ATTNC_API __attribute__((visibility("default")))
#else
#define ATTNC_API
#endif
