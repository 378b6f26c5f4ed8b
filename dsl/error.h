// SPDX-License-Identifier: Apache-2.0
// The one exception type of attnc.
#pragma once

#include <stdexcept>
#include <string>

#include "export.h"

namespace attnc {

/// What kind of thing went wrong. Values are part of the C API and never renumbered.
enum class ErrorCode : int {
  invalid_expression = 1,  ///< a mod does not parse, does not type-check, or is over a documented limit
  invalid_argument = 2,    ///< a tensor, shape, stride, parameter or option breaks a rule of semantics.md
  unsupported = 3,         ///< well-formed, but this build or this device cannot do it
  no_device = 4,           ///< no such device, driver or run-time compiler on this machine
  out_of_memory = 5,       ///< host or device memory exhausted
  io = 6,                  ///< a file named by the user cannot be read or written
  internal = 7,            ///< a bug of attnc; the message says how to report it
};

/// Every error attnc raises. `what()` names the argument, its value and the rule it breaks; for expressions given as
/// text it carries the text with a caret under the place. Copyable; safe to pass between threads.
class ATTNC_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace attnc
