// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/syntax/expression_parser.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine::jinja {
namespace {

constexpr int kMaxNesting = 200;
// Limit on the parts of a chain such as a.b.c… or x|f|g…. The parser reads such a chain without
// recursion, but the interpreter recurses over its nodes.
constexpr int kMaxChain = 500;

}  // namespace

std::string ExpressionParser::Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kBlockBegin:
      return "{%";
    case TokenKind::kBlockEnd:
      return "end of tag";
    case TokenKind::kOutputBegin:
      return "{{";
    case TokenKind::kOutputEnd:
      return "end of output";
    case TokenKind::kEnd:
      return "end of template";
    default:
      return absl::StrCat("'", token.text, "'");
  }
}

absl::Status ExpressionParser::Unexpected(std::string_view expected) const {
  return TemplateError(now().position,
                       absl::StrCat("unexpected ", Describe(now()), ", expected ",
                                    absl::string_view(expected.data(), expected.size())));
}

absl::Status ExpressionParser::ExpectOperator(std::string_view op) {
  if (SkipOperator(op)) return absl::OkStatus();
  return Unexpected(absl::StrCat("'", std::string(op), "'"));
}

absl::Status ExpressionParser::ExpectBlockEnd() {
  if (now().kind != TokenKind::kBlockEnd) return Unexpected("end of tag");
  Next();
  return absl::OkStatus();
}

absl::StatusOr<std::string> ExpressionParser::ExpectName() {
  if (now().kind != TokenKind::kName) return Unexpected("a name");
  return Next().text;
}

int ExpressionParser::Symbol(const std::string& name) {
  const auto [it, inserted] = symbols_.try_emplace(name, template_->symbols.size());
  if (inserted) template_->symbols.push_back(name);
  return static_cast<int>(it->second);
}

absl::Status ExpressionParser::CheckNesting() const {
  if (nesting_ <= kMaxNesting) return absl::OkStatus();
  return TemplateError(now().position, "nested too deeply (more than 200 levels)");
}

