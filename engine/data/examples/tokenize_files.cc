// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/tokenize_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/examples/example_set.h"
#include "engine/data/examples/example_stream.h"
#include "engine/data/store/token_cache.h"
#include "engine/data/store/token_cache_key.h"
#include "engine/data/store/token_store_writer.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

constexpr int64_t kBytesPerMegabyte = 1'000'000;

int64_t FileBytes(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? info.st_size : 0;
}

// Reads all files of a job into one writer.
class FileReading {
 public:
  FileReading(const v1::JobConfig& config, const TextPipeline& text,
              const PrepareProgress& progress, const PrepareOptions& options, Findings* findings)
      : config_(config), text_(text), progress_(progress), options_(options), findings_(findings) {}

  absl::StatusOr<std::unique_ptr<TokenStore>> Run(std::unique_ptr<StoreFile> file,
                                                  const StoreHeader& header);
  // As TokenizedFiles::train_has_errors and validation_has_errors.
  bool train_has_errors() const { return train_has_errors_; }
  bool validation_has_errors() const { return validation_has_errors_; }

 private:
  absl::Status ReadFile(int32_t file, const std::string& path, ExampleSet* set);
  void NoteFirstDuplicate(const ExampleSet& train, const ExampleSet& validation);

  const v1::JobConfig& config_;
  const TextPipeline& text_;
  const PrepareProgress& progress_;
  const PrepareOptions& options_;
  Findings* const findings_;
  std::unique_ptr<ExamplePipeline> pipeline_;
  internal::TokenSetSummary summary_;
  bool has_errors_ = false;  // of the set that is read
  bool train_has_errors_ = false;
  bool validation_has_errors_ = false;
  int64_t bytes_total_ = 0;
  int64_t bytes_done_ = 0;  // of finished files
};

absl::Status FileReading::ReadFile(int32_t file, const std::string& path, ExampleSet* set) {
  const RowStreamOptions options{
      .num_threads = options_.num_threads > 0 ? options_.num_threads : DefaultRowThreads(),
      .first_index = set->rows_read()};
  const int64_t rows_before = set->rows_read();
  const absl::StatusOr<SourceFormat> format = StreamRows(
      path, *pipeline_, options,
      [&](const TokenRow& row, int64_t line) {
        has_errors_ |=
            row.fault && (row.fault->fatal || !SkipsBadRecords(config_.data().bad_rows()));
        return set->Add(row, {.file = file, .line = line});
      },
      [&](int64_t bytes) {
        if (!progress_) return absl::OkStatus();
        return progress_(
            std::min(1.0, static_cast<double>(bytes_done_ + bytes) /
                              static_cast<double>(std::max<int64_t>(1, bytes_total_))));
      });
  absl::Status status = format.status();
  summary_.add_formats(static_cast<int32_t>(format.value_or(SourceFormat::kMessages)));
  bytes_done_ += FileBytes(path);
  if (status.ok() && set->rows_read() == rows_before) {
    status = absl::InvalidArgumentError(
        absl::StrCat(path, ": has only blank lines; it needs one JSON object per line"));
  }
  if (!status.ok() && options_.keep_going && !absl::IsCancelled(status) &&
      !absl::IsResourceExhausted(status)) {
    has_errors_ = true;
    findings_->AddElsewhere("BAD_FILE", true, path, std::string(status.message()));
    return absl::OkStatus();
  }
  return status;
}

void FileReading::NoteFirstDuplicate(const ExampleSet& train, const ExampleSet& validation) {
  for (const ExampleSet* set : {&train, &validation}) {
    if (!set->first_of_duplicates().has_value()) continue;
    findings_->SetOtherPlace("DUPLICATE", *set->first_of_duplicates());
    return;
  }
}

absl::StatusOr<std::unique_ptr<TokenStore>> FileReading::Run(std::unique_ptr<StoreFile> file,
                                                             const StoreHeader& header) {
  ASSIGN_OR_RETURN(pipeline_, ExamplePipeline::Create(config_, text_));
  TokenStoreWriter writer(std::move(file), header);
  const v1::DataConfig& data = config_.data();
  const std::string lost = text_.tokenizer->UnspellableExample();
  ExampleSet train(data, lost, options_.keep_going, findings_, &writer);
  const std::vector<std::string> files = DataFiles(data);
  for (const std::string& path : files) bytes_total_ += FileBytes(path);
  const int32_t num_train = data.train_size();
  for (int32_t i = 0; i < num_train; ++i)
    RETURN_IF_ERROR(ReadFile(i, data.train(i).path(), &train));
  train.ForgetTexts();
  train_has_errors_ = std::exchange(has_errors_, false);
  ExampleSet validation(data, lost, options_.keep_going, findings_, &writer);
  if (!data.validation().empty()) {
    RETURN_IF_ERROR(ReadFile(num_train, data.validation(), &validation));
  }
  validation_has_errors_ = has_errors_;
  *summary_.mutable_train() = train.counters();
  *summary_.mutable_validation() = validation.counters();
  NoteFirstDuplicate(train, validation);
  findings_->AppendTo(&summary_);
  ASSIGN_OR_RETURN(std::unique_ptr<TokenStore> store, writer.Finish(summary_));
  return store;
}

