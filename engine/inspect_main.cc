// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect: the engine's text and data parts as a program, without LibTorch. Untrusted data
// files are parsed here, in a process of its own, never in the daemon. Exit codes: 0 done, 1
// failed, 2 usage, configuration or data that cannot be used.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "CLI/CLI.hpp"
#include "engine/cli/inspect/commands.h"
#include "engine/data/store/token_cache.h"

namespace {

using trainerd::engine::ImportOptions;
using trainerd::engine::PreviewOptions;
using trainerd::engine::TokenizeOptions;
using trainerd::engine::ValidateOptions;

int ExitCode(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "trainerd-inspect: %s\n", std::string(status.message()).c_str());
  const bool usage = absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
                     absl::IsUnimplemented(status) || absl::IsPermissionDenied(status) ||
                     absl::IsFailedPrecondition(status) || absl::IsAlreadyExists(status);
  return usage ? 2 : 1;
}

// What was printed must have arrived: a full disk is not success.
int Finish(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::perror("trainerd-inspect: writing the output");
  return code == 0 ? 1 : code;
}

int Validate(const ValidateOptions& options) {
  const absl::StatusOr<bool> clean = trainerd::engine::RunValidate(options, stdout);
  if (!clean.ok()) return ExitCode(clean.status());
  return *clean ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Looks at training data and tokenizers without training: validate, preview, tokenize; and "
      "converts GGUF files: import");
  app.require_subcommand(1);

  const char* home = std::getenv("HOME");
  const std::string cache = trainerd::engine::TokenCacheFolder(std::getenv("TRAINERD_CACHE"),
                                                               std::getenv("XDG_CACHE_HOME"), home);
  const char* temporary = std::getenv("TMPDIR");
  const std::string scratch = temporary == nullptr ? "/tmp" : temporary;
  // A file that may not grow is an error of the write, which has another place to go.
  std::signal(SIGXFSZ, SIG_IGN);

  const std::string home_dir = home == nullptr ? "" : home;
  ValidateOptions validate{.cache_folder = cache, .scratch_folder = scratch, .home_dir = home_dir};
  CLI::App* validate_command = app.add_subcommand(
      "validate", "Print the data report of a job as JSON; exit 2 if it holds errors");
  validate_command->add_option("--job", validate.job_file, "Job file (YAML)")->required();
  validate_command->add_flag("--quick", validate.quick,
                             "Only the beginnings and ends of the files, without the tokenizer");
  validate_command->add_option(
      "--runs-dir", validate.runs_dir,
      "Folder of the run directories: check that the job fits on its disk");

  PreviewOptions preview{.cache_folder = cache, .scratch_folder = scratch, .home_dir = home_dir};
  bool preview_json = false;
  CLI::App* preview_command = app.add_subcommand(
      "preview", "Print token ids and labels of a job's examples, one JSON document a line");
  preview_command->add_option("--job", preview.job_file, "Job file (YAML)")->required();
  preview_command->add_option("--limit", preview.limit, "Examples (or packed rows) to print")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  preview_command->add_flag(
      "--json", preview_json,
      "JSON on a terminal too, instead of text with the trained part in green");
  preview_command->add_flag("--packed", preview.packed,
                            "Packed rows in the training order of the first epoch");

  TokenizeOptions tokenize;
  CLI::App* tokenize_command =
      app.add_subcommand("tokenize", "Lines {\"id\",\"text\"} to {\"id\",\"ids\"}, or back");
  tokenize_command
      ->add_option("--tokenizer", tokenize.tokenizer_folder, "Model or tokenizer folder")
      ->required();
  tokenize_command->add_option("--input", tokenize.input_file, "JSONL file")->required();
  tokenize_command->add_flag("--decode", tokenize.decode, "Ids to text");

  ImportOptions import;
  CLI::App* import_command =
      app.add_subcommand("import", "Write a GGUF file as a Hugging Face folder");
  import_command->add_option("--gguf", import.gguf_file, "GGUF file of llama.cpp, in one part")
      ->required();
  import_command->add_option("--output", import.output, "Folder to create")->required();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (validate_command->parsed()) return Finish(Validate(validate));
  if (preview_command->parsed()) {
    preview.json = preview_json || preview.packed || isatty(STDOUT_FILENO) == 0;
    return Finish(ExitCode(trainerd::engine::RunPreview(preview, stdout)));
  }
  if (import_command->parsed())
    return Finish(ExitCode(trainerd::engine::RunImport(import, stdout)));
  return Finish(ExitCode(trainerd::engine::RunTokenize(tokenize, stdout)));
}