bool ExpressionParser::AtTupleEnd() const {
  return now().kind == TokenKind::kOutputEnd || now().kind == TokenKind::kBlockEnd ||
         IsOperator(")") || IsName("recursive");
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTuple(bool with_conditional,
                                                           bool in_parentheses) {
  const Position position = now().position;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (!AtTupleEnd()) {
    ASSIGN_OR_RETURN(ExpressionPtr item, with_conditional ? ParseExpression() : ParseOr());
    items.push_back(std::move(item));
    if (!SkipOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && items.size() == 1) return std::move(items[0]);
  if (items.empty() && !in_parentheses) return Unexpected("an expression");
  ExpressionPtr tuple = Make(Kind::kTuple, position);
  tuple->operands = std::move(items);
  return tuple;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseExpression() {
  const Nesting nesting(this);
  RETURN_IF_ERROR(CheckNesting());
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseOr());
  for (int length = 0; IsName("if");) {
    RETURN_IF_ERROR(CountChain(&length));
    ExpressionPtr e = Make(Kind::kConditional, Next().position);
    ASSIGN_OR_RETURN(e->base, ParseOr());
    e->operands.push_back(std::move(left));
    e->operands.push_back(nullptr);
    if (SkipName("else")) {
      ASSIGN_OR_RETURN(e->operands[1], ParseExpression());
    }
    left = std::move(e);
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseOr() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseAnd());
  for (int length = 0; IsName("or");) {
    RETURN_IF_ERROR(CountChain(&length));
    ExpressionPtr e = Make(Kind::kOr, Next().position);
    e->base = std::move(left);
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseAnd());
    e->operands.push_back(std::move(right));
    left = std::move(e);
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAnd() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseNot());
  for (int length = 0; IsName("and");) {
    RETURN_IF_ERROR(CountChain(&length));
    ExpressionPtr e = Make(Kind::kAnd, Next().position);
    e->base = std::move(left);
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseNot());
    e->operands.push_back(std::move(right));
    left = std::move(e);
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNot() {
  const Nesting nesting(this);
  RETURN_IF_ERROR(CheckNesting());
  if (!IsName("not")) return ParseCompare();
  ExpressionPtr e = Make(Kind::kNot, Next().position);
  ASSIGN_OR_RETURN(e->base, ParseNot());
  return e;
}

bool ExpressionParser::SkipComparison(Operator* op) {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"==", Operator::kEqual},     {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
      {"<=", Operator::kLessEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterEqual}};
  for (const auto& [text, value] : kOperators) {
    if (SkipOperator(text)) {
      *op = value;
      return true;
    }
  }
  if (SkipName("in")) {
    *op = Operator::kIn;
    return true;
  }
  const Token& after = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
  if (IsName("not") && after.kind == TokenKind::kName && after.text == "in") {
    at_ += 2;
    *op = Operator::kNotIn;
    return true;
  }
  return false;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCompare() {
  const Position position = now().position;
  ASSIGN_OR_RETURN(ExpressionPtr first, ParseSum());
  Operator op;
  if (!SkipComparison(&op)) return first;
  ExpressionPtr e = Make(Kind::kCompare, position);
  e->base = std::move(first);
  do {
    ASSIGN_OR_RETURN(ExpressionPtr next, ParseSum());
    e->comparisons.push_back(op);
    e->operands.push_back(std::move(next));
  } while (SkipComparison(&op));
  return e;
}

ExpressionPtr ExpressionParser::MakeBinary(Operator op, Position position, ExpressionPtr left,
                                           ExpressionPtr right) {
  ExpressionPtr e = Make(Kind::kBinary, position);
  e->op = op;
  e->base = std::move(left);
  e->operands.push_back(std::move(right));
  return e;
}

absl::Status ExpressionParser::CountChain(int* length) const {
  if (++*length <= kMaxChain) return absl::OkStatus();
  return TemplateError(now().position, "expression of more than 500 parts");
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSum() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseConcat());
  for (int length = 0; IsOperator("+") || IsOperator("-");) {
    RETURN_IF_ERROR(CountChain(&length));
    const Token& token = Next();
    const Operator op = token.text == "+" ? Operator::kAdd : Operator::kSubtract;
    const Position position = token.position;
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseConcat());
    left = MakeBinary(op, position, std::move(left), std::move(right));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConcat() {
  const Position position = now().position;
  ASSIGN_OR_RETURN(ExpressionPtr first, ParseProduct());
  if (!IsOperator("~")) return first;
  ExpressionPtr e = Make(Kind::kConcat, position);
  e->operands.push_back(std::move(first));
  while (SkipOperator("~")) {
    ASSIGN_OR_RETURN(ExpressionPtr next, ParseProduct());
    e->operands.push_back(std::move(next));
  }
  return e;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseProduct() {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"*", Operator::kMultiply},
      {"/", Operator::kDivide},
      {"//", Operator::kFloorDivide},
      {"%", Operator::kModulo}};
  ASSIGN_OR_RETURN(ExpressionPtr left, ParsePower());
  for (int length = 0;;) {
    bool found = false;
    for (const auto& [text, op] : kOperators) {
      if (!IsOperator(text)) continue;
      RETURN_IF_ERROR(CountChain(&length));
      const Position position = Next().position;
      ASSIGN_OR_RETURN(ExpressionPtr right, ParsePower());
      left = MakeBinary(op, position, std::move(left), std::move(right));
      found = true;
      break;
    }
    if (!found) return left;
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePower() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseUnary(/*with_filter=*/true));
  for (int length = 0; IsOperator("**");) {
    RETURN_IF_ERROR(CountChain(&length));
    const Position position = Next().position;
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseUnary(/*with_filter=*/true));
    left = MakeBinary(Operator::kPower, position, std::move(left), std::move(right));
  }
  return left;
}

}  // namespace trainerd::engine::jinja
