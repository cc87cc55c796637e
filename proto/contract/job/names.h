// SPDX-License-Identifier: Apache-2.0
// Resource names of the API: jobs/JOB, jobs/JOB/checkpoints/CHECKPOINT and so on. The head of
// trainer.proto has their form. Names of a request go through one of the Parse functions; the other
// functions are for names that a daemon has stored.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trainerd {

// [a-z0-9][a-z0-9-]{0,39}
bool IsJobId(std::string_view id);

// "jobs/ID" or "ID" → "ID". nullopt for every other form: the name of a checkpoint never stands for
// its job.
std::optional<std::string> ParseJobName(std::string_view name);

struct ResourceName {
  std::string job_id;
  // Empty: the job itself.
  std::string checkpoint_id;
};
// What ParseJobName takes, or "jobs/ID/checkpoints/X".
std::optional<ResourceName> ParseJobOrCheckpointName(std::string_view name);

// A model that can be evaluated: "jobs/ID/checkpoints/X", "jobs/ID/final" or "jobs/ID/start".
std::optional<std::string> ParseModelName(std::string_view name);
// "jobs/ID/evaluations/X".
std::optional<std::string> ParseEvaluationName(std::string_view name);

// "jobs/ID" or "ID" → "ID"; "jobs/ID/checkpoints/X" → "ID".
std::string JobId(std::string_view name);
std::string JobName(std::string_view id);
// "jobs/ID/checkpoints/X" → "X"; "" if the name has no such part.
std::string CheckpointId(std::string_view name);
std::string CheckpointName(std::string_view job_name, std::string_view checkpoint_id);
// "jobs/ID/evaluations/X" → "X"; "" if the name has no such part.
std::string EvaluationId(std::string_view name);
std::string EvaluationName(std::string_view job_name, std::string_view evaluation_id);
// "jobs/ID/final" and "jobs/ID/start".
std::string FinalName(std::string_view job_name);
std::string StartName(std::string_view job_name);
bool IsFinalName(std::string_view name);
bool IsStartName(std::string_view name);

}  // namespace trainerd
