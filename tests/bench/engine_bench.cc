// SPDX-License-Identifier: Apache-2.0
// Speed of the engine's training step without data, events or checkpoints: tokens per second of the
// whole step and the time of its phases and ops, on random weights and random packed rows shaped
// like chat data. Prints one JSON line per result.
//
// usage: engine_bench [--model smollm2|qwen3-small|experts] [--precision fp32|bf16] [--steps 4]
// [--accumulation 4] [--tokens 1024] [--document 164] [--labelled 0.85]
//                     [--threads 2] [--table cpu|reference] [--rank 0] [--quantization none|nf4]
//                     [--ops]
//                     [--checkpointing none|selective|full]
//
// --rank above 0: the step trains a LoRA adapter on every linear layer of the blocks. nf4: over
// quantized matrices. experts: a mixture of experts, then a dense model with as many active
// parameters per token, and the ratio of their tokens per second. frozen_mb is the memory of the
// weights that do not train.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>

#include "engine/model/decoder.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/gemm.h"
#include "engine/ops/lora/low_rank.h"
#include "engine/ops/nf4.h"
#include "engine/ops/op_table.h"
#include "engine/optim/factory.h"
#include "engine/optim/global_norm.h"
#include "engine/platform/cpu_allocator.h"
#include "engine/platform/torch_status.h"

