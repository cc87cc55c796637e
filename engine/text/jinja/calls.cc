// SPDX-License-Identifier: Apache-2.0
// The part of Interpreter (interpreter.h) that makes calls: macros, call blocks, recursive loops,
// builtins, methods, filters and tests.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/text/jinja/interpreter.h"
#include "proto/base/format.h"

namespace trainerd::engine::jinja {
namespace {

absl::string_view View(std::string_view s) { return absl::string_view(s.data(), s.size()); }

}  // namespace

std::shared_ptr<FunctionObject> Interpreter::MakeFunction(FunctionObject::Kind kind,
                                                          const Statement& s) {
  auto function = std::make_shared<FunctionObject>();
  function->kind = kind;
  function->name = s.text;
  function->statement = &s;
  if (kind == FunctionObject::Kind::kMacro && in_top_scope_) {
    function->top_end = SIZE_MAX;  // the whole outermost scope at the time of the call
  } else {
    function->outer_begin = frame_.base;
    function->outer_end = variables_.size();
    function->top_end = frame_.top_end;
  }
  return function;
}

Interpreter::Flow Interpreter::ExecuteCall(const Statement& s) {
  Value callee, result;
  Arguments arguments;
  if (!Evaluate(*s.expression->base, &callee) || !EvaluateArguments(*s.expression, &arguments)) {
    return Flow::kFailed;
  }
  if (!callee.is(Type::kFunction) || callee.function().kind != FunctionObject::Kind::kMacro) {
    Fail("only a macro can be used in {% call %}");
    return Flow::kFailed;
  }
  const Value caller = Value::Function(MakeFunction(FunctionObject::Kind::kCaller, s));
  if (!CallBody(callee.function(), arguments, &caller, &result)) return Flow::kFailed;
  Emit(result);
  return Flow::kNext;
}

bool Interpreter::Call(const Value& function, const Arguments& arguments, Value* out) {
  if (function.is(Type::kUndefined)) return Fail(function.str());
  if (function.is(Type::kLoop)) {  // loop(children) of a recursive loop
    LoopObject& loop = function.loop();
    std::vector<Value> items;
    if (!loop.statement->recursive || arguments.positional.size() != 1) {
      return Fail("the loop must be 'recursive' to be called, with one argument");
    }
    if (depth_ >= limits_.max_depth) return Fail("calls are nested too deeply");
    if (!Iterate(arguments.positional[0], &items)) return false;
    TaggedText text;
    TaggedText* outer = out_;
    out_ = &text;
    ++depth_;
    const bool ok = LoopOver(*loop.statement, std::move(items), loop.depth + 1);
    --depth_;
    out_ = outer;
    *out = Value::String(std::move(text));
    return ok;
  }
  if (!function.is(Type::kFunction)) {
    return Fail(absl::StrCat("'", View(TypeName(function)), "' object is not callable"));
  }
  const FunctionObject& f = function.function();
  switch (f.kind) {
    case FunctionObject::Kind::kBuiltin:
      return CallFunction(*this, f.name, arguments, out);
    case FunctionObject::Kind::kMethod:
      return CallMethod(*this, f.self, f.name, arguments, out);
    case FunctionObject::Kind::kMacro:
    case FunctionObject::Kind::kCaller:
      return CallBody(f, arguments, nullptr, out);
  }
  return false;
}

bool Interpreter::CallBody(const FunctionObject& function, const Arguments& arguments,
                           const Value* caller, Value* out) {
  if (depth_ >= limits_.max_depth) return Fail("calls are nested too deeply");
  const Frame outer = frame_;
  const bool was_top = in_top_scope_;
  const size_t base = variables_.size();
  const size_t top_end = function.top_end == SIZE_MAX ? TopEnd() : function.top_end;
  if (was_top) top_end_ = base;
  in_top_scope_ = false;
  // As in Jinja, parameters are bound and defaults are evaluated in the new frame.
  frame_ = {base, function.outer_begin, function.outer_end, top_end, base};
  ++depth_;
  bool ok = BindParameters(function, arguments);
  if (ok && caller != nullptr && caller_symbol_ >= 0) Store(caller_symbol_, *caller);
  TaggedText text;
  if (ok) ok = Capture(function.statement->body, &text) != Flow::kFailed;
  --depth_;
  variables_.resize(base);
  frame_ = outer;
  in_top_scope_ = was_top;
  *out = Value::String(std::move(text));
  return ok;
}

bool Interpreter::BindParameters(const FunctionObject& function, const Arguments& arguments) {
  const Statement& s = *function.statement;
  const size_t count = s.parameters.size();
  if (arguments.positional.size() > count) {
    return Fail(absl::StrCat("macro '", function.name, "' takes at most ",
                             Counted(static_cast<int64_t>(count), "argument")));
  }
  size_t used_names = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = template_.symbols[static_cast<size_t>(s.parameters[i])];
    const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& a) { return a.first == name; });
    Value value;
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else if (named != arguments.named.end()) {
      value = named->second;
      ++used_names;
    } else if (i + s.defaults.size() >= count) {
      if (!Evaluate(*s.defaults[i + s.defaults.size() - count], &value)) return false;
    } else {
      value = Value::Undefined(absl::StrCat("parameter '", name, "' was not provided"));
    }
    variables_.push_back({s.parameters[i], std::move(value)});
  }
  if (used_names == arguments.named.size()) return true;
  return Fail(absl::StrCat("macro '", function.name, "' got an unexpected argument '",
                           arguments.named.back().first, "'"));
}

bool Interpreter::ApplyFilter(std::string_view name, const Value& self, const Arguments& arguments,
                              Value* out) {
  bool known = false;
  const bool ok = CallFilter(*this, name, self, arguments, &known, out);
  return known ? ok : Fail(absl::StrCat("no filter named '", View(name), "'"));
}

bool Interpreter::ApplyTest(std::string_view name, const Value& self, const Arguments& arguments,
                            bool* out) {
  bool known = false;
  const bool ok = CallTest(*this, name, self, arguments, &known, out);
  return known ? ok : Fail(absl::StrCat("no test named '", View(name), "'"));
}

}  // namespace trainerd::engine::jinja
