// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/arguments.h"

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"

namespace trainerd::engine::jinja {

bool Bound::Bind(Interpreter& in, std::string_view function, std::string_view parameters,
                 const Arguments& arguments) {
  const std::string name(function);
  size_t count = 0, used = 0;
  while (!parameters.empty()) {
    const size_t comma = std::min(parameters.find(','), parameters.size());
    std::string_view parameter = parameters.substr(0, comma);
    parameters.remove_prefix(std::min(comma + 1, parameters.size()));
    const bool required = parameter[0] == '!';
    if (required) parameter.remove_prefix(1);
    if (count < arguments.positional.size()) {
      values_[count] = &arguments.positional[count];
    }
    for (const auto& [key, value] : arguments.named) {
      if (key != parameter) continue;
      if (values_[count] != nullptr) {
        return in.Fail(absl::StrCat(name, "() got two values for '", key, "'"));
      }
      values_[count] = &value;
      ++used;
    }
    if (required && values_[count] == nullptr) {
      return in.Fail(absl::StrCat(name, "() needs an argument '", std::string(parameter), "'"));
    }
    ++count;
  }
  if (arguments.positional.size() > count) {
    return in.Fail(absl::StrCat(name, "() takes at most ",
                                Counted(static_cast<int64_t>(count), "argument"), " but got ",
                                arguments.positional.size()));
  }
  if (used != arguments.named.size()) {
    return in.Fail(
        absl::StrCat(name, "() got an unexpected argument '", arguments.named.back().first, "'"));
  }
  return true;
}

bool Bound::IntegerOr(Interpreter& in, size_t i, int64_t otherwise, int64_t* out) const {
  *out = otherwise;
  if (values_[i] == nullptr) return true;
  if (!values_[i]->is_integer()) return in.Fail("expected an integer argument");
  *out = values_[i]->integer();
  return true;
}

bool Bound::StringOr(Interpreter& in, size_t i, std::string_view otherwise,
                     std::string_view* out) const {
  *out = otherwise;
  if (values_[i] == nullptr) return true;
  if (!in.ExpectString(*values_[i], "argument")) return false;
  *out = values_[i]->str();
  return true;
}

}  // namespace trainerd::engine::jinja
