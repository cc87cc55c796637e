// SPDX-License-Identifier: Apache-2.0
// The part of the parser (parser.h) that reads tokens and expressions; parser.cc adds statements.
// Grammar: Jinja 3.1, jinja2/parser.py.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/text/jinja/syntax/ast.h"

namespace trainerd::engine::jinja {

class ExpressionParser {
 protected:
  using Kind = Expression::Kind;

  explicit ExpressionParser(std::vector<Token> tokens)
      : template_(std::make_unique<Template>()), tokens_(std::move(tokens)) {}

  // Counts nesting levels, which bounds the recursion of parser and interpreter. Each function that
  // recurses holds one and calls CheckNesting.
  struct Nesting {
    explicit Nesting(ExpressionParser* p) : parser(p) { ++parser->nesting_; }
    ~Nesting() { --parser->nesting_; }
    ExpressionParser* parser;
  };
  absl::Status CheckNesting() const;

  // Tokens.
  const Token& now() const { return tokens_[at_]; }
  const Token& Next() { return tokens_[now().kind == TokenKind::kEnd ? at_ : at_++]; }
  bool IsOperator(std::string_view op) const {
    return now().kind == TokenKind::kOperator && now().text == op;
  }
  bool IsName(std::string_view name) const {
    return now().kind == TokenKind::kName && now().text == name;
  }
  bool SkipOperator(std::string_view op) {
    if (!IsOperator(op)) return false;
    Next();
    return true;
  }
  bool SkipName(std::string_view name) {
    if (!IsName(name)) return false;
    Next();
    return true;
  }
  // The error for the current token where the grammar allows only `expected`.
  absl::Status Unexpected(std::string_view expected) const;
  absl::Status ExpectOperator(std::string_view op);
  absl::Status ExpectBlockEnd();
  absl::StatusOr<std::string> ExpectName();
  // The symbol of a name.
  int Symbol(const std::string& name);

  // An expression, or several separated by commas: a tuple.
  absl::StatusOr<ExpressionPtr> ParseTuple(bool with_conditional, bool in_parentheses = false);
  absl::StatusOr<ExpressionPtr> ParseExpression();
  absl::Status ParseArguments(Expression* call);
  absl::StatusOr<ExpressionPtr> ParseOneFilter(ExpressionPtr base);
  // The filters, tests and calls that follow `e`.
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr e);

  std::unique_ptr<Template> template_;

 private:
  static std::string Describe(const Token& token);
  ExpressionPtr Make(Kind kind, Position position) {
    auto e = std::make_unique<Expression>();
    e->kind = kind;
    e->position = position;
    return e;
  }
  ExpressionPtr MakeConstant(Value value, Position position);
  bool AtTupleEnd() const;
  absl::StatusOr<ExpressionPtr> ParseOr();
  absl::StatusOr<ExpressionPtr> ParseAnd();
  absl::StatusOr<ExpressionPtr> ParseNot();
  // Consumes a comparison operator if one follows.
  bool SkipComparison(Operator* op);
  absl::StatusOr<ExpressionPtr> ParseCompare();
  ExpressionPtr MakeBinary(Operator op, Position position, ExpressionPtr left, ExpressionPtr right);
  // Each left-associative operator adds one level to the tree.
  absl::Status CountChain(int* length) const;
  absl::StatusOr<ExpressionPtr> ParseSum();
  absl::StatusOr<ExpressionPtr> ParseConcat();
  absl::StatusOr<ExpressionPtr> ParseProduct();
  absl::StatusOr<ExpressionPtr> ParsePower();
  absl::StatusOr<ExpressionPtr> ParseUnary(bool with_filter);
  absl::StatusOr<ExpressionPtr> ParsePrimary();
  absl::StatusOr<ExpressionPtr> ParseList();
  absl::StatusOr<ExpressionPtr> ParseDict();
  // The attributes, subscripts and calls that follow `e`.
  absl::StatusOr<ExpressionPtr> ParsePostfix(ExpressionPtr e);
  absl::StatusOr<ExpressionPtr> ParseCall(ExpressionPtr base);
  absl::StatusOr<ExpressionPtr> ParseSubscript(ExpressionPtr base);
  absl::StatusOr<std::string> ParseDottedName();
  absl::StatusOr<ExpressionPtr> ParseTest(ExpressionPtr base);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  absl::flat_hash_map<std::string, size_t> symbols_;
  int nesting_ = 0;
};

}  // namespace trainerd::engine::jinja
