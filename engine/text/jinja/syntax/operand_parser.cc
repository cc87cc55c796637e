// SPDX-License-Identifier: Apache-2.0
// The part of ExpressionParser (expression_parser.h) that reads operands: literals and names, what
// may follow them (attributes, subscripts, calls, filters, tests), and arguments.
#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "engine/text/jinja/syntax/expression_parser.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine::jinja {

ExpressionPtr ExpressionParser::MakeConstant(Value value, Position position) {
  ExpressionPtr e = Make(Kind::kConstant, position);
  e->value = std::move(value);
  return e;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseUnary(bool with_filter) {
  const Nesting nesting(this);
  RETURN_IF_ERROR(CheckNesting());
  ExpressionPtr e;
  if (IsOperator("-") || IsOperator("+")) {
    const Token& token = Next();
    e = Make(token.text == "-" ? Kind::kNegate : Kind::kPlus, token.position);
    ASSIGN_OR_RETURN(e->base, ParseUnary(/*with_filter=*/false));
  } else {
    ASSIGN_OR_RETURN(e, ParsePrimary());
  }
  ASSIGN_OR_RETURN(e, ParsePostfix(std::move(e)));
  if (!with_filter) return e;
  return ParseFilters(std::move(e));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePrimary() {
  const Token& token = now();
  const Position position = token.position;
  switch (token.kind) {
    case TokenKind::kName: {
      const std::string& name = Next().text;
      if (name == "true" || name == "True") return MakeConstant(Value::Bool(true), position);
      if (name == "false" || name == "False") return MakeConstant(Value::Bool(false), position);
      if (name == "none" || name == "None") return MakeConstant(Value(), position);
      ExpressionPtr e = Make(Kind::kName, position);
      e->symbol = Symbol(name);
      return e;
    }
    case TokenKind::kString: {
      std::string text = Next().text;
      while (now().kind == TokenKind::kString) text += Next().text;
      return MakeConstant(Value::String(std::move(text)), position);
    }
    case TokenKind::kInteger: {
      int64_t value = 0;
      const std::string& digits = Next().text;
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 10);
      if (result.ec != std::errc()) return TemplateError(position, "number is too large");
      return MakeConstant(Value::Int(value), position);
    }
    case TokenKind::kFloat:
      return MakeConstant(Value::Float(std::strtod(Next().text.c_str(), nullptr)), position);
    default:
      break;
  }
  if (SkipOperator("(")) {
    const Nesting nesting(this);
    RETURN_IF_ERROR(CheckNesting());
    ASSIGN_OR_RETURN(ExpressionPtr e,
                     ParseTuple(/*with_conditional=*/true, /*in_parentheses=*/true));
    RETURN_IF_ERROR(ExpectOperator(")"));
    return e;
  }
  if (IsOperator("[")) return ParseList();
  if (IsOperator("{")) return ParseDict();
  return Unexpected("an expression");
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseList() {
  ExpressionPtr e = Make(Kind::kList, Next().position);
  while (!IsOperator("]")) {
    if (!e->operands.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator("]")) break;
    }
    ASSIGN_OR_RETURN(ExpressionPtr item, ParseExpression());
    e->operands.push_back(std::move(item));
  }
  Next();
  return e;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseDict() {
  ExpressionPtr e = Make(Kind::kDict, Next().position);
  while (!IsOperator("}")) {
    if (!e->operands.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator("}")) break;
    }
    ASSIGN_OR_RETURN(ExpressionPtr key, ParseExpression());
    RETURN_IF_ERROR(ExpectOperator(":"));
    ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
    e->operands.push_back(std::move(key));
    e->operands.push_back(std::move(value));
  }
  Next();
  return e;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePostfix(ExpressionPtr e) {
  for (int length = 0;;) {
    RETURN_IF_ERROR(CountChain(&length));
    if (IsOperator(".")) {
      const Position position = Next().position;
      ExpressionPtr attribute = Make(Kind::kAttribute, position);
      if (now().kind == TokenKind::kInteger) {
        ASSIGN_OR_RETURN(ExpressionPtr index, ParsePrimary());
        attribute->kind = Kind::kItem;
        attribute->operands.push_back(std::move(index));
      } else {
        ASSIGN_OR_RETURN(attribute->text, ExpectName());
      }
      attribute->base = std::move(e);
      e = std::move(attribute);
    } else if (IsOperator("[")) {
      ASSIGN_OR_RETURN(e, ParseSubscript(std::move(e)));
    } else if (IsOperator("(")) {
      ASSIGN_OR_RETURN(e, ParseCall(std::move(e)));
    } else {
      return e;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCall(ExpressionPtr base) {
  ExpressionPtr call = Make(Kind::kCall, now().position);
  call->base = std::move(base);
  RETURN_IF_ERROR(ParseArguments(call.get()));
  return call;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSubscript(ExpressionPtr base) {
  ExpressionPtr e = Make(Kind::kItem, Next().position);
  e->base = std::move(base);
  e->operands.resize(3);
  size_t part = 0;
  while (true) {
    if (!IsOperator(":") && !IsOperator("]")) {
      ASSIGN_OR_RETURN(e->operands[part], ParseExpression());
    }
    if (!IsOperator(":") || part == 2) break;
    Next();
    e->kind = Kind::kSlice;
    ++part;
  }
  if (e->kind == Kind::kItem) {
    if (e->operands[0] == nullptr) return Unexpected("a subscript");
    if (SkipOperator(",")) {
      ExpressionPtr tuple = Make(Kind::kTuple, e->position);
      tuple->operands.push_back(std::move(e->operands[0]));
      while (!IsOperator("]")) {
        ASSIGN_OR_RETURN(ExpressionPtr item, ParseExpression());
        tuple->operands.push_back(std::move(item));
        if (!SkipOperator(",")) break;
      }
      e->operands[0] = std::move(tuple);
    }
  }
  RETURN_IF_ERROR(ExpectOperator("]"));
  return e;
}

absl::Status ExpressionParser::ParseArguments(Expression* call) {
  RETURN_IF_ERROR(ExpectOperator("("));
  bool first = true;
  while (!IsOperator(")")) {
    if (!first) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator(")")) break;
    }
    first = false;
    if (IsOperator("*") || IsOperator("**")) {
      return TemplateError(now().position, "* and ** arguments are not supported");
    }
    const Token& after = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
    if (now().kind == TokenKind::kName && after.kind == TokenKind::kOperator && after.text == "=") {
      std::string name = Next().text;
      Next();
      ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
      call->named.emplace_back(std::move(name), std::move(value));
      continue;
    }
    if (!call->named.empty()) {
      return TemplateError(now().position, "positional argument after a named one");
    }
    ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
    call->operands.push_back(std::move(value));
  }
  Next();
  return absl::OkStatus();
}

absl::StatusOr<std::string> ExpressionParser::ParseDottedName() {
  ASSIGN_OR_RETURN(std::string name, ExpectName());
  while (SkipOperator(".")) {
    ASSIGN_OR_RETURN(const std::string part, ExpectName());
    name += '.';
    name += part;
  }
  return name;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseOneFilter(ExpressionPtr base) {
  ExpressionPtr e = Make(Kind::kFilter, now().position);
  e->base = std::move(base);
  ASSIGN_OR_RETURN(e->text, ParseDottedName());
  if (IsOperator("(")) RETURN_IF_ERROR(ParseArguments(e.get()));
  return e;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilters(ExpressionPtr e) {
  for (int length = 0;;) {
    RETURN_IF_ERROR(CountChain(&length));
    if (SkipOperator("|")) {
      ASSIGN_OR_RETURN(e, ParseOneFilter(std::move(e)));
    } else if (IsName("is") && e != nullptr) {
      ASSIGN_OR_RETURN(e, ParseTest(std::move(e)));
    } else if (IsOperator("(") && e != nullptr) {
      ASSIGN_OR_RETURN(e, ParseCall(std::move(e)));
    } else {
      return e;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr base) {
  ExpressionPtr e = Make(Kind::kTest, Next().position);
  e->base = std::move(base);
  const bool negated = SkipName("not");
  ASSIGN_OR_RETURN(e->text, ParseDottedName());
  if (IsOperator("(")) {
    RETURN_IF_ERROR(ParseArguments(e.get()));
  } else if (now().kind == TokenKind::kString || now().kind == TokenKind::kInteger ||
             now().kind == TokenKind::kFloat || IsOperator("[") || IsOperator("{") ||
             (now().kind == TokenKind::kName && !IsName("else") && !IsName("or") &&
              !IsName("and") && !IsName("if") && !IsName("recursive") && !IsName("in") &&
              !IsName("not") && !IsName("is"))) {
    ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
    ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    e->operands.push_back(std::move(argument));
  }
  if (!negated) return e;
  ExpressionPtr not_e = Make(Kind::kNot, e->position);
  not_e->base = std::move(e);
  return not_e;
}

}  // namespace trainerd::engine::jinja
