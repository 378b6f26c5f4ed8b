// SPDX-License-Identifier: Apache-2.0
// How a file of run/ states its diagnostic.
#pragma once

#include <string>
#include <vector>

#include "dsl/error.h"

namespace attnc::testing {

struct MustFail {
  const char* file;
  ErrorCode code;
  std::string message;  ///< the whole of Error::what(), or its beginning if `message` ends in "..."
  void (*body)();
};

std::vector<MustFail>& must_fail_list();

struct MustFailEntry {
  explicit MustFailEntry(MustFail entry) { must_fail_list().push_back(std::move(entry)); }
};

}  // namespace attnc::testing

/// MUST_FAIL(code, "message") { what the user did }
#define MUST_FAIL(code, message)                                    \
  static void must_fail_body();                                     \
  static const attnc::testing::MustFailEntry must_fail_entry(       \
      {__FILE__, attnc::ErrorCode::code, message, must_fail_body}); \
  static void must_fail_body()
