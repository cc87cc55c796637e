// SPDX-License-Identifier: Apache-2.0
#include "client/foreign_commands.h"

#include "absl/strings/str_split.h"
#include "proto/contract/config/advice/nearest_word.h"

namespace trainerd::client {
namespace {

struct Row {
  // Words of other tools, separated by spaces.
  std::string_view words;
  std::string_view command;
};

constexpr Row kTable[] = {
    {"list jobs ps queue squeue qstat overview history", "trainctl ls"},
    {"status describe show info inspect detail details job state sacct", "trainctl get JOB"},
    {"top monitor follow attach progress dashboard tui", "trainctl watch JOB"},
    {"tail log output stdout cat", "trainctl logs JOB -f"},
    {"run start train create launch add apply enqueue sbatch qsub finetune fine-tune sft new exec",
     "trainctl submit JOB.yaml"},
    {"cancel kill abort terminate end halt interrupt quit scancel qdel",
     "trainctl stop JOB (--discard drops its work, --force kills it)"},
    {"delete remove del erase purge clean prune destroy", "trainctl rm JOB"},
    {"hold suspend freeze sleep", "trainctl pause JOB"},
    {"edit modify patch alter set reprioritize scontrol", "trainctl update JOB KEY=VALUE"},
    {"why reason", "trainctl explain JOB"},
    {"continue unpause unfreeze release restart retry rerun resubmit recover",
     "trainctl resume JOB for a paused job, trainctl submit --from JOB for one that has ended"},
    {"check verify lint test dry-run dryrun diagnose doctor", "trainctl validate JOB.yaml"},
    {"render tokenize sample samples data examples dataset", "trainctl preview JOB.yaml"},
    {"snapshots ckpt models artifacts", "trainctl checkpoints ls JOB"},
    {"keys reference docs options schema params", "trainctl config reference"},
    {"download fetch", "trainctl checkpoints pull JOB"},
    {"export merge convert quantize gguf",
     "trainerd-worker export --model FOLDER, which is a program of its own"},
    {"import", "trainerd-inspect import --gguf FILE, which is a program of its own"},
    {"dump config-show", "trainctl get JOB -o yaml"},
    {"about ping server daemon devices gpus nodes", "trainctl version"},
    {"serve up daemonize server-start", "trainerd, the daemon, which is a program of its own"},
    {"help", "trainctl --help"},
};

}  // namespace

std::string CommandFor(std::string_view word) {
  const std::string folded = FoldedWord(word);
  for (const Row& row : kTable) {
    for (const absl::string_view known :
         absl::StrSplit(absl::string_view(row.words.data(), row.words.size()), ' ')) {
      if (FoldedWord(std::string_view(known.data(), known.size())) == folded)
        return std::string(row.command);
    }
  }
  return "";
}

}  // namespace trainerd::client
