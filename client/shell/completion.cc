// SPDX-License-Identifier: Apache-2.0
#include "client/shell/completion.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "proto/contract/config/config_violation.h"

namespace trainerd::client {
namespace {

bool Contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

const CommandFlag* FindFlag(const std::vector<const CommandTree*>& path, const std::string& name) {
  for (auto level = path.rbegin(); level != path.rend(); ++level) {
    for (const CommandFlag& flag : (*level)->flags) {
      if (Contains(flag.names, name)) return &flag;
    }
  }
  return nullptr;
}

// What the placeholder of a value stands for.
void AddValues(const std::string& name, Completion* out) {
  if (name == "JOB" || name == "CHECKPOINT" || name == "NAME") out->jobs = true;
  if (name == "JOB.yaml" || name == "FILE" || name == "DIR") out->files = true;
}

// Where the words lead: the commands, and the value or argument that comes next.
struct Position {
  std::vector<const CommandTree*> path;
  const CommandFlag* value_of = nullptr;
  size_t arguments = 0;
};

Position Follow(const CommandTree& tree, const std::vector<std::string>& words) {
  Position at{.path = {&tree}};
  for (const std::string& word : words) {
    if (at.value_of != nullptr) {
      at.value_of = nullptr;
      continue;
    }
    if (word.size() > 1 && word[0] == '-') {
      const CommandFlag* flag = FindFlag(at.path, word);
      if (flag != nullptr && !flag->value.empty()) at.value_of = flag;
      continue;
    }
    const std::vector<CommandTree>& commands = at.path.back()->commands;
    const auto found = std::find_if(commands.begin(), commands.end(),
                                    [&](const CommandTree& c) { return c.name == word; });
    if (found != commands.end() && at.arguments == 0) {
      at.path.push_back(&*found);
    } else {
      ++at.arguments;
    }
  }
  return at;
}

void AddFlags(const Position& at, Completion* out) {
  for (auto level = at.path.rbegin(); level != at.path.rend(); ++level) {
    for (const CommandFlag& flag : (*level)->flags) {
      for (const std::string& name : flag.names) {
        const auto there = [&](const auto& word) { return word.first == name; };
        if (absl::StartsWith(name, "--") &&
            std::none_of(out->words.begin(), out->words.end(), there))
          out->words.emplace_back(name, flag.help);
      }
    }
  }
}

void AddArgument(const Position& at, Completion* out) {
  const CommandTree& command = *at.path.back();
  if (at.arguments == 0) {
    for (const CommandTree& next : command.commands) out->words.emplace_back(next.name, next.help);
  }
  const auto& arguments = command.arguments;
  if (arguments.empty()) return;
  if (at.arguments < arguments.size()) return AddValues(arguments[at.arguments].name, out);
  if (arguments.back().repeated) AddValues(arguments.back().name, out);
}

// bash splits words at "=", and gives the sign as a word of its own.
std::vector<std::string> JoinEquals(const std::vector<std::string>& words) {
  std::vector<std::string> joined;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "=" && !joined.empty() && absl::StartsWith(joined.back(), "--")) {
      // The value that is being completed is still empty.
      if (i + 1 == words.size()) joined.emplace_back();
      continue;
    }
    const size_t equals = absl::StartsWith(word, "--") ? word.find('=') : std::string::npos;
    joined.push_back(word.substr(0, equals));
    if (equals != std::string::npos) joined.push_back(word.substr(equals + 1));
  }
  return joined;
}

// In single quotes for a shell.
std::string Quote(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

constexpr char kBash[] = R"(# bash completion of trainctl: source <(trainctl completion bash)
_trainctl() {
  local line cur=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 && $cur != -* ]]; then
    COMPREPLY=($(compgen -W '@COMMANDS@' -- "$cur"))
    return
  fi
  [[ $cur == = ]] && cur=
  while IFS= read -r line; do
    case $line in
      :files) compopt -o default ;;
      "$cur"*) COMPREPLY+=("${line%%$'\t'*}") ;;
    esac
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _trainctl trainctl
)";

