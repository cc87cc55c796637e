// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/syntax/parser.h"

#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "engine/text/jinja/syntax/expression_parser.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine::jinja {
namespace {

using EndTags = std::initializer_list<std::string_view>;

class StatementParser : ExpressionParser {
 public:
  explicit StatementParser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {}

  absl::StatusOr<std::unique_ptr<Template>> Run() {
    RETURN_IF_ERROR(ParseBody({}, &template_->body));
    return std::move(template_);
  }

 private:
  // Parses statements up to one of the tags `ends`, whose name becomes the current token.
  absl::Status ParseBody(EndTags ends, Body* body) {
    const Nesting nesting(this);
    RETURN_IF_ERROR(CheckNesting());
    while (true) {
      const Token& token = now();
      switch (token.kind) {
        case TokenKind::kEnd:
          if (ends.size() == 0) return absl::OkStatus();
          return Unexpected(absl::StrCat("{% ", std::string(*(ends.end() - 1)), " %}"));
        case TokenKind::kData: {
          auto s = MakeStatement(Statement::Kind::kText);
          s->text = Next().text;
          body->push_back(std::move(s));
          break;
        }
        case TokenKind::kOutputBegin: {
          auto s = MakeStatement(Statement::Kind::kOutput);
          Next();
          ASSIGN_OR_RETURN(s->expression, ParseTuple(/*with_conditional=*/true));
          if (now().kind != TokenKind::kOutputEnd) return Unexpected("end of output");
          Next();
          body->push_back(std::move(s));
          break;
        }
        default: {  // kBlockBegin: the lexer emits nothing else outside of tags
          Next();
          for (const std::string_view end : ends) {
            if (IsName(end)) return absl::OkStatus();
          }
          ASSIGN_OR_RETURN(StatementPtr s, ParseTag());
          body->push_back(std::move(s));
        }
      }
    }
  }

  // Parses a body that only the tag `end` can end.
  absl::Status ParseBlock(std::string_view end, Body* body) {
    RETURN_IF_ERROR(ExpectBlockEnd());
    RETURN_IF_ERROR(ParseBody({end}, body));
    Next();
    return ExpectBlockEnd();
  }

  StatementPtr MakeStatement(Statement::Kind kind) {
    auto s = std::make_unique<Statement>();
    s->kind = kind;
    s->position = now().position;
    return s;
  }

  absl::StatusOr<StatementPtr> ParseTag() {
    if (now().kind != TokenKind::kName) return Unexpected("the name of a tag");
    const std::string name = now().text;
    if (name == "if") return ParseIf();
    if (name == "for") return ParseFor();
    if (name == "set") return ParseSet();
    if (name == "macro") return ParseMacro();
    if (name == "call") return ParseCall();
    if (name == "filter") return ParseFilterBlock();
    if (name == "with") return ParseWith();
    if (name == "generation") {
      auto s = MakeStatement(Statement::Kind::kGeneration);
      template_->has_generation = true;
      Next();
      RETURN_IF_ERROR(ParseBlock("endgeneration", &s->body));
      return s;
    }
    if (name == "break" || name == "continue") {
      auto s =
          MakeStatement(name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue);
      if (loops_ == 0) return TemplateError(now().position, name + " outside of a loop");
      Next();
      RETURN_IF_ERROR(ExpectBlockEnd());
      return s;
    }
    return TemplateError(now().position, absl::StrCat("tag '", name, "' is not supported"));
  }

  absl::StatusOr<StatementPtr> ParseIf() {
    const Nesting nesting(this);  // elif recurses
    RETURN_IF_ERROR(CheckNesting());
    auto s = MakeStatement(Statement::Kind::kIf);
    Next();
    ASSIGN_OR_RETURN(s->expression, ParseTuple(/*with_conditional=*/false));
    RETURN_IF_ERROR(ExpectBlockEnd());
    RETURN_IF_ERROR(ParseBody({"elif", "else", "endif"}, &s->body));
    if (IsName("elif")) {
      ASSIGN_OR_RETURN(StatementPtr otherwise, ParseIf());
      s->otherwise.push_back(std::move(otherwise));
      return s;  // the innermost elif consumed the endif
    }
    if (SkipName("else")) {
      RETURN_IF_ERROR(ParseBlock("endif", &s->otherwise));
      return s;
    }
    Next();
    RETURN_IF_ERROR(ExpectBlockEnd());
    return s;
  }

  absl::StatusOr<StatementPtr> ParseFor() {
    auto s = MakeStatement(Statement::Kind::kFor);
    Next();
    ASSIGN_OR_RETURN(s->target, ParseTarget(/*with_attribute=*/false));
    if (!SkipName("in")) return Unexpected("'in'");
    ASSIGN_OR_RETURN(s->expression, ParseTuple(/*with_conditional=*/false));
    if (SkipName("if")) {
      ASSIGN_OR_RETURN(s->condition, ParseExpression());
    }
    s->recursive = SkipName("recursive");
    RETURN_IF_ERROR(ExpectBlockEnd());
    ++loops_;
    const absl::Status status = ParseBody({"else", "endfor"}, &s->body);
    --loops_;
    RETURN_IF_ERROR(status);
    if (SkipName("else")) {
      RETURN_IF_ERROR(ParseBlock("endfor", &s->otherwise));
      return s;
    }
    Next();
    RETURN_IF_ERROR(ExpectBlockEnd());
    return s;
  }

