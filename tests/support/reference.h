// SPDX-License-Identifier: Apache-2.0
// The oracle under the name tests use it by.
#pragma once

#include "runtime/oracle/reference.h"

namespace attnc::testing {
using namespace oracle;
}
