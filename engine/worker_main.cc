// SPDX-License-Identifier: Apache-2.0
// trainerd-worker: one job from configuration to weights, under a shim (`attempt`) or by hand
// (`train`), and small tools around model folders. The commands are in engine/cli; the stages of a
// job in engine/run_job.h.
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/cli/attempt_command.h"
#include "engine/cli/devices_command.h"
#include "engine/cli/export_command.h"
#include "engine/cli/init_model_command.h"
#include "engine/cli/sample_command.h"
#include "engine/cli/train_command.h"
#include "engine/core/engine_version.h"
#include "engine/data/store/token_cache.h"
#include "engine/platform/cpu_allocator.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace trainerd::engine {
namespace {

constexpr int kExitUsage = 2;

struct Options {
  AttemptOptions attempt;
  TrainOptions train;
  SampleOptions sample;
  InitModelOptions init_model;
  ExportOptions export_model;
};

void AddAttempt(CLI::App& app, AttemptOptions& options) {
  CLI::App* command =
      app.add_subcommand("attempt", "Run one attempt of a job; started by trainerd-shim");
  command->add_option("--attempt-dir", options.attempt_dir, "Folder that holds spec.pb")
      ->required();
  command->add_option("--control-fd", options.control_fd, "Socket of the shim")->required();
}

void AddTrain(CLI::App& app, TrainOptions& options) {
  CLI::App* command = app.add_subcommand(
      "train",
      "Run a job in the foreground; Ctrl-C stops it with a checkpoint, run again it continues");
  command->add_option("--job", options.job_path, "Job file (YAML)")->required();
  command
      ->add_option("--run-dir", options.run_dir,
                   "Folder of the run: checkpoints, and the final model in final/")
      ->required();
  command->add_option("--events", options.events_path,
                      "Append events as JSON lines to this file (- = stdout)");
  command
      ->add_option("--set", options.sets,
                   "Set a value of the job file: train.max_steps=20 (may be repeated)")
      ->allow_extra_args(false);
}

void AddSample(CLI::App& app, SampleOptions& options) {
  CLI::App* command = app.add_subcommand("sample", "Print a model's greedy answer");
  command
      ->add_option("--model", options.model_folder,
                   "Hugging Face folder, or PEFT folder with an adapter of a model on this machine")
      ->required();
  command->add_option("--prompt", options.prompt, "What the user says")->required();
  command->add_option("--system", options.system, "System message");
  command->add_option("--max-tokens", options.max_tokens, "Longest answer in tokens")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_flag("--raw", options.raw,
                    "Continue the prompt as plain text, without the chat template");
}

void AddInitModel(CLI::App& app, InitModelOptions& options) {
  CLI::App* command = app.add_subcommand("init-model", "Write a model folder with random weights");
  command->add_option("--config", options.config_path, "config.json of the architecture")
      ->required();
  command->add_option("--output", options.output, "Folder to create")->required();
  command->add_option("--seed", options.seed, "Seed of the weights")->required();
  command->add_option("--dtype", options.dtype, "Of the stored weights: fp32 | bf16")
      ->capture_default_str();
  command->add_option("--tokenizer", options.tokenizer,
                      "Folder whose tokenizer files are copied (default: that of --config)");
}

void AddExport(CLI::App& app, ExportOptions& options) {
  CLI::App* command =
      app.add_subcommand("export", "Write a trained model in the form that another program reads");
  command->add_option("--model", options.model_folder, "final/ folder or checkpoint of a job")
      ->required();
  command
      ->add_option("--form", options.form,
                   "hf: whole model | merged: adapter added to its model, also after QLoRA to the "
                   "full-precision one | adapter: PEFT folder | gguf: file for llama.cpp, with the "
                   "adapter added as in merged")
      ->required();
  command
      ->add_option("--output", options.output,
                   "Folder to create, or with gguf the file; must not exist")
      ->required();
  command->add_option("--type", options.type,
                      "Of the matrices, with gguf: f32 | bf16 | q8_0 (default: bf16)");
}

int Parse(CLI::App& app, int argc, char** argv, bool* parsed) {
  *parsed = false;
  CLI11_PARSE(app, argc, argv);
  *parsed = true;
  return 0;
}

int Main(int argc, char** argv) {
  KeepHeap();
  InstallCpuAllocator();
  at::set_num_interop_threads(1);
  spdlog::set_default_logger(spdlog::stderr_logger_mt("worker"));
  CLI::App app("trainerd-worker: fine-tunes one model");
  app.set_version_flag("--version",
                       absl::StrCat(kEngineVersion, " (LibTorch ", TORCH_VERSION, ")"));
  app.require_subcommand(1);
  Options options;
  const char* home = std::getenv("HOME");
  options.train.home_dir = home == nullptr ? "" : home;
  options.attempt.run.cache_folder = options.train.run.cache_folder =
      TokenCacheFolder(std::getenv("TRAINERD_CACHE"), std::getenv("XDG_CACHE_HOME"), home);
  AddAttempt(app, options.attempt);
  AddTrain(app, options.train);
  AddSample(app, options.sample);
  AddInitModel(app, options.init_model);
  AddExport(app, options.export_model);
  app.add_subcommand("devices", "Print the devices of this machine as JSON");
  bool parsed = false;
  if (const int code = Parse(app, argc, argv, &parsed); !parsed) return code == 0 ? 0 : kExitUsage;
  if (app.got_subcommand("attempt")) return RunAttemptCommand(options.attempt);
  if (app.got_subcommand("train")) return RunTrainCommand(options.train);
  if (app.got_subcommand("sample")) return RunSampleCommand(options.sample);
  if (app.got_subcommand("init-model")) return RunInitModelCommand(options.init_model);
  if (app.got_subcommand("export")) return RunExportCommand(options.export_model);
  return RunDevicesCommand();
}

}  // namespace
}  // namespace trainerd::engine

int main(int argc, char** argv) { return trainerd::engine::Main(argc, argv); }