  absl::StatusOr<StatementPtr> ParseSet() {
    auto s = MakeStatement(Statement::Kind::kSet);
    Next();
    ASSIGN_OR_RETURN(s->target, ParseTarget(/*with_attribute=*/true));
    if (SkipOperator("=")) {
      ASSIGN_OR_RETURN(s->expression, ParseTuple(/*with_conditional=*/true));
      RETURN_IF_ERROR(ExpectBlockEnd());
      return s;
    }
    s->kind = Statement::Kind::kSetBlock;
    if (IsOperator("|")) {
      ASSIGN_OR_RETURN(s->expression, ParseFilters(nullptr));
    }
    RETURN_IF_ERROR(ParseBlock("endset", &s->body));
    return s;
  }

  absl::Status ParseParameters(Statement* s) {
    RETURN_IF_ERROR(ExpectOperator("("));
    while (!IsOperator(")")) {
      if (!s->parameters.empty()) {
        RETURN_IF_ERROR(ExpectOperator(","));
        if (IsOperator(")")) break;
      }
      ASSIGN_OR_RETURN(const std::string name, ExpectName());
      s->parameters.push_back(Symbol(name));
      if (SkipOperator("=")) {
        ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
        s->defaults.push_back(std::move(value));
      } else if (!s->defaults.empty()) {
        return TemplateError(now().position, "parameter without default after one with default");
      }
    }
    Next();
    return absl::OkStatus();
  }

  // Parses a body in which break and continue cannot refer to the loops around it.
  absl::Status ParseDetachedBlock(std::string_view end, Body* body) {
    const int loops = loops_;
    loops_ = 0;
    const absl::Status status = ParseBlock(end, body);
    loops_ = loops;
    return status;
  }

  absl::StatusOr<StatementPtr> ParseMacro() {
    auto s = MakeStatement(Statement::Kind::kMacro);
    Next();
    ASSIGN_OR_RETURN(s->text, ExpectName());
    s->symbol = Symbol(s->text);
    RETURN_IF_ERROR(ParseParameters(s.get()));
    RETURN_IF_ERROR(ParseDetachedBlock("endmacro", &s->body));
    return s;
  }

  absl::StatusOr<StatementPtr> ParseCall() {
    auto s = MakeStatement(Statement::Kind::kCall);
    s->text = "caller";
    Next();
    if (IsOperator("(")) RETURN_IF_ERROR(ParseParameters(s.get()));
    ASSIGN_OR_RETURN(s->expression, ParseExpression());
    if (s->expression->kind != Kind::kCall) {
      return TemplateError(s->position, "expected a call in {% call %}");
    }
    RETURN_IF_ERROR(ParseDetachedBlock("endcall", &s->body));
    return s;
  }

  absl::StatusOr<StatementPtr> ParseFilterBlock() {
    auto s = MakeStatement(Statement::Kind::kFilterBlock);
    Next();
    ASSIGN_OR_RETURN(ExpressionPtr first, ParseOneFilter(nullptr));
    ASSIGN_OR_RETURN(s->expression, ParseFilters(std::move(first)));
    RETURN_IF_ERROR(ParseBlock("endfilter", &s->body));
    return s;
  }

  absl::StatusOr<StatementPtr> ParseWith() {
    auto s = MakeStatement(Statement::Kind::kWith);
    Next();
    while (now().kind != TokenKind::kBlockEnd) {
      if (!s->assignments.empty()) RETURN_IF_ERROR(ExpectOperator(","));
      ASSIGN_OR_RETURN(Target target, ParseTarget(/*with_attribute=*/false));
      RETURN_IF_ERROR(ExpectOperator("="));
      ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
      s->assignments.emplace_back(std::move(target), std::move(value));
    }
    RETURN_IF_ERROR(ParseBlock("endwith", &s->body));
    return s;
  }

  absl::StatusOr<Target> ParseOneTarget(bool with_attribute) {
    const Nesting nesting(this);
    RETURN_IF_ERROR(CheckNesting());
    Target target;
    target.position = now().position;
    if (SkipOperator("(")) {
      ASSIGN_OR_RETURN(target, ParseTarget(with_attribute));
      RETURN_IF_ERROR(ExpectOperator(")"));
      return target;
    }
    ASSIGN_OR_RETURN(const std::string name, ExpectName());
    for (const char* reserved : {"true", "false", "none", "True", "False", "None"}) {
      if (name == reserved) {
        return TemplateError(target.position, absl::StrCat("cannot assign to '", name, "'"));
      }
    }
    target.symbol = Symbol(name);
    if (with_attribute && SkipOperator(".")) {
      ASSIGN_OR_RETURN(target.attribute, ExpectName());
    }
    return target;
  }

  absl::StatusOr<Target> ParseTarget(bool with_attribute) {
    ASSIGN_OR_RETURN(Target first, ParseOneTarget(with_attribute));
    if (!IsOperator(",")) return first;
    Target all;
    all.position = first.position;
    all.parts.push_back(std::move(first));
    while (SkipOperator(",")) {
      if (now().kind != TokenKind::kName && !IsOperator("(")) break;
      if (IsName("in")) break;
      ASSIGN_OR_RETURN(Target next, ParseOneTarget(with_attribute));
      all.parts.push_back(std::move(next));
    }
    return all;
  }

  int loops_ = 0;  // number of for statements around the current tag
};

}  // namespace

absl::StatusOr<std::unique_ptr<Template>> Parse(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return StatementParser(std::move(tokens)).Run();
}

}  // namespace trainerd::engine::jinja
