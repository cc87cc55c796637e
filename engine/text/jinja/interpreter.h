// SPDX-License-Identifier: Apache-2.0
// Runs a parsed template. A template can access only the values that it is given: no files, no
// imports, no attributes of the host. Steps, depth and text sizes are bounded. Provenance: text
// that carries no message's tag gets the tag of the message that the innermost loop over messages
// has reached.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/text/jinja/syntax/ast.h"
#include "engine/text/jinja/value/value.h"

namespace trainerd::engine::jinja {

struct Limits {
  int64_t max_steps = 20'000'000;  // expressions and statements evaluated
  int max_depth = 100;             // calls within calls
  size_t max_output_bytes = kMaxTextBytes;
};

// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// One run of a template. Functions return false after Fail(). Use an object once, from one thread.
class Interpreter {
 public:
  // `now` is the time that strftime_now formats, "YYYY-MM-DD HH:MM:SS"; empty: strftime_now fails.
  Interpreter(const Template& source, std::string now, const Limits& limits = {});
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void SetVariable(std::string_view name, Value value);

  // Errors: InvalidArgument with the template's line and column.
  absl::Status Run(TaggedText* out);

  // For filters, tests, methods and functions.
  bool Fail(std::string_view what);
  bool ApplyFilter(std::string_view name, const Value& self, const Arguments& arguments,
                   Value* out);
  bool ApplyTest(std::string_view name, const Value& self, const Arguments& arguments, bool* out);
  // base.name: a method if there is one, else an item.
  bool GetAttribute(const Value& base, std::string_view name, Value* out);
  bool GetItem(const Value& base, const Value& key, Value* out);
  // The values that a loop over `v` visits.
  bool Iterate(const Value& v, std::vector<Value>* items);
  // The text of `v` if it is a string.
  bool ExpectString(const Value& v, std::string_view what);
  bool CheckTextSize(size_t bytes);
  // tojson quotes text of which a part is JSON text already.
  void NoteQuotedJson() { quoted_json_ = true; }
  bool quoted_json() const { return quoted_json_; }
  const std::string& now() const { return now_; }
  std::shared_ptr<NamespaceObject> NewNamespace();

 private:
  enum class Flow { kNext, kBreak, kContinue, kFailed };
  struct Variable {
    int symbol;
    Value value;
  };
  // The visible variables: [base, end), then [outer_begin, outer_end), then [0, top_end).
  struct Frame {
    size_t base = 0, outer_begin = 0, outer_end = 0, top_end = 0;
    // Begin of the innermost scope.
    size_t scope = 0;
  };

  // Evaluate and Execute hold one each, which bounds the recursion over nested calls and over the
  // nested expressions and statements in each of them.
  struct Level {
    explicit Level(Interpreter* in) : interpreter(in) { ++interpreter->levels_; }
    ~Level() { --interpreter->levels_; }
    Interpreter* const interpreter;
  };

  // Counts a step; false after Fail() if there were too many, or too many levels are open.
  bool Step(Position position);
  Flow Execute(const Body& body);
  Flow Execute(const Statement& s);
  Flow ExecuteFor(const Statement& s);
  bool LoopOver(const Statement& s, std::vector<Value> items, int depth);
  Flow ExecuteSet(const Statement& s);
  Flow ExecuteWith(const Statement& s);
  Flow ExecuteCapture(const Statement& s);
  Flow ExecuteCall(const Statement& s);
  Flow ExecuteGeneration(const Statement& s);
  bool Assign(const Target& target, const Value& value);
  void Emit(const Value& value);
  // Runs `body` with *out as its output.
  Flow Capture(const Body& body, TaggedText* out);

