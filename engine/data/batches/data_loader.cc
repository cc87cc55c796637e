// SPDX-License-Identifier: Apache-2.0
#include "engine/data/batches/data_loader.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/data/batches/counter_rng.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

DataLoader::DataLoader(const TokenStore& store, const PackedSequences& rows,
                       DataLoaderOptions options)
    : store_(store), rows_(rows), options_(options) {
  TRAINERD_CHECK(options_.batch_size >= 1 && options_.gradient_accumulation >= 1);
}

int64_t DataLoader::steps_per_epoch() const {
  const int64_t rows_per_step = options_.batch_size * options_.gradient_accumulation;
  return (rows_.size() + rows_per_step - 1) / rows_per_step;
}

int64_t DataLoader::total_steps() const {
  if (options_.max_steps > 0) return rows_.empty() ? 0 : options_.max_steps;
  // The small subtraction keeps products such as 0.07 x 100 = 7.000000000000001 from gaining a
  // step.
  const double steps = options_.epochs * static_cast<double>(steps_per_epoch());
  return static_cast<int64_t>(std::ceil(steps - 1e-9 * std::max(1.0, steps)));
}

StepPlace DataLoader::Place(int64_t step) const {
  TRAINERD_CHECK(step >= 1 && !rows_.empty());
  const int64_t rows_per_step = options_.batch_size * options_.gradient_accumulation;
  const int64_t per_epoch = steps_per_epoch();
  const int64_t row_count = rows_.size();
  StepPlace place;
  place.epoch = (step - 1) / per_epoch;
  place.first_row = (step - 1) % per_epoch * rows_per_step;
  place.num_rows = std::min(rows_per_step, row_count - place.first_row);
  place.epoch_after =
      static_cast<double>(place.epoch) +
      static_cast<double>(place.first_row + place.num_rows) / static_cast<double>(row_count);
  return place;
}

std::vector<int64_t> DataLoader::EpochOrder(int64_t epoch) const {
  std::vector<int64_t> order(static_cast<size_t>(rows_.size()));
  std::iota(order.begin(), order.end(), 0);
  if (!options_.shuffle) return order;
  const CounterRng rng(options_.seed, RngPurpose::kRowOrder, epoch);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.Below(i, i)]);
  return order;
}

absl::StatusOr<std::vector<Microbatch>> DataLoader::Step(int64_t step) const {
  const StepPlace place = Place(step);
  if (place.epoch != cached_epoch_) {
    cached_order_ = EpochOrder(place.epoch);
    cached_epoch_ = place.epoch;
  }
  const auto rows =
      absl::MakeConstSpan(cached_order_)
          .subspan(static_cast<size_t>(place.first_row), static_cast<size_t>(place.num_rows));
  const size_t batch_size = static_cast<size_t>(options_.batch_size);
  std::vector<Microbatch> microbatches;
  for (size_t done = 0; done < rows.size(); done += batch_size) {
    ASSIGN_OR_RETURN(Microbatch batch,
                     MakeMicrobatch(store_, rows_, rows.subspan(done, batch_size)));
    microbatches.push_back(std::move(batch));
  }
  return microbatches;
}

namespace {

// Appends tokens [begin, end) of the example as a document.
void AppendDocument(const TokenExample& example, size_t begin, size_t end, Microbatch* batch) {
  const auto at = [](size_t i) { return static_cast<std::ptrdiff_t>(i); };
  batch->ids.insert(batch->ids.end(), example.ids.begin() + at(begin),
                    example.ids.begin() + at(end));
  batch->labels.insert(batch->labels.end(), example.labels.begin() + at(begin),
                       example.labels.begin() + at(end));
  for (size_t i = begin; i < end; ++i) {
    const int32_t target = i + 1 < end ? example.labels[i + 1] : kIgnoreIndex;
    batch->targets.push_back(target);
    batch->positions.push_back(static_cast<int32_t>(i - begin));
    if (target != kIgnoreIndex) ++batch->target_tokens;
  }
  if (!example.weights.empty() || !batch->weights.empty()) {
    batch->weights.resize(batch->ids.size() - (end - begin), 1.0f);
    for (size_t i = begin; i < end; ++i)
      batch->weights.push_back(i + 1 < end && !example.weights.empty() ? example.weights[i + 1]
                                                                       : 1.0f);
  }
  batch->cu_seqlens.push_back(static_cast<int32_t>(batch->ids.size()));
  batch->examples.push_back(example.index);
}

}  // namespace

absl::StatusOr<Microbatch> MakeMicrobatch(const TokenStore& store, const PackedSequences& rows,
                                          absl::Span<const int64_t> numbers) {
  Microbatch batch;
  batch.is_pairs = rows.is_pairs();
  for (const int64_t row : numbers) {
    for (int64_t i = 0; i < rows.num_documents(row); ++i) {
      const Piece piece = rows.document(row, i);
      ASSIGN_OR_RETURN(const TokenExample example, store.Read(piece.example));
      const int64_t size = static_cast<int64_t>(example.ids.size());
      const int64_t begin = std::min(piece.begin, size);
      const int64_t end = begin + std::min(piece.max_tokens, size - begin);
      AppendDocument(example, static_cast<size_t>(begin), static_cast<size_t>(end), &batch);
    }
  }
  return batch;
}

void HashTokens(const Microbatch& batch, Xxh3Stream* digest) {
  digest->Update(batch.ids.data(), batch.ids.size() * sizeof(int32_t));
  digest->Update(batch.labels.data(), batch.labels.size() * sizeof(int32_t));
  digest->Update(batch.weights.data(), batch.weights.size() * sizeof(float));
}

}  // namespace trainerd::engine
