// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir/program.h"

namespace attnc::ir {

std::string_view name(Level level) {
  switch (level) {
    case Level::uniform:
      return "uniform";
    case Level::row:
      return "row";
    case Level::column:
      return "column";
    case Level::diagonal:
      return "diagonal";
    case Level::element:
      return "element";
  }
  return "?";
}

}  // namespace attnc::ir
