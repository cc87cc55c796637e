// SPDX-License-Identifier: Apache-2.0
#include "engine/model/device_batch.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <initializer_list>
#include <utility>

#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// The lists, concatenated in one tensor on the device. A copy to CUDA is from pinned memory and
// does not wait, because the device is still busy with the previous microbatch.
at::Tensor JoinedOnDevice(std::initializer_list<const std::vector<int32_t>*> lists,
                          at::Device device) {
  int64_t count = 0;
  for (const std::vector<int32_t>* list : lists) count += static_cast<int64_t>(list->size());
  const at::Tensor host =
      at::empty({count}, at::TensorOptions().dtype(at::kInt).pinned_memory(device.is_cuda()));
  int32_t* end = host.mutable_data_ptr<int32_t>();
  for (const std::vector<int32_t>* list : lists) end = std::copy(list->begin(), list->end(), end);
  return host.to(at::TensorOptions().device(device), /*non_blocking=*/true);
}

DeviceBatch::Answers AnswersOf(const Microbatch& batch, at::Device device) {
  DeviceBatch::Answers answers;
  std::vector<int32_t> documents, tokens;
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    const size_t targets = documents.size();
    int32_t labels = 0;
    for (auto t = static_cast<size_t>(batch.cu_seqlens[i]);
         t < static_cast<size_t>(batch.cu_seqlens[i + 1]); ++t) {
      labels += batch.labels[t] != kIgnoreIndex;
      if (batch.targets[t] != kIgnoreIndex) documents.push_back(static_cast<int32_t>(i));
    }
    answers.targets.push_back(static_cast<int64_t>(documents.size() - targets));
    tokens.push_back(std::max(labels, 1));
  }
  answers.documents = JoinedOnDevice({&documents}, device).to(at::kLong);
  answers.tokens = JoinedOnDevice({&tokens}, device).to(at::kDouble);
  return answers;
}

}  // namespace

DeviceBatch ToDevice(const Microbatch& batch, at::Device device) {
  DeviceBatch result;
  std::vector<int32_t> rows, weight_bits;
  rows.reserve(static_cast<size_t>(batch.target_tokens));
  for (size_t t = 0; t < batch.targets.size(); ++t) {
    if (batch.targets[t] == kIgnoreIndex) continue;
    rows.push_back(static_cast<int32_t>(t));
    if (!batch.weights.empty()) weight_bits.push_back(std::bit_cast<int32_t>(batch.weights[t]));
  }
  TRAINERD_CHECK(batch.examples.empty() ||
                 static_cast<int64_t>(batch.examples.size()) == batch.num_documents());
  const at::Tensor joined = JoinedOnDevice(
      {&batch.ids, &batch.positions, &batch.targets, &rows, &weight_bits, &batch.cu_seqlens},
      device);
  int64_t begin = 0;
  const auto next = [&](const std::vector<int32_t>& list) {
    const int64_t count = static_cast<int64_t>(list.size());
    return joined.narrow(0, std::exchange(begin, begin + count), count);
  };
  result.ids = next(batch.ids).to(at::kLong);
  result.positions = next(batch.positions).to(at::kLong);
  result.targets = next(batch.targets).to(at::kLong);
  result.target_rows = next(rows).to(at::kLong);
  if (!weight_bits.empty()) result.target_weights = next(weight_bits).view(at::kFloat);
  result.examples = batch.examples;
  if (batch.is_pairs) result.answers = AnswersOf(batch, device);
  result.documents.cu_seqlens = next(batch.cu_seqlens);
  result.documents.cu_seqlens_host = batch.cu_seqlens;
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    result.documents.max_seqlen = std::max<int64_t>(result.documents.max_seqlen,
                                                    batch.cu_seqlens[i + 1] - batch.cu_seqlens[i]);
  }
  return result;
}

at::Tensor PerToken(const DeviceBatch& batch, const std::vector<int32_t>& values) {
  std::vector<int32_t> of_tokens;
  for (size_t i = 0; i < values.size(); ++i)
    of_tokens.resize(static_cast<size_t>(batch.documents.cu_seqlens_host[i + 1]), values[i]);
  return JoinedOnDevice({&of_tokens}, batch.ids.device()).to(at::kLong);
}

}  // namespace trainerd::engine