namespace trainerd::engine {
namespace {

struct Flags {
  std::string model = "smollm2", precision = "fp32", table = "cpu", quantization = "none",
              checkpointing = "none";
  int steps = 4, accumulation = 4, tokens = 1024, document = 164, threads = 2, rank = 0;
  double labelled = 0.85;
  bool ops = false;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ModelConfig Shape(const std::string& name) {
  ModelConfig c;
  RopeSpec rope;
  c.rms_norm_eps = 1e-6;
  c.tie_word_embeddings = true;
  c.max_position_embeddings = 8192;
  if (name == "smollm2") {
    c.vocab_size = 49152, c.hidden_size = 576, c.intermediate_size = 1536, c.num_layers = 30,
    c.num_heads = 9, c.num_kv_heads = 3, c.head_dim = 64;
  } else if (name == "experts" || name == "dense") {
    c.block.qk_norm = QkNorm::kPerHead;
    c.block.experts = {.count = 32, .per_token = 4, .intermediate_size = 256, .normalizes = true};
    c.vocab_size = 16384, c.hidden_size = 512, c.num_layers = 6, c.num_heads = 8,
    c.num_kv_heads = 4, c.head_dim = 64;
    c.intermediate_size = c.block.experts.per_token * c.block.experts.intermediate_size;
  } else {
    c.block.qk_norm = QkNorm::kPerHead;
    rope.theta = 1e6;
    c.vocab_size = 151936, c.hidden_size = 256, c.intermediate_size = 768, c.num_layers = 4,
    c.num_heads = 4, c.num_kv_heads = 2, c.head_dim = 64;
  }
  c.block.layers.assign(static_cast<size_t>(c.num_layers),
                        {.rope = rope, .has_experts = name == "experts"});
  return c;
}

// A row of `flags.tokens` tokens, at most; documents between half and one and a half of
// flags.document; each row a little shorter than the other, as packing leaves them.
Microbatch RandomRow(const Flags& flags, int64_t vocabulary, std::mt19937_64& random) {
  Microbatch row;
  const int limit = flags.tokens - static_cast<int>(random() % 8);
  while (static_cast<int>(row.ids.size()) < limit) {
    int length = flags.document / 2 + static_cast<int>(random() % std::max(1, flags.document));
    length = std::min(length, limit - static_cast<int>(row.ids.size()));
    for (int t = 0; t < length; ++t) {
      row.ids.push_back(static_cast<int32_t>(random() % vocabulary));
      row.positions.push_back(t);
      const bool target = t + 1 < length && t >= length * (1.0 - flags.labelled);
      row.targets.push_back(target ? static_cast<int32_t>(random() % vocabulary) : kIgnoreIndex);
      row.target_tokens += target;
    }
    row.cu_seqlens.push_back(static_cast<int32_t>(row.ids.size()));
  }
  return row;
}

AdapterSpec EveryLinearLayer(const ModelConfig& config, int64_t rank) {
  AdapterSpec adapter{.rank = rank, .alpha = 2.0 * static_cast<double>(rank)};
  for (const WeightSpec& spec : WeightsOf(config)) {
    if (spec.layer < 0 || spec.shape.size() != 2) continue;
    adapter.targets.push_back({spec.role, spec.layer, spec.name, spec.shape[1], spec.shape[0]});
  }
  return adapter;
}

// Processor seconds of all threads: what wall time would show on an idle machine with one thread.
double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double PeakRssMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

ActivationCheckpointing Checkpointing(const Flags& flags) {
  if (flags.checkpointing == "full") return ActivationCheckpointing::kFull;
  return flags.checkpointing == "selective" ? ActivationCheckpointing::kSelective
                                            : ActivationCheckpointing::kNone;
}

// Returns tokens per second.
double TrainingStep(const Flags& flags) {
  const ModelConfig config = Shape(flags.model);
  const Precision precision = flags.precision == "bf16" ? Precision::kBf16 : Precision::kFp32;
  const AdapterSpec adapter = EveryLinearLayer(config, flags.rank);
  auto parameters = ParameterSet::Create(
      config, precision, at::kCPU, /*frozen=*/{}, flags.rank > 0 ? &adapter : nullptr,
      flags.quantization == "nf4" ? Quantization::kNf4 : Quantization::kNone);
  if (!parameters.ok() || !(*parameters)->InitRandom(1).ok()) std::exit(1);
  if (flags.rank > 0 && !(*parameters)->InitAdapter(2).ok()) std::exit(1);
  Decoder decoder(config, **parameters, {.activation_checkpointing = Checkpointing(flags)});
  v1::OptimizerConfig optimizer_config;
  optimizer_config.set_type(v1::OptimizerConfig::TYPE_ADAMW);
  for (const double beta : {0.9, 0.999}) optimizer_config.add_betas(beta);
  optimizer_config.set_eps(1e-8);
  optimizer_config.set_weight_decay(0.01);
  auto optimizer = MakeOptimizer(optimizer_config, **parameters);
  if (!optimizer.ok()) std::exit(1);

  std::mt19937_64 random(42);
  double cpu = 0, forward = 0, forward_backward = 0, norm = 0, update = 0;
  std::vector<double> step_seconds;
  int64_t tokens = 0;
  for (int step = 0; step <= flags.steps; ++step) {
    std::vector<DeviceBatch> rows;
    int64_t targets = 0, step_tokens = 0;
    for (int i = 0; i < flags.accumulation; ++i) {
      const Microbatch row = RandomRow(flags, config.vocab_size, random);
      targets += row.target_tokens;
      step_tokens += row.num_tokens();
      rows.push_back(ToDevice(row, at::kCPU));
    }
    const double t0 = Now(), c0 = CpuSeconds();
    (*parameters)->ZeroGrad();
    for (const DeviceBatch& row : rows)
      decoder.ForwardBackward(row, 1.0 / static_cast<double>(targets));
    const double t1 = Now();
    const double gradient_norm = GlobalNorm((*parameters)->flat_grad()).item<double>();
    const double t2 = Now();
    (*optimizer)->Step({1e-4}, std::min(1.0, 1.0 / gradient_norm), step + 1);
    const double t3 = Now(), c3 = CpuSeconds();
    if (step == 0) continue;  // first touch of every buffer
    forward_backward += t1 - t0, norm += t2 - t1, update += t3 - t2, cpu += c3 - c0;
    step_seconds.push_back(t3 - t0);
    tokens += step_tokens;
    const double t4 = Now();
    decoder.LossSum(rows[0]);
    forward += (Now() - t4) * flags.accumulation;
  }
  double total = 0, best = 1e9;
  for (double s : step_seconds) total += s, best = std::min(best, s);
  std::printf(
      "{\"bench\":\"engine_step\",\"model\":\"%s\",\"precision\":\"%s\",\"table\":\"%s\","
      "\"activation_checkpointing\":\"%s\",\"rank\":%d,\"quantization\":\"%s\",\"frozen_mb\":%.1f,"
      "\"threads\":%d,\"tokens_per_second\":"
      "%.1f,\"best\":%.1f,"
      "\"step_s\":%.3f,\"cpu_s\":%.3f,\"forward_s\":%.3f,\"forward_backward_s\":%.3f,\"norm_s\":%."
      "4f,\"adamw_s\":%.4f,\"peak_rss_mb\":%.0f}\n",
      flags.model.c_str(), flags.precision.c_str(), flags.table.c_str(),
      flags.checkpointing.c_str(), flags.rank, flags.quantization.c_str(),
      static_cast<double>((*parameters)->frozen_bytes()) / (1 << 20), flags.threads,
      static_cast<double>(tokens) / total,
      static_cast<double>(tokens) / static_cast<double>(flags.steps) / best, total / flags.steps,
      cpu / flags.steps, forward / flags.steps, forward_backward / flags.steps, norm / flags.steps,
      update / flags.steps, PeakRssMegabytes());
  return static_cast<double>(tokens) / total;
}

void Time(const Flags& flags, const char* op, double gigaflop, const std::function<void()>& body) {
  body();
  double best = 1e9;
  for (int i = 0; i < 7; ++i) {
    const double t = Now();
    body();
    best = std::min(best, Now() - t);
  }
  std::printf(
      "{\"bench\":\"engine_op\",\"op\":\"%s\",\"precision\":\"%s\",\"table\":\"%s\",\"ms\":%.3f",
      op, flags.precision.c_str(), flags.table.c_str(), best * 1e3);
  if (gigaflop > 0) std::printf(",\"gflops\":%.0f", gigaflop / best);
  std::printf("}\n");
}

at::ScalarType ComputeType(const Flags& flags) {
  return flags.precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

at::Tensor Random(const Flags& flags, at::IntArrayRef sizes) {
  return at::randn(sizes).to(ComputeType(flags));
}

void PointwiseOps(const Flags& flags, const ModelConfig& c) {
  const OpTable& ops = OpsFor(at::kCPU);
  const int64_t T = flags.tokens, D = c.hidden_size, F = c.intermediate_size;
  const auto rand = [&](at::IntArrayRef sizes) { return Random(flags, sizes); };
  const at::Tensor x = rand({T, D}), d = rand({T, D}), w = rand({D}), dw = at::randn({D});
  const RmsNormResult normed = ops.rms_norm_forward(x, d, w, 1e-6);
  Time(flags, "rms_norm_forward", 0, [&] { ops.rms_norm_forward(x, d, w, 1e-6); });
  at::Tensor d_sum = rand({T, D});
  Time(flags, "rms_norm_backward", 0,
       [&] { ops.rms_norm_backward(d_sum, d, normed.sum_TD, normed.rstd_T, w, dw); });
  const at::Tensor gate_up = rand({T, 2 * F}), d_act = rand({T, F});
  Time(flags, "swiglu_forward", 0, [&] { ops.swiglu_forward(gate_up); });
  Time(flags, "swiglu_backward", 0, [&] { ops.swiglu_backward(d_act, gate_up); });
  const at::Tensor logits = rand({256, c.vocab_size}),
                   targets = at::randint(c.vocab_size, {256}, at::TensorOptions().dtype(at::kLong));
  const auto cross_entropy = [&](double smoothing) {
    ops.cross_entropy(logits, targets, at::Tensor(), {.scale = 1e-3, .label_smoothing = smoothing});
  };
  Time(flags, "cross_entropy_256_rows", 0, [&] { cross_entropy(0.0); });
  Time(flags, "smoothed_cross_entropy_256_rows", 0, [&] { cross_entropy(0.1); });
  Time(flags, "surprise_256_rows", 0,
       [&] { ops.surprise(logits, targets, SurpriseMeasure::kEntropy); });
  const at::Tensor matrix = at::randn({2 * F, D}), dense = rand({2 * F, D});
  const Nf4Matrix quantized = Nf4Matrix::Zeros(2 * F, D, at::kCPU);
  Time(flags, "quantize_nf4_gate_up", 0, [&] { QuantizeNf4(matrix, quantized); });
  Time(flags, "dequantize_nf4_gate_up", 0, [&] { ops.dequantize_nf4(quantized, dense); });
}

void AttentionOps(const Flags& flags, const ModelConfig& c, const DeviceBatch& batch) {
  const OpTable& ops = OpsFor(at::kCPU);
  const int64_t N = c.num_heads, K = c.num_kv_heads, H = c.head_dim, rows = batch.ids.size(0);
  const auto rand = [&](at::IntArrayRef sizes) { return Random(flags, sizes); };
  const at::Tensor qkv = rand({rows, (N + 2 * K) * H}), d_qkv = rand({rows, (N + 2 * K) * H}),
                   d_out = rand({rows, N, H});
  const auto heads = [&](const at::Tensor& t, int64_t first, int64_t count) {
    return t.narrow(1, first * H, count * H).unflatten(1, {count, H});
  };
  const at::Tensor cos = at::randn({rows, H / 2}), sin = at::randn({rows, H / 2}),
                   head_w = rand({H}), head_dw = at::randn({H});
  Time(flags, "rope_q", 0, [&] { ops.rope(heads(d_qkv, 0, N), cos, sin, false); });
  Time(flags, "norm_rope_forward_q", 0, [&] {
    ops.norm_rope_forward(heads(d_qkv, 0, N), heads(qkv, 0, N), head_w, cos, sin, 1e-6);
  });
  Time(flags, "norm_rope_backward_q", 0, [&] {
    ops.norm_rope_backward(heads(d_qkv, 0, N), heads(qkv, 0, N), head_w, head_dw, cos, sin, 1e-6);
  });
  const AttentionShape shape{.num_heads = N, .num_kv_heads = K, .head_dim = H, .scale = 0.125};
  const at::Tensor q = heads(qkv, 0, N), k = heads(qkv, N, K), v = heads(qkv, N + K, K);
  double pairs = 0;
  for (size_t i = 0; i + 1 < batch.documents.cu_seqlens_host.size(); ++i) {
    const double length =
        batch.documents.cu_seqlens_host[i + 1] - batch.documents.cu_seqlens_host[i];
    pairs += length * (length + 1) / 2;
  }
  const double gigaflop = 4.0 * pairs * static_cast<double>(N * H) / 1e9;
  const AttentionResult attended = ops.attention_forward(q, k, v, batch.documents, shape);
  Time(flags, "attention_forward", gigaflop,
       [&] { ops.attention_forward(q, k, v, batch.documents, shape); });
  Time(flags, "attention_backward", 2.5 * gigaflop, [&] {
    ops.attention_backward(d_out, q, k, v, attended, batch.documents, shape, heads(d_qkv, 0, N),
                           heads(d_qkv, N, K), heads(d_qkv, N + K, K));
  });
}

// Forward, d_input and d_weight of a linear layer of m tokens.
void Gemm(const Flags& flags, const std::string& name, int64_t m, int64_t n, int64_t depth) {
  const at::Tensor a = Random(flags, {m, depth}), b = Random(flags, {n, depth}),
                   y = Random(flags, {m, n}), g = at::zeros({n, depth});
  const double gigaflop =
      2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(depth);
  Time(flags, ("gemm_forward_" + name).c_str(), gigaflop, [&] { MatMulOut(y, a, b.t()); });
  Time(flags, ("gemm_dx_" + name).c_str(), gigaflop, [&] { MatMulOut(a, y, b); });
  Time(flags, ("gemm_dw_" + name).c_str(), gigaflop, [&] { AddMatMul(g, y.t(), a); });
}

// The terms of an adapter on `outputs` matrices that are multiplied together.
void LowRank(const Flags& flags, const std::string& name, const std::vector<int64_t>& outputs,
             int64_t depth) {
  const auto matrix = [&](int64_t rows, int64_t columns) {
    return WeightAndGrad{Random(flags, {rows, columns}), at::zeros({rows, columns})};
  };
  const int64_t terms = static_cast<int64_t>(outputs.size());
  LowRankWeights weights{.a = matrix(terms * flags.rank, depth)};
  int64_t width = 0;
  for (int64_t i = 0; i < terms; ++i) {
    const WeightAndGrad a{weights.a.weight.narrow(0, i * flags.rank, flags.rank),
                          weights.a.grad.narrow(0, i * flags.rank, flags.rank)};
    weights.terms.push_back({.a = a, .b = matrix(outputs[i], flags.rank), .begin = width});
    width += outputs[i];
  }
  const at::Tensor x = Random(flags, {flags.tokens, depth}), d_x = Random(flags, x.sizes()),
                   y = Random(flags, {flags.tokens, width});
  const at::Tensor u = LowRankForward(x, y, weights, {});
  Time(flags, ("low_rank_forward_" + name).c_str(), 0, [&] { LowRankForward(x, y, weights, {}); });
  Time(flags, ("low_rank_backward_" + name).c_str(), 0,
       [&] { LowRankBackward(weights, y, {.x = x, .u_TR = u}, d_x); });
}

void Ops(const Flags& flags) {
  const ModelConfig c = Shape(flags.model);
  std::mt19937_64 random(1);
  const DeviceBatch batch = ToDevice(RandomRow(flags, c.vocab_size, random), at::kCPU);
  PointwiseOps(flags, c);
  AttentionOps(flags, c, batch);
  const int64_t T = flags.tokens, D = c.hidden_size, F = c.intermediate_size, N = c.num_heads,
                K = c.num_kv_heads, H = c.head_dim;
  const at::Tensor embedding_grad = at::randn({c.vocab_size, D});
  Time(flags, "embedding_backward", 0, [&] {
    OpsFor(at::kCPU).embedding_backward(Random(flags, {1, D}).expand({batch.ids.size(0), D}),
                                        batch.ids, embedding_grad);
  });
  Gemm(flags, "qkv", T, (N + 2 * K) * H, D);
  Gemm(flags, "output", T, D, N * H);
  Gemm(flags, "gate_up", T, 2 * F, D);
  Gemm(flags, "down", T, D, F);
  Gemm(flags, "head_256", 256, c.vocab_size, D);
  if (flags.rank == 0) return;
  LowRank(flags, "qkv", {N * H, K * H, K * H}, D);
  LowRank(flags, "output", {D}, N * H);
  LowRank(flags, "gate_up", {F, F}, D);
  LowRank(flags, "down", {D}, F);
}

void ExpertsAgainstDense(Flags flags) {
  const double experts = TrainingStep(flags);
  flags.model = "dense";
  const double dense = TrainingStep(flags);
  std::printf("{\"bench\":\"experts_against_dense\",\"tokens_ratio\":%.3f}\n", experts / dense);
}

bool Parse(int argc, char** argv, Flags& flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--ops") {
      flags.ops = true;
      continue;
    }
    if (++i >= argc) return false;
    const char* value = argv[i];
    if (name == "--model")
      flags.model = value;
    else if (name == "--precision")
      flags.precision = value;
    else if (name == "--table")
      flags.table = value;
    else if (name == "--checkpointing")
      flags.checkpointing = value;
    else if (name == "--steps")
      flags.steps = std::atoi(value);
    else if (name == "--accumulation")
      flags.accumulation = std::atoi(value);
    else if (name == "--tokens")
      flags.tokens = std::atoi(value);
    else if (name == "--document")
      flags.document = std::atoi(value);
    else if (name == "--rank")
      flags.rank = std::atoi(value);
    else if (name == "--quantization")
      flags.quantization = value;
    else if (name == "--threads")
      flags.threads = std::atoi(value);
    else if (name == "--labelled")
      flags.labelled = std::atof(value);
    else
      return false;
  }
  const bool experts = flags.model == "experts" && !flags.ops && flags.rank == 0;
  return (flags.model == "smollm2" || flags.model == "qwen3-small" || experts) &&
         (flags.quantization == "none" || (flags.quantization == "nf4" && flags.rank > 0));
}

}  // namespace
}  // namespace trainerd::engine

int main(int argc, char** argv) {
  // As the worker.
  trainerd::engine::KeepHeap();
  trainerd::engine::InstallCpuAllocator();
  trainerd::engine::Flags flags;
  if (!trainerd::engine::Parse(argc, argv, flags)) {
    std::fprintf(stderr, "usage: see the head of engine_bench.cc\n");
    return 2;
  }
  at::set_num_threads(flags.threads);
  if (flags.table == "reference")
    trainerd::engine::RegisterOps(at::kCPU, trainerd::engine::ReferenceOps());
  const absl::Status status = trainerd::engine::CatchTorch([&] {
    if (flags.ops) return trainerd::engine::Ops(flags);
    if (flags.model == "experts") return trainerd::engine::ExpertsAgainstDense(flags);
    trainerd::engine::TrainingStep(flags);
  });
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
