// SPDX-License-Identifier: Apache-2.0
// What the test of two copies calls through dlsym.
#pragma once

#include <atomic>

/// Asks a cache of this copy, on `directory`, for `signature`. A build takes 20 ms and counts. 1 if the kernel is
/// right.
using GetOrBuild = int (*)(const char* directory, const char* signature, std::atomic<int>* builds);
