// SPDX-License-Identifier: Apache-2.0
#include "engine/data/data_loader.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/data/counter_rng.h"
#include "proto/contract/status_macros.h"

namespace trainerd::engine {

DataLoader::DataLoader(const std::vector<TokenExample>& examples,
                       const std::vector<PackedRow>& rows, DataLoaderOptions options)
    : examples_(examples), rows_(rows), options_(options) {
  TRAINERD_CHECK(options_.batch_size >= 1 && options_.gradient_accumulation >= 1);
}

int64_t DataLoader::steps_per_epoch() const {
  const int64_t rows_per_step = options_.batch_size * options_.gradient_accumulation;
  return (static_cast<int64_t>(rows_.size()) + rows_per_step - 1) / rows_per_step;
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
  const int64_t row_count = static_cast<int64_t>(rows_.size());
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
  std::vector<int64_t> order(rows_.size());
  std::iota(order.begin(), order.end(), 0);
  if (!options_.shuffle) return order;
  const CounterRng rng(options_.seed, RngPurpose::kRowOrder, epoch);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.Below(i, i)]);
  return order;
}

std::vector<Microbatch> DataLoader::Step(int64_t step) const {
  const StepPlace place = Place(step);
  if (place.epoch != cached_epoch_) {
    cached_order_ = EpochOrder(place.epoch);
    cached_epoch_ = place.epoch;
  }
  std::vector<Microbatch> microbatches;
  for (int64_t done = 0; done < place.num_rows; done += options_.batch_size) {
    std::vector<const PackedRow*> rows;
    const int64_t count = std::min(options_.batch_size, place.num_rows - done);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = cached_order_[static_cast<size_t>(place.first_row + done + i)];
      rows.push_back(&rows_[static_cast<size_t>(row)]);
    }
    microbatches.push_back(MakeMicrobatch(examples_, rows));
  }
  return microbatches;
}

Microbatch MakeMicrobatch(const std::vector<TokenExample>& examples,
                          const std::vector<const PackedRow*>& rows) {
  Microbatch batch;
  for (const PackedRow* row : rows) {
    for (const int64_t document : row->documents) {
      const TokenExample& example = examples[static_cast<size_t>(document)];
      const size_t size = example.ids.size();
      batch.ids.insert(batch.ids.end(), example.ids.begin(), example.ids.end());
      batch.labels.insert(batch.labels.end(), example.labels.begin(), example.labels.end());
      for (size_t i = 0; i < size; ++i) {
        const int32_t target = i + 1 < size ? example.labels[i + 1] : kIgnoreIndex;
        batch.targets.push_back(target);
        batch.positions.push_back(static_cast<int32_t>(i));
        if (target != kIgnoreIndex) ++batch.target_tokens;
      }
      batch.cu_seqlens.push_back(static_cast<int32_t>(batch.ids.size()));
      batch.examples.push_back(example.index);
    }
  }
  return batch;
}

}  // namespace trainerd::engine
