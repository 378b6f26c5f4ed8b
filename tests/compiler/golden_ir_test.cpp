// SPDX-License-Identifier: Apache-2.0
// The text of each stage for a few mods, held in tests/golden/. ATTNC_UPDATE_GOLDEN=1 rewrites the files.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "compiler/ir/lower.h"
#include "compiler/ir/print.h"
#include "compiler/passes/passes.h"
#include "dsl/stock.h"

namespace attnc {
namespace {

std::string stages(const ScoreMod& score, const MaskMod& mask) {
  const ir::Program lowered = ir::lower(score, mask);
  const ir::Program canonical = passes::canonicalize(lowered);
  const ir::Program kernel = passes::kernel_form(canonical);
  std::string text = "== lowered\n" + ir::print(lowered) + "== canonical\n" + ir::print(canonical) +
                     "== signature text\n" + ir::print(canonical, true) + "== kernel form\n" + ir::print(kernel) +
                     "== placement of the kernel form\n";
  const auto levels = passes::placement(kernel);
  for (std::size_t id = 0; id < levels.size(); ++id)
    text += "%" + std::to_string(id) + " " + std::string(ir::name(levels[id])) + "\n";
  return text;
}

void expect_golden(const std::string& name, const std::string& actual) {
  const std::string path = std::string(ATTNC_GOLDEN_DIR) + "/" + name + ".txt";
  if (std::getenv("ATTNC_UPDATE_GOLDEN")) std::ofstream(path) << actual;
  std::ifstream file(path);
  std::stringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(actual, expected.str()) << "differs from " << path << "; ATTNC_UPDATE_GOLDEN=1 rewrites it";
}

TEST(GoldenIr, SoftCapCausalWindow) {
  expect_golden("soft_cap_causal_window", stages(stock::soft_cap(param("cap", 30.0f)), stock::sliding_window(1024)));
}

TEST(GoldenIr, Alibi) { expect_golden("alibi", stages(stock::alibi(), stock::causal())); }

TEST(GoldenIr, RelativeBias) { expect_golden("relative_bias", stages(stock::relative_bias(2048), {})); }

TEST(GoldenIr, Neighborhood) { expect_golden("neighborhood", stages({}, stock::neighborhood(56, 5))); }

TEST(GoldenIr, DocumentCausal) { expect_golden("document_causal", stages({}, stock::document() & stock::causal())); }

}  // namespace
}  // namespace attnc
