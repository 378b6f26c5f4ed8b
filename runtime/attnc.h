// SPDX-License-Identifier: Apache-2.0
// attnc, the attention compiler: everything a C++ program needs. Installed as <attnc/attnc.h>.
#pragma once

#include "../dsl/error.h"
#include "../dsl/mods.h"
#include "../dsl/stock.h"
#include "../dsl/types.h"
#include "attention.h"
#include "bindings.h"
#include "block_mask.h"
#include "tensor.h"
