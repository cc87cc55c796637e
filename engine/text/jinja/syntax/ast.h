// SPDX-License-Identifier: Apache-2.0
// A parsed template. Names are stored as numbers (Template::symbols), so that the interpreter
// compares integers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/syntax/lexer.h"
#include "engine/text/jinja/value/value.h"

namespace trainerd::engine::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using StatementPtr = std::unique_ptr<Statement>;
using Body = std::vector<StatementPtr>;

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expression {
  enum class Kind : uint8_t {
    kConstant,   // value
    kName,       // symbol
    kList,       // operands
    kTuple,      // operands
    kDict,       // operands: key, value, key, value …
    kAttribute,  // base . text
    kItem,       // base [ operands[0] ]
    kSlice,      // base [ operands[0] : operands[1] : operands[2] ], null = omitted
    kCall,       // base ( operands, named )
    kFilter,     // base | text ( operands, named ); base is null for a block's filter
    kTest,       // base is text ( operands )
    kNegate,     // - base
    kPlus,       // + base
    kNot,
    kBinary,  // base op operands[0]
    kConcat,  // operands joined by ~
    kAnd,     // base, operands[0]
    kOr,
    kCompare,      // base, then comparisons[i] operands[i] …
    kConditional,  // operands[0] if base else operands[1] (may be null)
  };
  Kind kind = Kind::kConstant;
  Operator op = Operator::kAdd;
  int symbol = -1;
  Position position;
  std::string text;
  Value value;
  ExpressionPtr base;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<Operator> comparisons;
};

// The target of an assignment: a name, a field of a namespace, or several of these.
struct Target {
  int symbol = -1;
  std::string attribute;  // not empty: the field `attribute` of the namespace `symbol`
  std::vector<Target> parts;
  Position position;
};

struct Statement {
  enum class Kind : uint8_t {
    kText,         // text
    kOutput,       // expression
    kIf,           // expression, body, otherwise
    kFor,          // target in expression [if condition]: body; else: otherwise
    kSet,          // target = expression
    kSetBlock,     // target = body [| expression]
    kMacro,        // symbol(parameters): body
    kCall,         // {% call(parameters) expression %} body
    kFilterBlock,  // body | expression
    kWith,         // targets[i] = values[i]: body
    kGeneration,   // body
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  bool recursive = false;
  int symbol = -1;
  Position position;
  std::string text;
  Target target;
  ExpressionPtr expression, condition;
  Body body, otherwise;
  std::vector<int> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
};

struct Template {
  Body body;
  std::vector<std::string> symbols;
  bool has_generation = false;
};

}  // namespace trainerd::engine::jinja
