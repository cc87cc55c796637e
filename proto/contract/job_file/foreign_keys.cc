// SPDX-License-Identifier: Apache-2.0
// The names are those of the tools' own documentation of their configuration. A key that a job file
// has under the same name, in whatever section, needs no row: unknown_key.cc finds it.
#include "proto/contract/job_file/foreign_keys.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/contract/config/advice/nearest_word.h"

namespace trainerd {
namespace {

constexpr char kNoOtherAdapters[] =
    "this form of adapter does not exist: lora trains plain LoRA, and all other parameters are "
    "frozen";
constexpr char kNoOtherQuantization[] =
    "this quantization does not exist: model.quantization: nf4 is the only one, with lora";
constexpr char kNoReinforcement[] =
    "reinforcement learning does not exist: a job learns from conversations, or from pairs of "
    "answers (preference)";
constexpr char kNoOtherPreference[] =
    "this form of preference tuning does not exist: preference.loss is sigmoid (DPO) or ipo";
constexpr char kNoDistribution[] =
    "training on several GPUs does not exist yet: a job uses one device (resources.device)";
constexpr char kNoSharding[] = "offloading and sharding do not exist yet";
constexpr char kEachStepIsAnEvent[] =
    "no key is needed: every step is an event, and `trainctl watch JOB --after begin -o jsonl` "
    "prints them";
constexpr char kNoUpload[] =
    "uploading does not exist: upload the folder of output.path when the job has succeeded";
constexpr char kNoEarlyStop[] =
    "early stopping and a best checkpoint do not exist yet: `trainctl stop JOB` ends a job with a "
    "checkpoint";
constexpr char kNoCode[] = "remove it: trainerd runs no code from a model folder";
constexpr char kAutomatic[] = "remove it: trainerd decides this itself";

// Ordered as the sections of a job file.
constexpr ForeignKeys kTable[] = {
    {"run_name experiment_name job_name wandb_name wandb_run_name", "name", ""},
    {"base_model model_name_or_path model_name model_id model_path pretrained_model "
     "pretrained_model_name_or_path base_model_config model_dir checkpoint_dir tokenizer_path "
     "tokenizer_name tokenizer_name_or_path tokenizer processor_name_or_path",
     "model.path", "a folder with the model and its tokenizer"},
    {"dataset datasets dataset_name dataset_path dataset_dir train_file train_files train_data "
     "train_dataset training_data data_files data_path pretraining_dataset dataset_text_field",
     "data.train", "a list of JSONL files"},
    {"eval_dataset eval_file validation_file validation_files test_datasets test_file eval_data "
     "validation_data val_data val_file",
     "data.validation", ""},
    {"val_set_size val_size test_size eval_split validation_split validation_split_percentage",
     "data.validation_fraction", "a fraction from 0 to 0.5"},
    {"sequence_len sequence_length seq_length seq_len cutoff_len max_seq_length max_seq_len "
     "max_sequence_length model_max_length block_size context_length max_tokens_per_sample",
     "data.max_length", ""},
    {"excess_length_strategy truncation truncation_mode", "data.too_long", ""},
    {"sample_packing multipack packed neat_packing packing_strategy eval_packing "
     "eval_sample_packing pad_to_sequence_len pad_to_max_length",
     "data.packing", ""},
    {"shuffle_merged_datasets shuffle_before_merging_datasets", "data.shuffle", ""},
    {"system default_system_message default_system system_message system_prefix",
     "data.system_prompt", ""},
    {"template chat_template_path chat_template_jinja conversation_template instruction_template "
     "prompt_template response_template",
     "data.chat_template", "model, chatml, or the path of a .jinja file"},
    {"train_on_inputs train_on_input train_on_prompt train_on_responses_only mask_prompt "
     "mask_history roles_to_train train_on_eos completion_only_loss assistant_only_loss",
     "data.train_on", ""},
    {"num_epochs num_train_epochs n_epochs max_epochs epoch nb_epochs", "train.epochs", ""},
    {"max_train_steps num_steps total_steps max_iters num_training_steps max_steps_per_epoch",
     "train.max_steps", "steps of the whole job"},
    {"per_device_train_batch_size per_device_batch_size per_gpu_train_batch_size "
     "micro_batch_size train_batch_size train_micro_batch_size_per_gpu device_batch_size",
     "train.batch_size", "sequences per microbatch"},
    {"gradient_accumulation_steps grad_accumulation_steps gradient_accumulation_iters "
     "accumulate_grad_batches grad_accum grad_accum_steps accumulation_steps",
     "train.gradient_accumulation", "microbatches per step"},
    {"global_batch_size effective_batch_size total_batch_size", "train.gradient_accumulation",
     "a step has train.batch_size × train.gradient_accumulation sequences"},
    {"bf16 pure_bf16 bfloat16 mixed_precision dtype torch_dtype compute_dtype amp",
     "train.precision", "bf16 or fp32"},
    {"fp16 float16 half_precision fp16_full_eval", "train.precision",
     "bf16 or fp32; fp16 does not exist"},
    {"fp8 tf32", "train.precision", "bf16 or fp32"},
    {"gradient_clipping clip_grad clip_grad_norm max_norm gradient_clip_val grad_clip",
     "train.max_grad_norm", ""},
    {"data_seed random_seed random_state dataset_shuffle_seed", "train.seed", ""},
    {"unfrozen_parameters freeze_layers freeze_trainable_layers freeze_trainable_modules "
     "freeze_extra_modules frozen_parameters",
     "train.freeze", "names of parameters that stay fixed, * stands for any text"},
    {"optim optimizer_type optim_args optimizer_name", "optimizer.type",
     "adamw, adamw_8bit, muon or sgd"},
    {"lr max_lr peak_lr initial_lr base_lr", "optimizer.learning_rate", ""},
    {"adam_beta1 adam_beta2 beta1 beta2", "optimizer.betas", "a list, [0.9, 0.999]"},
    {"adam_epsilon adam_eps epsilon", "optimizer.eps", ""},
    {"wd", "optimizer.weight_decay", ""},
    {"lr_scheduler_type lr_scheduler scheduler scheduler_type lr_schedule lr_scheduler_kwargs "
     "lr_decay_style",
     "schedule.type", "for example linear or cosine"},
    {"warmup_ratio warmup_fraction warmup warmup_proportion num_warmup_steps lr_warmup_steps "
     "warmup_iters",
     "schedule.warmup_steps", "a number of steps, not a share of them"},
    {"min_lr lr_min min_lr_ratio min_lr_rate cosine_min_lr_ratio lr_end", "schedule.min_ratio",
     "the learning rate at the end ÷ the highest"},
    {"num_decay_steps lr_decay_iters lr_decay_steps", "schedule.decay_steps",
     "with type: warmup_stable_decay"},
    {"eval_steps evaluation_strategy eval_strategy eval_every eval_frequency val_check_interval "
     "evals_per_epoch eval_interval",
     "evaluation.every_steps", "a number of steps"},
    {"eval_on_start eval_before_training", "evaluation.at_start", ""},
    {"per_device_eval_batch_size eval_batch_size eval_accumulation_steps", "",
     "remove it: an evaluation uses train.batch_size"},
    {"sample_prompts eval_prompts test_prompts", "samples.prompts", "a JSONL file"},
    {"max_new_tokens max_gen_len eval_max_new_tokens", "samples.max_tokens", ""},
    {"save_steps save_strategy save_every save_every_n_steps saves_per_epoch save_interval "
     "save_frequency checkpointing_steps",
     "checkpoint.every_steps", "a number of steps"},
    {"save_total_limit keep_last_n_checkpoints checkpoints_total_limit max_to_keep",
     "checkpoint.keep_last", ""},
    {"output_dir output_path out_dir save_path save_dir model_save_path", "output.path",
     "a folder that does not exist yet"},
    {"overwrite_output_dir", "", "remove it: an existing folder is never overwritten"},
    {"resume_from_checkpoint auto_resume_from_checkpoints resume_checkpoint from_checkpoint "
     "ckpt_path",
     "init_from.checkpoint", "or use `trainctl submit --from JOB`"},
    {"save_only_model save_optimizer", "", "remove it: a checkpoint always allows to resume"},
    {"device_map accelerator gpu gpu_id gpu_ids cuda_visible_devices use_cpu no_cuda",
     "resources.device", "auto, cpu or cuda:N"},
    {"max_time time_limit timeout", "limits.max_run_time", ""},
    {"adapter qlora lora_config use_lora use_peft peft peft_config peft_type finetuning_type",
     "lora", "for example lora: {r: 16, alpha: 32}"},
    {"lora_r lora_rank rank", "lora.r", ""},
    {"lora_alpha", "lora.alpha", ""},
    {"lora_dropout", "lora.dropout", ""},
    {"use_rslora peft_use_rslora", "lora.rslora", ""},
    {"lora_target lora_target_modules lora_target_layers", "lora.target_modules",
     "a list of names, for example [q_proj, v_proj]"},
    {"lora_target_linear", "",
     "remove it: without lora.target_modules every linear layer of the blocks is adapted"},
    {"lora_model_dir adapter_name_or_path", "lora.adapter_path", "a PEFT folder"},
    {"merge_lora", "output.form", "merged"},
    {"lora_modules_to_save modules_to_save lora_bias lora_task_type use_dora peft_use_dora relora "
     "loftq_config",
     "", kNoOtherAdapters},
    {"load_in_4bit quantization_bit quantization_method quantization_config bnb_4bit_quant_type "
     "bnb_config_kwargs",
     "model.quantization", "nf4, with lora"},
    {"bnb_4bit_compute_dtype", "train.precision", "bf16 or fp32"},
    {"use_bnb_nested_quant bnb_4bit_use_double_quant double_quantization", "",
     "remove it: model.quantization: nf4 always quantizes the scales too"},
    {"load_in_8bit gptq", "", kNoOtherQuantization},
    {"dpo dpo_config", "preference", "DPO on records {\"prompt\", \"chosen\", \"rejected\"}"},
    {"dpo_beta pref_beta", "preference.beta", ""},
    {"pref_loss loss_type", "preference.loss", "sigmoid or ipo"},
    {"orpo kto pref_ftx rpo_alpha", "", kNoOtherPreference},
    {"ref_model reference_model precompute_ref_log_probs", "",
     "remove it: the reference of preference tuning is the model at the start of the job"},
    {"max_prompt_length max_completion_length", "data.max_length", "of prompt and answer together"},
    {"rl grpo ppo reward_model reward_funcs num_generations rl_beta trl", "", kNoReinforcement},
    {"deepspeed deepspeed_config fsdp fsdp_config fsdp_transformer_layer_cls_to_wrap "
     "tensor_parallel_size sequence_parallel_degree context_parallel_size num_gpus n_gpus "
     "num_processes num_nodes num_machines world_size ddp_timeout ddp_backend "
     "ddp_find_unused_parameters local_rank",
     "", kNoDistribution},
    {"cpu_offload offload_optimizer offload_params enable_activation_offloading", "", kNoSharding},
    {"gradient_checkpointing gradient_checkpointing_kwargs use_gradient_checkpointing "
     "enable_activation_checkpointing disable_gradient_checkpointing",
     "train.activation_checkpointing", "none, selective or full"},
    {"logging_steps logging_strategy logging_first_step log_every log_every_n_steps log_level "
     "logging_dir report_to plot_loss wandb wandb_project wandb_entity wandb_watch wandb_log_model "
     "wandb_mode "
     "use_wandb wandb_run_id mlflow_tracking_uri mlflow_experiment_name use_tensorboard "
     "tensorboard log_with metric_logger include_tokens_per_second include_num_input_tokens_seen",
     "", kEachStepIsAnEvent},
    {"push_to_hub hub_model_id hub_strategy hub_token hub_private_repo push_dataset_to_hub", "",
     kNoUpload},
    {"early_stopping_patience early_stopping early_stopping_threshold load_best_model_at_end "
     "metric_for_best_model greater_is_better save_best_only",
     "", kNoEarlyStop},
    {"trust_remote_code custom_code", "", kNoCode},
    {"flash_attention flash_attn attn_implementation sdp_attention xformers_attention "
     "eager_attention use_flash_attention use_flash_attention_2 torch_compile compile "
     "use_liger_kernel enable_liger_kernel use_unsloth dataloader_num_workers num_workers "
     "dataset_num_proc dataset_processes preprocessing_num_workers dataloader_pin_memory "
     "dataloader_prefetch_factor group_by_length length_column_name remove_unused_columns "
     "use_cache auto_find_batch_size model_type tokenizer_type is_llama_derived_model "
     "do_train do_eval unsloth_force_compile "
     "dataset_prepared_path overwrite_cache use_fast_tokenizer",
     "", kAutomatic},
    {"full_finetuning full_fine_tuning", "", "remove it: all parameters are trained anyway"},
    {"stage task_type training_type", "",
     "remove it: with preference a job learns from pairs of answers, else from conversations"},
    {"special_tokens added_tokens add_tokens new_special_tokens", "",
     "adding tokens does not exist: add them to the model folder before the job starts"},
    {"neftune_noise_alpha noisy_embedding_alpha", "", "NEFTune does not exist"},
    {"label_smoothing_factor", "train.label_smoothing", ""},
    {"lisa_n_layers galore use_galore apollo use_badam", "",
     "this method does not exist: the optimizers are adamw, adamw_8bit, muon and sgd "
     "(optimizer.type)"},
    {"max_samples max_train_samples", "",
     "no such limit exists: use data.train with a weight below 1, {path: FILE, weight: 0.1}"},
    {"training_args training_arguments training trainer trainer_config sft sft_config", "train",
     "the keys of the training loop"},
};

}  // namespace

absl::Span<const ForeignKeys> ForeignKeyTable() { return kTable; }

const ForeignKeys* FindForeignKey(std::string_view key) {
  static const auto& by_key = *[] {
    auto* rows = new std::map<std::string, const ForeignKeys*>;
    for (const ForeignKeys& row : ForeignKeyTable()) {
      for (const absl::string_view word :
           absl::StrSplit(absl::string_view(row.keys.data(), row.keys.size()), ' '))
        rows->emplace(std::string(word), &row);
    }
    return rows;
  }();
  const auto found = by_key.find(FoldedWord(key));
  return found == by_key.end() ? nullptr : found->second;
}

std::string ForeignKeyAdvice(const ForeignKeys& row) {
  const std::string note(row.note);
  if (row.ours.empty()) return note;
  return absl::StrCat("write ", std::string(row.ours),
                      note.empty() ? "" : absl::StrCat(" (", note, ")"));
}

}  // namespace trainerd
