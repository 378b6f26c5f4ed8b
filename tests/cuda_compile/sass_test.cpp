// SPDX-License-Identifier: Apache-2.0
// The machine code of the Hopper kernel, looked at: the matrix products that the plan calls for, nothing in local
// memory, and no register that an asynchronous product still reads written before the wait for it. ptxas (before 13.3,
// at least) gets the last wrong when arithmetic stands between issue and wait (templates/sm90/README.md).
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "compiler/cuda/kernel_source.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/passes.h"
#include "dsl/format.h"
#include "dsl/stock.h"
#include "runtime/cuda/compile.h"
#include "runtime/cuda/nvrtc_api.h"
#include "tests/support/mod_cases.h"

namespace attnc::testing {
namespace {

namespace fs = std::filesystem;

/// nvdisasm of ATTNC_NVDISASM, of a toolkit, or of a Python package in .venv; "" if there is none.
std::string find_disassembler() {
  std::vector<fs::path> candidates;
  if (const char* given = std::getenv("ATTNC_NVDISASM")) candidates.emplace_back(given);
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* root = std::getenv(variable)) candidates.push_back(fs::path(root) / "bin/nvdisasm");
  candidates.emplace_back("/usr/local/cuda/bin/nvdisasm");
  std::stringstream directories(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string directory; std::getline(directories, directory, ':');)
    candidates.push_back(fs::path(directory) / "nvdisasm");
  std::error_code ignored;
  for (const auto& python : fs::directory_iterator(".venv/lib", ignored))
    for (const auto& package : fs::directory_iterator(python.path() / "site-packages/nvidia", ignored))
      candidates.push_back(package.path() / "bin/nvdisasm");
  for (const fs::path& candidate : candidates)
    if (::access(candidate.c_str(), X_OK) == 0) return candidate.string();
  return "";
}

std::vector<std::string> disassemble(const std::string& tool, const std::string& cubin) {
  std::string name = (fs::temp_directory_path() / "attnc_sass_XXXXXX").string();
  const int file = ::mkstemp(name.data());
  if (file < 0) return {};
  ::close(file);
  std::ofstream(name, std::ios::binary) << cubin;
  std::string text;
  if (FILE* pipe = ::popen(attnc::format("'{}' -c '{}' 2>/dev/null", tool, name).c_str(), "r")) {
    char buffer[1 << 14];
    for (std::size_t read; (read = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, read);
    ::pclose(pipe);
  }
  fs::remove(name);
  static const std::regex instruction(R"(^\s*/\*[0-9a-f]{4,}\*/\s+(.*);)");
  std::vector<std::string> lines;
  std::istringstream stream(text);
  std::smatch match;
  for (std::string line; std::getline(stream, line);)
    if (std::regex_search(line, match, instruction)) lines.push_back(match[1]);
  return lines;
}

/// General registers an instruction writes: its first operand, or two or four from it.
std::vector<int> written(const std::string& line) {
  static const std::regex first(R"(^(?:@!?U?P\w+ +)?([A-Z0-9_.]+) +(?:U?PT?\d*, +)*R(\d+)(\.64)?,)");
  std::smatch match;
  if (!std::regex_search(line, match, first)) return {};
  const std::string op = match[1];
  for (const char* reader : {"ST", "RED", "BAR", "SYNCS", "FSETP", "ISETP", "UBLK", "R2P"})
    if (op.rfind(reader, 0) == 0) return {};
  int count = match[3].matched || op.find("WIDE") != std::string::npos || op.find(".64") != std::string::npos ? 2 : 1;
  if (op.find(".128") != std::string::npos) count = 4;
  std::vector<int> registers;
  for (int i = 0; i < count; ++i) registers.push_back(std::stoi(match[2]) + i);
  return registers;
}

struct Findings {
  int products_of_scores = 0, products_of_values = 0, local_accesses = 0, waits_for_all = 0;
  std::vector<std::string> hazards;
};

Findings look_at(const std::vector<std::string>& lines) {
  static const std::regex product(R"(HGMMA\.\S+ R\d+, (R(\d+), )?gdesc)");
  Findings found;
  std::set<int> read_later;
  std::smatch match;
  for (const std::string& line : lines) {
    if (line.find("STL") != std::string::npos || line.find("LDL") != std::string::npos) ++found.local_accesses;
    if (std::regex_search(line, match, product)) {
      if (!match[1].matched) {
        ++found.products_of_scores;
        continue;
      }
      ++found.products_of_values;
      for (int i = 0; i < 4; ++i) read_later.insert(std::stoi(match[2]) + i);
    } else if (line.find("DEPBAR.LE gsb0, 0x0") != std::string::npos) {
      read_later.clear();
      ++found.waits_for_all;
    } else if (!read_later.empty()) {
      bool overwrites = false;
      for (const int r : written(line)) overwrites = overwrites || read_later.count(r) > 0;
      if (overwrites) found.hazards.push_back(line);
    }
  }
  return found;
}

void expect_sound(const ModCase& mods, DType dtype, int head_dim, bool table, bool bit_mask = false) {
  const std::string tool = find_disassembler();
  if (tool.empty()) GTEST_SKIP() << "no nvdisasm (ATTNC_NVDISASM, CUDA_HOME, PATH, .venv)";
  try {
    cuda::nvrtc();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  cuda::KernelRequest request;
  request.target = plan::target_from_name("sm_90a");
  request.dtype = dtype;
  request.head_dim_qk = request.head_dim_v = head_dim;
  request.block_table = table;
  request.bit_mask = bit_mask;
  const ir::Program program = passes::canonicalize(ir::lower(mods.score, mods.mask));
  const cuda::KernelSource source = cuda::make_kernel_source(program, request);
  ASSERT_EQ(source.plan.family, plan::KernelFamily::sm90);
  ASSERT_EQ(source.plan.bit_mask, bit_mask);
  const std::vector<std::string> lines = disassemble(tool, cuda::compile(source.text, request.target).cubin);
  ASSERT_GT(lines.size(), 500u) << tool << " said nothing";
  const Findings found = look_at(lines);
  const std::string plan = plan::print(source.plan);
  // Scores are issued in one place; values there and once more after the last tile. One wait follows each.
  EXPECT_EQ(found.products_of_scores, (head_dim + 15) / 16 + (source.plan.bias_product ? 1 : 0)) << plan;
  EXPECT_EQ(found.products_of_values, 2 * source.plan.tile_kv / 16) << plan;
  EXPECT_EQ(found.waits_for_all, 2) << "products are serialised: " << plan;
  EXPECT_EQ(found.local_accesses, 0) << plan;
  EXPECT_TRUE(found.hazards.empty()) << found.hazards.front() << " overwrites an operand in use: " << plan;
}

TEST(Sass, FindsAHazard) {
  const std::vector<std::string> sound = {"HGMMA.64x64x16.F32.BF16 R88, R120, gdesc[UR8].tnspB, R88, gsb0",
                                          "WARPGROUP.DEPBAR.LE gsb0, 0x0", "FADD R121, R1, R2"};
  EXPECT_TRUE(look_at(sound).hazards.empty());
  EXPECT_EQ(look_at({sound[0], sound[2], sound[1]}).hazards.size(), 1u);
  EXPECT_EQ(look_at({sound[0], "@!P0 LDS.128 R120, [R3]", sound[1]}).hazards.size(), 1u);
  EXPECT_TRUE(look_at({sound[0], "@!P0 ST.E desc[UR4][R120.64], R121", sound[1]}).hazards.empty());
}

TEST(Sass, Dense) {
  for (const int head_dim : {64, 128, 256}) expect_sound({"dense", {}, {}, {}}, DType::bf16, head_dim, false);
}
TEST(Sass, Float16) { expect_sound({"dense", {}, {}, {}}, DType::f16, 128, false); }
TEST(Sass, Causal) {
  for (const int head_dim : {64, 128}) expect_sound({"causal", {}, stock::causal(), {}}, DType::bf16, head_dim, false);
}
TEST(Sass, SoftCap) {
  for (const int head_dim : {64, 128})
    expect_sound({"soft_cap", stock::soft_cap(30.0f), {}, {}}, DType::bf16, head_dim, false);
}
TEST(Sass, Tables) {
  for (const int head_dim : {64, 128}) expect_sound({"causal", {}, stock::causal(), {}}, DType::bf16, head_dim, true);
}
TEST(Sass, MasksAsBits) {
  for (const int head_dim : {64, 128})
    expect_sound({"causal", {}, stock::causal(), {}}, DType::bf16, head_dim, true, true);
}

}  // namespace
}  // namespace attnc::testing