// A file for the rows: a new entry of the cache, else one without a name.
struct Target {
  std::unique_ptr<StoreFile> file;
  std::optional<TokenCache::NewEntry> entry;
};

Target OpenTarget(const TokenCache* cache, const std::string& key,
                  const StoreFile::Fallback& fallback, std::vector<std::string>* notes) {
  Target target;
  if (cache != nullptr) {
    const absl::StatusOr<TokenCache::NewEntry> entry = cache->Begin(key);
    if (entry.ok()) {
      target.entry = *entry;
      target.file = StoreFile::Of(entry->fd, entry->path, fallback);
      return target;
    }
    notes->push_back(
        absl::StrCat("the tokens are not kept for the next job: ", entry.status().message()));
  }
  target.file = StoreFile::Unnamed(fallback);
  return target;
}

// Ends a new entry: kept, or its temporary file removed and said why.
absl::Status KeepEntry(const TokenCache& cache, const Target& target, const std::string& key,
                       const TokenStore& store, const absl::Status& outcome) {
  absl::Status status = store.file().moved();
  if (status.ok()) status = outcome;
  if (!status.ok()) {
    TokenCache::Discard(*target.entry);
    return status;
  }
  return cache.Publish(*target.entry, key, store.file().fd(), store.file().size());
}

}  // namespace

absl::StatusOr<TokenizedFiles> TokenizeFiles(const v1::JobConfig& config, const TextPipeline& text,
                                             const PrepareProgress& progress,
                                             const PrepareOptions& options, Findings* findings) {
  const v1::DataConfig& data = config.data();
  TokenizedFiles result;
  const KeepOn keep_on = [&] { return progress ? progress(0) : absl::OkStatus(); };
  std::optional<TokenCache> cache;
  std::vector<HashedFile> hashes;
  StoreHeader header{.id_bytes = IdBytesFor(text.tokenizer->vocab_size()),
                     .key = std::string(kStoreKeyBytes, '\0')};
  if (data.cache() && !options.cache_folder.empty()) {
    absl::StatusOr<std::vector<HashedFile>> read = HashDataFiles(data, keep_on);
    if (absl::IsCancelled(read.status())) return read.status();
    // What cannot be hashed is read without the cache, which says what is wrong with it.
    if (read.ok()) {
      hashes = *std::move(read);
      ASSIGN_OR_RETURN(header.key, TokenCacheKey(config, text, hashes));
      cache.emplace(TokenCache::Options{.folder = options.cache_folder,
                                        .limit_bytes = data.cache_limit() * kBytesPerMegabyte});
    }
  }
  if (cache.has_value()) {
    absl::StatusOr<std::unique_ptr<TokenStore>> found = cache->Find(header.key);
    if (found.ok()) {
      result.store = *std::move(found);
      result.from_cache = true;
      findings->Take(result.store->summary());
      return result;
    }
    if (absl::IsDataLoss(found.status())) {
      result.notes.push_back(
          absl::StrCat("cached tokens are recomputed: ", found.status().message()));
    }
  }

  const StoreFile::Fallback fallback{.scratch_folder = options.scratch_folder};
  Target target =
      OpenTarget(cache.has_value() ? &*cache : nullptr, header.key, fallback, &result.notes);
  FileReading reading(config, text, progress, options, findings);
  absl::StatusOr<std::unique_ptr<TokenStore>> store = reading.Run(std::move(target.file), header);
  if (!store.ok()) {
    if (target.entry.has_value()) TokenCache::Discard(*target.entry);
    return store.status();
  }
  result.store = *std::move(store);
  result.train_has_errors = reading.train_has_errors();
  result.validation_has_errors = reading.validation_has_errors();
  if (!target.entry.has_value()) return result;
  absl::Status outcome;
  // A file that was written to meanwhile must not lie under the name of its old contents.
  if (HaveDataFilesChanged(data, hashes)) {
    outcome = absl::AbortedError("a data file was changed while it was read");
  }
  // Another job must not get the errors out of the cache. Not worth a word: the job, or whoever
  // validates, hears of the errors themselves.
  const bool errors = result.train_has_errors || result.validation_has_errors;
  if (errors) outcome = absl::AbortedError("the data has errors");
  const absl::Status kept = KeepEntry(*cache, target, header.key, *result.store, outcome);
  if (!kept.ok() && !errors) {
    result.notes.push_back(
        absl::StrCat("the tokens are not kept for the next job: ", kept.message()));
  }
  return result;
}

}  // namespace trainerd::engine
