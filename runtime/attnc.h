// SPDX-License-Identifier: Apache-2.0
// attnc, the attention compiler. Installed as <attnc/attnc.h>: C sees the C API, C++ sees the C++ API as well.
#pragma once

#include "c_api.h"

#ifdef __cplusplus
#include "../dsl/error.h"
#include "../dsl/mods.h"
#include "../dsl/stock.h"
#include "../dsl/types.h"
#include "attention.h"
#include "bindings.h"
#include "block_mask.h"
#include "tensor.h"
#endif
