// SPDX-License-Identifier: Apache-2.0
// Size and nesting: whatever comes in either works or is refused, quickly and without a stack overflow.
#include <gtest/gtest.h>

#include <string>

#include "tests/dsl/evaluate.h"

namespace attnc {
namespace {

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

std::string refusal(const std::string& text, const Captures& captures = {}) {
  try {
    score_mod(text, captures);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_expression);
    return error.what();
  }
  return "accepted";
}

TEST(Limits, HundredThousandTermsOfTextAreRefused) {
  EXPECT_EQ(refusal("b" + repeated("+b", 100'000)),
            "score_mod: the expression has 200001 bytes, over the limit of 65536");
}

TEST(Limits, HundredThousandTermsOfALambdaAreRefused) {
  const auto trace = [] {
    return ir::lower(score_mod([](Score s, Index, Index, Index, Index) {
                       Expr sum = s;
                       for (int i = 0; i < 100'000; ++i) sum = sum + s;
                       return sum;
                     }),
                     {});
  };
  try {
    trace();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_expression);
    EXPECT_NE(std::string(error.what()).find("16384"), std::string::npos) << error.what();
  }
}

TEST(Limits, TooManyOperationsAreRefusedWhereTheyBegin) {
  const std::string message = refusal("b" + repeated("+b", 20'000));
  EXPECT_EQ(message.substr(0, message.find('\n')), "score_mod:1:32770: more than 16384 operations");
}

TEST(Limits, SixteenThousandTermsWork) {
  EXPECT_EQ(testing::evaluate(score_mod("b" + repeated("+b", 16'000)), {.b = 1}), 16'001);
}

TEST(Limits, LongChainsOfChoicesWork) { EXPECT_EQ(testing::evaluate(score_mod(repeated("b?h:", 4'000) + "7"), {}), 7); }

TEST(Limits, NestingWorksUpToTheLimitAndIsRefusedPastIt) {
  const int most = ModLimits::max_nesting;
  for (const auto& [open, close] : {std::pair<std::string, std::string>{"(", ")"},
                                    {"abs(", ")"},
                                    {"-", ""},
                                    {"!", ""},
                                    {"b ? ", " : 1"},
                                    {"where(b, 1, ", ")"}}) {
    EXPECT_EQ(refusal(repeated(open, most) + "h" + repeated(close, most)), "accepted") << open;
    const std::string message = refusal(repeated(open, most + 1) + "h" + repeated(close, most + 1));
    EXPECT_NE(message.find("nested deeper than 256 levels\n"), std::string::npos) << open << "\n" << message;
  }
  EXPECT_NE(refusal(repeated("(", 65'000)).find("nested deeper than 256 levels\n"), std::string::npos);
  EXPECT_NE(refusal(repeated("(-", 200) + "h").find("nested deeper than 256 levels\n"), std::string::npos);
}

TEST(Limits, NestingThatClosedDoesNotCount) {
  EXPECT_EQ(refusal("b" + repeated("+(b)", 1'000)), "accepted");
  EXPECT_EQ(refusal("b" + repeated("+--b", 1'000)), "accepted");
}

TEST(Limits, TooManyCapturesAreRefused) {
  Captures captures;
  for (int i = 0; i <= ModLimits::max_captures; ++i) captures.params.push_back({"p" + std::to_string(i)});
  EXPECT_EQ(refusal("score", captures), "score_mod: 65 parameters, over the limit of 64");
  captures.params.clear();
  for (int i = 0; i <= ModLimits::max_captures; ++i) captures.buffers.push_back({"t" + std::to_string(i)});
  EXPECT_EQ(refusal("score", captures), "score_mod: 65 buffers, over the limit of 64");
}

TEST(Limits, LongLinesAreCutAroundTheCaret) {
  EXPECT_EQ(refusal(repeated("b + ", 40) + "scor" + repeated(" + b", 40)),
            "score_mod:1:161: unknown name 'scor'; did you mean 'score'?\n"
            "  1 | ...b + b + b + b + b + b + b + b + b + b + b + scor + b + b + b + b + b + b + b + b + b + b...\n"
            "    |                                                ^~~~");
  // Near either end the window stays inside the line.
  EXPECT_EQ(refusal("scor" + repeated(" + b", 40)),
            "score_mod:1:1: unknown name 'scor'; did you mean 'score'?\n"
            "  1 | scor + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b...\n"
            "    | ^~~~");
  EXPECT_EQ(refusal(repeated("b + ", 40) + "scor"),
            "score_mod:1:161: unknown name 'scor'; did you mean 'score'?\n"
            "  1 | ...b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + b + scor\n"
            "    |                                                                                        ^~~~");
}

TEST(Limits, LongNamesAreCutInTheReason) {
  const std::string message = refusal(std::string(60'000, 'a'));
  EXPECT_LT(message.size(), 500u);
  EXPECT_NE(message.find("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"), std::string::npos) << message;
}

// Whatever the bytes, the message is printable ASCII and newlines.
TEST(Limits, HostileBytesAreReportedSafely) {
  for (int byte = 0; byte < 256; ++byte) {
    for (const std::string& text :
         {std::string(1, static_cast<char>(byte)), "b + " + std::string(1, static_cast<char>(byte)) + " + h",
          "\x1b[31m" + std::string(1, static_cast<char>(byte))}) {
      for (char c : refusal(text)) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << "byte " << byte;
    }
  }
}

}  // namespace
}  // namespace attnc
