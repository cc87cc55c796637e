// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/interpreter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"

namespace trainerd::engine::jinja {
namespace {

absl::string_view View(std::string_view s) { return absl::string_view(s.data(), s.size()); }

// Far above real templates, and within an 8 MiB stack also under AddressSanitizer.
constexpr int kMaxLevels = 1000;

// The message that a loop variable is or belongs to; -1 = none.
int32_t MessageOf(const Value& v) {
  if (v.is(Type::kString)) return v.text().TagAt(0).message;
  if (!v.is(Type::kTuple)) return v.tag().message;
  for (const Value& item : v.items()) {
    if (const int32_t message = MessageOf(item); message >= 0) return message;
  }
  return -1;
}

}  // namespace

Interpreter::Interpreter(const Template& source, std::string now, const Limits& limits)
    : template_(source),
      now_(std::move(now)),
      limits_(limits),
      globals_(source.symbols.size()),
      has_global_(source.symbols.size(), false) {
  for (size_t i = 0; i < source.symbols.size(); ++i) {
    const std::string& name = source.symbols[i];
    if (name == "loop") loop_symbol_ = static_cast<int>(i);
    if (name == "caller") caller_symbol_ = static_cast<int>(i);
    if (!IsBuiltinFunction(name)) continue;
    auto function = std::make_shared<FunctionObject>();
    function->name = name;
    globals_[i] = Value::Function(std::move(function));
    has_global_[i] = true;
  }
}

Interpreter::~Interpreter() {
  // Namespaces may refer to each other or to themselves.
  for (const auto& ns : namespaces_) ns->fields.clear();
}

std::shared_ptr<NamespaceObject> Interpreter::NewNamespace() {
  namespaces_.push_back(std::make_shared<NamespaceObject>());
  return namespaces_.back();
}

void Interpreter::SetVariable(std::string_view name, Value value) {
  const auto& symbols = template_.symbols;
  const auto it = std::find(symbols.begin(), symbols.end(), name);
  if (it == symbols.end()) return;
  const auto i = static_cast<size_t>(it - symbols.begin());
  globals_[i] = std::move(value);
  has_global_[i] = true;
}

absl::Status Interpreter::Run(TaggedText* out) {
  out_ = out;
  Execute(template_.body);
  return status_;
}

bool Interpreter::Fail(std::string_view what) {
  if (status_.ok()) status_ = TemplateError(position_, what);
  return false;
}

bool Interpreter::CheckTextSize(size_t bytes) {
  if (bytes <= limits_.max_output_bytes) return true;
  return Fail(absl::StrCat("text of more than ", limits_.max_output_bytes, " bytes"));
}

bool Interpreter::Step(Position position) {
  position_ = position;
  if (++steps_ > limits_.max_steps)
    return Fail(absl::StrCat("more than ", limits_.max_steps, " steps"));
  if (levels_ <= kMaxLevels) return true;
  return Fail(absl::StrCat("expressions, blocks and calls are nested too deeply (more than ",
                           kMaxLevels, " levels)"));
}

bool Interpreter::ExpectString(const Value& v, std::string_view what) {
  if (v.is(Type::kString)) return true;
  if (v.is(Type::kUndefined)) return Fail(v.str());
  return Fail(absl::StrCat(View(what), " must be a string, not ", View(TypeName(v))));
}

const Value* Interpreter::Find(int symbol) const {
  for (size_t i = variables_.size(); i > frame_.base; --i) {
    if (variables_[i - 1].symbol == symbol) return &variables_[i - 1].value;
  }
  for (size_t i = frame_.outer_end; i > frame_.outer_begin; --i) {
    if (variables_[i - 1].symbol == symbol) return &variables_[i - 1].value;
  }
  for (size_t i = frame_.top_end; i > 0; --i) {
    if (variables_[i - 1].symbol == symbol) return &variables_[i - 1].value;
  }
  const auto index = static_cast<size_t>(symbol);
  return has_global_[index] ? &globals_[index] : nullptr;
}

void Interpreter::Store(int symbol, Value value) {
  for (size_t i = variables_.size(); i > frame_.scope; --i) {
    if (variables_[i - 1].symbol == symbol) {
      variables_[i - 1].value = std::move(value);
      return;
    }
  }
  variables_.push_back({symbol, std::move(value)});
}

void Interpreter::Emit(const Value& value) {
  const TaggedText* text = nullptr;
  TaggedText printed;
  if (value.is(Type::kString)) {
    text = &value.text();
  } else {
    AppendStr(value, &printed);
    text = &printed;
  }
  text->ForEachRun([&](size_t begin, size_t end, Tag tag) {
    if (tag.message < 0) tag.Claim(message_);
    tag.generation |= generation_;
    out_->Append(std::string_view(text->text()).substr(begin, end - begin), tag);
  });
}

Interpreter::Flow Interpreter::Execute(const Body& body) {
  for (const StatementPtr& s : body) {
    const Flow flow = Execute(*s);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::Execute(const Statement& s) {
  const Level level(this);
  if (!Step(s.position)) return Flow::kFailed;
  switch (s.kind) {
    case Statement::Kind::kText:
      out_->Append(s.text, {message_, false, generation_});
      break;
    case Statement::Kind::kOutput: {
      Value value;
      if (!Evaluate(*s.expression, &value)) return Flow::kFailed;
      Emit(value);
      break;
    }
    case Statement::Kind::kIf: {
      Value condition;
      if (!Evaluate(*s.expression, &condition)) return Flow::kFailed;
      return Execute(IsTrue(condition) ? s.body : s.otherwise);
    }
    case Statement::Kind::kFor:
      return ExecuteFor(s);
    case Statement::Kind::kSet:
      return ExecuteSet(s);
    case Statement::Kind::kSetBlock:
    case Statement::Kind::kFilterBlock:
      return ExecuteCapture(s);
    case Statement::Kind::kMacro:
      Store(s.symbol, Value::Function(MakeFunction(FunctionObject::Kind::kMacro, s)));
      break;
    case Statement::Kind::kCall:
      return ExecuteCall(s);
    case Statement::Kind::kWith:
      return ExecuteWith(s);
    case Statement::Kind::kGeneration:
      return ExecuteGeneration(s);
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  return CheckTextSize(out_->size()) ? Flow::kNext : Flow::kFailed;
}

Interpreter::Flow Interpreter::ExecuteGeneration(const Statement& s) {
  const bool outer = generation_;
  generation_ = true;
  const Flow flow = Execute(s.body);
  generation_ = outer;
  return flow;
}

Interpreter::Flow Interpreter::ExecuteFor(const Statement& s) {
  Value iterable;
  if (!Evaluate(*s.expression, &iterable)) return Flow::kFailed;
  std::vector<Value> items;
  if (!Iterate(iterable, &items)) return Flow::kFailed;
  return LoopOver(s, std::move(items), 0) ? Flow::kNext : Flow::kFailed;
}

bool Interpreter::LoopOver(const Statement& s, std::vector<Value> items, int depth) {
  const size_t base = variables_.size();
  const size_t outer_scope = frame_.scope;
  const int32_t outer_message = message_;
  const bool was_top = in_top_scope_;
  if (was_top) top_end_ = base;
  in_top_scope_ = false;
  frame_.scope = base;
  if (s.condition != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      Value condition;
      variables_.resize(base);
      if (!Assign(s.target, item) || !Evaluate(*s.condition, &condition)) return false;
      if (IsTrue(condition)) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  bool ok = true;
  Flow flow = Flow::kNext;
  auto loop = std::make_shared<LoopObject>();
  loop->items = std::move(items);
  loop->depth = depth;
  loop->statement = &s;
  const size_t count = loop->items.size();
  for (size_t i = 0; i < count && ok && flow != Flow::kBreak; ++i) {
    variables_.resize(base);
    loop->index = i;
    const int32_t message = MessageOf(loop->items[i]);
    message_ = message >= 0 ? message : outer_message;
    ok = Assign(s.target, loop->items[i]);
    if (loop_symbol_ >= 0) Store(loop_symbol_, Value::Loop(loop));
    if (ok) flow = Execute(s.body);
    ok = ok && flow != Flow::kFailed;
  }
  // May refer to the loop itself.
  loop->last_changed.clear();
  variables_.resize(base);
  message_ = outer_message;
  if (ok && count == 0) ok = Execute(s.otherwise) != Flow::kFailed;
  variables_.resize(base);
  frame_.scope = outer_scope;
  in_top_scope_ = was_top;
  return ok;
}

Interpreter::Flow Interpreter::ExecuteSet(const Statement& s) {
  Value value;
  if (!Evaluate(*s.expression, &value)) return Flow::kFailed;
  return Assign(s.target, value) ? Flow::kNext : Flow::kFailed;
}

bool Interpreter::Assign(const Target& target, const Value& value) {
  if (!target.parts.empty()) {
    std::vector<Value> items;
    if (!Iterate(value, &items)) return false;
    if (items.size() != target.parts.size()) {
      return Fail(absl::StrCat("cannot unpack ",
                               Counted(static_cast<int64_t>(items.size()), "value"), " into ",
                               Counted(static_cast<int64_t>(target.parts.size()), "name")));
    }
    for (size_t i = 0; i < items.size(); ++i) {
      if (!Assign(target.parts[i], items[i])) return false;
    }
    return true;
  }
  if (value.depth() > kMaxValueDepth) return Fail("value is nested too deeply");
  Value stored = value;
  // Text that the template itself writes while it handles a message keeps that message's tag.
  if (message_ >= 0 && value.is(Type::kString)) {
    const auto& runs = value.text().runs();
    const bool unclaimed = std::any_of(runs.begin(), runs.end(),
                                       [](const TagRun& run) { return run.tag.message < 0; });
    if (unclaimed) {
      TaggedText text = value.text();
      text.Claim(message_, /*generation=*/false);
      stored = Value::String(std::move(text));
    }
  }
  if (target.attribute.empty()) {
    Store(target.symbol, std::move(stored));
    return true;
  }
  const Value* ns = Find(target.symbol);
  if (ns == nullptr || !ns->is(Type::kNamespace)) {
    position_ = target.position;
    return Fail("cannot assign attribute on non-namespace object");
  }
  if (target.attribute[0] == '_') return Fail("cannot assign to an underscore attribute");
  for (auto& [name, field] : ns->name_space().fields) {
    if (name == target.attribute) {
      field = std::move(stored);
      return true;
    }
  }
  ns->name_space().fields.emplace_back(target.attribute, std::move(stored));
  return true;
}

Interpreter::Flow Interpreter::Capture(const Body& body, TaggedText* out) {
  TaggedText* outer = out_;
  out_ = out;
  const Flow flow = Execute(body);
  out_ = outer;
  return flow;
}

Interpreter::Flow Interpreter::ExecuteCapture(const Statement& s) {
  TaggedText text;
  // The body has a scope of its own.
  const size_t base = variables_.size();
  const size_t outer_scope = frame_.scope;
  const bool was_top = in_top_scope_;
  if (was_top) top_end_ = base;
  in_top_scope_ = false;
  frame_.scope = base;
  const Flow flow = Capture(s.body, &text);
  variables_.resize(base);
  frame_.scope = outer_scope;
  in_top_scope_ = was_top;
  if (flow != Flow::kNext) return flow;
  Value value = Value::String(std::move(text));
  if (s.expression != nullptr) {
    Value filtered;
    if (!EvaluateFilter(*s.expression, &value, &filtered)) return Flow::kFailed;
    value = std::move(filtered);
  }
  if (s.kind == Statement::Kind::kFilterBlock) {
    Emit(value);
    return Flow::kNext;
  }
  return Assign(s.target, value) ? Flow::kNext : Flow::kFailed;
}

Interpreter::Flow Interpreter::ExecuteWith(const Statement& s) {
  const size_t base = variables_.size();
  const size_t outer_scope = frame_.scope;
  const bool was_top = in_top_scope_;
  std::vector<Value> values(s.assignments.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!Evaluate(*s.assignments[i].second, &values[i])) return Flow::kFailed;
  }
  if (was_top) top_end_ = base;
  in_top_scope_ = false;
  frame_.scope = base;
  Flow flow = Flow::kNext;
  for (size_t i = 0; i < values.size() && flow == Flow::kNext; ++i) {
    if (!Assign(s.assignments[i].first, values[i])) flow = Flow::kFailed;
  }
  if (flow == Flow::kNext) flow = Execute(s.body);
  variables_.resize(base);
  frame_.scope = outer_scope;
  in_top_scope_ = was_top;
  return flow;
}

}  // namespace trainerd::engine::jinja