constexpr char kZsh[] = R"(#compdef trainctl
# zsh completion of trainctl: source <(trainctl completion zsh), after compinit
_trainctl() {
  local line
  local -a values
  if (( CURRENT == 2 )) && [[ ${words[2]} != -* ]]; then
    values=(
@COMMANDS@
    )
    _describe command values
    return
  fi
  values=()
  # The part after "=" of --flag=value is completed.
  local -a given=("${(@Q)words[2,CURRENT-1]}" "$PREFIX")
  [[ $PREFIX == --*=* ]] && compset -P '*='
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      _files
    elif [[ $line == *$'\t' ]]; then
      values+=("${${line%$'\t'}//:/\\:}")
    else
      values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done < <("${words[1]}" __complete "${(@)given}" 2>/dev/null)
  (( ${#values} )) && _describe value values
}
# In a folder of fpath the file itself is the function that completes.
if [[ ${funcstack[1]} == _trainctl ]]; then
  _trainctl "$@"
else
  compdef _trainctl trainctl
fi
)";

constexpr char kFish[] = R"(# fish completion of trainctl: trainctl completion fish | source
function __trainctl_complete
    set -l current (commandline -ct)
    set -l words (commandline -opc) (string replace -r '^["\']' '' -- $current)
    # fish replaces the whole word, also of --flag=value.
    set -l flag (string match -r -- '^--[^=]+=' $current)
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            for path in (__fish_complete_path (string replace -- "$flag" '' $current))
                printf '%s\n' "$flag$path"
            end
        else
            printf '%s\n' "$flag$line"
        end
    end
end
function __trainctl_is_first_word
    __fish_use_subcommand; and not string match -q -- '-*' (commandline -ct)
end
complete -c trainctl -f
complete -c trainctl -n 'not __trainctl_is_first_word' -a '(__trainctl_complete)'
)";

}  // namespace

Completion Complete(const CommandTree& tree, std::vector<std::string> words) {
  Completion all;
  words = JoinEquals(words);
  const std::string current = words.empty() ? "" : words.back();
  if (!words.empty()) words.pop_back();
  const Position at = Follow(tree, words);
  if (at.value_of != nullptr) {
    for (const std::string& choice : at.value_of->choices) all.words.emplace_back(choice, "");
    AddValues(at.value_of->value, &all);
    all.files |= absl::EndsWith(at.value_of->names.back(), "-file");
  } else if (absl::StartsWith(current, "-")) {
    AddFlags(at, &all);
  } else {
    AddArgument(at, &all);
  }
  const auto other = [&](const auto& word) { return !absl::StartsWith(word.first, current); };
  all.words.erase(std::remove_if(all.words.begin(), all.words.end(), other), all.words.end());
  return all;
}

std::string ValueOf(const std::string& flag, const std::vector<std::string>& words) {
  const std::vector<std::string> joined = JoinEquals(words);
  for (size_t i = 0; i + 2 < joined.size(); ++i) {
    if (joined[i] == flag) return joined[i + 1];
  }
  return "";
}

absl::StatusOr<std::string> CompletionScript(const CommandTree& tree, const std::string& shell) {
  const auto commands = [&](const std::string& separator, auto text) {
    return absl::StrJoin(tree.commands, separator, [&](std::string* out, const CommandTree& c) {
      absl::StrAppend(out, text(c));
    });
  };
  if (shell == "bash") {
    return absl::StrReplaceAll(
        kBash, {{"@COMMANDS@", commands(" ", [](const CommandTree& c) { return c.name; })}});
  }
  if (shell == "zsh") {
    return absl::StrReplaceAll(kZsh, {{"@COMMANDS@", commands("\n", [](const CommandTree& c) {
                                         return absl::StrCat(
                                             "      ", Quote(absl::StrCat(c.name, ":", c.help)));
                                       })}});
  }
  if (shell == "fish") {
    return absl::StrCat(kFish, commands("", [](const CommandTree& c) {
                          return absl::StrCat(
                              "complete -c trainctl -n __trainctl_is_first_word -a ", c.name,
                              " -d ", Quote(c.help), "\n");
                        }));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(shell), " is not a shell that trainctl knows; use bash, zsh or fish"));
}

}  // namespace trainerd::client
