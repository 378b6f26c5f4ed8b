// SPDX-License-Identifier: Apache-2.0
// Runs what run/*.cpp and text/*.txt describe.
#include "tests/must_fail/must_fail.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "dsl/mods.h"

namespace attnc {
namespace testing {

std::vector<MustFail>& must_fail_list() {
  static std::vector<MustFail> list;
  return list;
}

}  // namespace testing

namespace {

TEST(MustFail, Run) {
  ASSERT_GE(testing::must_fail_list().size(), 10u);
  for (const testing::MustFail& entry : testing::must_fail_list()) {
    SCOPED_TRACE(entry.file);
    try {
      entry.body();
      ADD_FAILURE() << "nothing was raised";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), entry.code);
      std::string actual = error.what(), expected = entry.message;
      if (expected.size() >= 3 && expected.compare(expected.size() - 3, 3, "...") == 0) {
        expected.resize(expected.size() - 3);
        actual = actual.substr(0, expected.size());
      }
      EXPECT_EQ(actual, expected);
    }
  }
}

/// A file of text/: lines "param NAME TYPE", "buffer NAME DTYPE RANK", then "score_mod" or "mask_mod", the expression
/// (any number of lines; \xNN stands for that byte), a line "---", and the message.
struct TextCase {
  Captures captures;
  bool is_score = true;
  std::string expression, message;
};

std::string unescaped(const std::string& line) {
  std::string result;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line.compare(i, 2, "\\x") == 0 && i + 3 < line.size()) {
      result += static_cast<char>(std::stoi(line.substr(i + 2, 2), nullptr, 16));
      i += 3;
    } else {
      result += line[i];
    }
  }
  return result;
}

TextCase read_case(const std::filesystem::path& path) {
  TextCase result;
  std::ifstream file(path);
  std::string line;
  bool in_expression = false, in_message = false;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string kind, name, type;
    if (in_message) {
      result.message += (result.message.empty() ? "" : "\n") + line;
    } else if (line == "---") {
      in_message = true;
    } else if (in_expression) {
      result.expression += (result.expression.empty() ? "" : "\n") + unescaped(line);
    } else if (line == "score_mod" || line == "mask_mod") {
      in_expression = true;
      result.is_score = line == "score_mod";
    } else if (words >> kind >> name >> type; kind == "param") {
      for (Type candidate : {Type::boolean, Type::i32, Type::i64, Type::f32})
        if (attnc::name(candidate) == type) result.captures.params.push_back({name, candidate});
    } else if (kind == "buffer") {
      int rank = 1;
      words >> rank;
      for (DType candidate : {DType::f32, DType::f16, DType::i32, DType::boolean})
        if (attnc::name(candidate) == type) result.captures.buffers.push_back({name, candidate, rank});
    } else {
      ADD_FAILURE() << path << ": what is '" << line << "'?";
    }
  }
  return result;
}

TEST(MustFail, Text) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(ATTNC_MUST_FAIL_TEXTS)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  ASSERT_GE(paths.size(), 40u);
  for (const auto& path : paths) {
    SCOPED_TRACE(path.filename().string());
    const TextCase text_case = read_case(path);
    try {
      if (text_case.is_score) {
        score_mod(text_case.expression, text_case.captures);
      } else {
        mask_mod(text_case.expression, text_case.captures);
      }
      ADD_FAILURE() << "accepted: " << text_case.expression;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_expression);
      EXPECT_EQ(std::string(error.what()), text_case.message);
    }
  }
}

}  // namespace
}  // namespace attnc