  bool Evaluate(const Expression& e, Value* out);
  // not, and, or, and a conditional expression.
  bool EvaluateLogic(const Expression& e, Value* out);
  bool EvaluateName(const Expression& e, Value* out);
  bool EvaluateMany(const std::vector<ExpressionPtr>& operands, std::vector<Value>* out);
  bool EvaluateDict(const Expression& e, Value* out);
  bool EvaluateItem(const Expression& e, Value* out);
  bool EvaluateSlice(const Expression& e, Value* out);
  bool EvaluateArguments(const Expression& e, Arguments* out);
  bool EvaluateCall(const Expression& e, Value* out);
  bool EvaluateFilter(const Expression& e, const Value* base, Value* out);
  bool EvaluateTest(const Expression& e, Value* out);
  bool EvaluateCompare(const Expression& e, Value* out);
  bool EvaluateConcat(const Expression& e, Value* out);
  bool EvaluateNegate(const Expression& e, Value* out);

  bool Call(const Value& function, const Arguments& arguments, Value* out);
  bool CallBody(const FunctionObject& function, const Arguments& arguments, const Value* caller,
                Value* out);
  bool BindParameters(const FunctionObject& function, const Arguments& arguments);

  const Value* Find(int symbol) const;
  void Store(int symbol, Value value);
  size_t TopEnd() const { return in_top_scope_ ? variables_.size() : top_end_; }
  std::shared_ptr<FunctionObject> MakeFunction(FunctionObject::Kind kind, const Statement& s);

  const Template& template_;
  const std::string now_;
  const Limits limits_;
  std::vector<Value> globals_;  // by symbol
  std::vector<bool> has_global_;
  std::vector<Variable> variables_;
  Frame frame_;
  bool in_top_scope_ = true;
  size_t top_end_ = 0;  // end of the outermost scope's variables while an inner one is open
  std::vector<std::shared_ptr<NamespaceObject>> namespaces_;
  TaggedText* out_ = nullptr;
  // The message that the innermost loop over messages has reached; -1 = none.
  int32_t message_ = -1;
  bool generation_ = false;
  bool quoted_json_ = false;
  int64_t steps_ = 0;
  int depth_ = 0;
  int levels_ = 0;
  Position position_;
  int loop_symbol_ = -1, caller_symbol_ = -1;
  absl::Status status_;
};

// Operators (operators.cc). They return false after in.Fail().
bool ApplyBinary(Interpreter& in, Operator op, const Value& left, const Value& right, Value* out);
bool Compare(Interpreter& in, Operator op, const Value& left, const Value& right, bool* out);
// Python's left < right, for sorting. Returns false after in.Fail().
bool Less(Interpreter& in, const Value& left, const Value& right, bool* out);
bool SliceValue(Interpreter& in, const Value& base, const Value& start, const Value& stop,
                const Value& step, Value* out);
// The code point at index `at` of a string. Returns false if `at` is out of range.
bool CharacterAt(const TaggedText& text, int64_t at, Value* out);
int64_t CountCodePoints(std::string_view text);

// Filters (filters.cc), tests (tests.cc), methods (methods.cc), functions (functions.cc).
// *known is set to whether the name exists.
bool CallFilter(Interpreter& in, std::string_view name, const Value& self,
                const Arguments& arguments, bool* known, Value* out);
bool IsKnownFilter(std::string_view name);
bool CallTest(Interpreter& in, std::string_view name, const Value& self, const Arguments& arguments,
              bool* known, bool* out);
bool HasMethod(const Value& self, std::string_view name);
bool CallMethod(Interpreter& in, const Value& self, std::string_view name,
                const Arguments& arguments, Value* out);
bool IsBuiltinFunction(std::string_view name);
bool CallFunction(Interpreter& in, std::string_view name, const Arguments& arguments, Value* out);

// Python's json.dumps(value, ensure_ascii, indent, separators, sort_keys), with tags
// (json_output.cc). `indent` < 0: on one line.
struct JsonStyle {
  bool ensure_ascii = false;
  int indent = -1;
  std::string indent_text;  // used instead of `indent` spaces when not empty
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};
bool AppendJson(Interpreter& in, const Value& v, const JsonStyle& style, TaggedText* out);

}  // namespace trainerd::engine::jinja
