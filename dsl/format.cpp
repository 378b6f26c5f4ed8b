// SPDX-License-Identifier: Apache-2.0
// The one file that compiles fmt.
#define FMT_HEADER_ONLY 1
#include "dsl/format.h"

#include <fmt/format.h>

namespace attnc {

std::string vformat(fmt::string_view text, fmt::format_args arguments) { return fmt::vformat(text, arguments); }

}  // namespace attnc
