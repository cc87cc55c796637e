// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/example_stream.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "engine/data/source/jsonl_reader.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr int kMaxThreads = 8;
// Records that a thread processes at a time, and records between two reports of progress.
constexpr size_t kRowsAtATime = 16;
constexpr size_t kRowsPerRound = 2048;
// A round ends before its texts exceed this size, so that a stop is noticed in time however long
// the records are.
constexpr size_t kBytesPerRound = 1 << 20;

// How many lines from `begin` on make a round: at least one.
size_t RoundSize(const std::vector<JsonlLine>& lines, size_t begin) {
  size_t count = 0, bytes = 0;
  while (begin + count < lines.size() && count < kRowsPerRound) {
    bytes += lines[begin + count].text.size();
    if (count > 0 && bytes > kBytesPerRound) break;
    ++count;
  }
  return count;
}

// Processes lines[begin, end) into rows[0, end - begin), a thread for each scratch.
class Round {
 public:
  Round(const ExamplePipeline& pipeline, std::vector<ExamplePipeline::Scratch>& scratch)
      : pipeline_(pipeline), scratch_(scratch) {}

  void Run(const JsonlLine* lines, size_t count, const ExamplePipeline::RowOptions& first,
           std::vector<TokenRow>* rows) {
    rows->clear();
    rows->resize(count);
    std::atomic<size_t> next{0};
    const auto work = [&](ExamplePipeline::Scratch* scratch) {
      for (size_t begin; (begin = next.fetch_add(kRowsAtATime)) < count;) {
        const size_t end = std::min(count, begin + kRowsAtATime);
        for (size_t i = begin; i < end; ++i) {
          ExamplePipeline::RowOptions row = first;
          row.index += static_cast<int64_t>(i);
          (*rows)[i] = pipeline_.Process(lines[i], row, scratch);
        }
      }
    };
    std::vector<std::thread> threads;
    for (size_t i = 1; i < scratch_.size() && i * kRowsAtATime < count; ++i) {
      threads.emplace_back(work, &scratch_[i]);
    }
    work(&scratch_[0]);
    for (std::thread& thread : threads) thread.join();
  }

 private:
  const ExamplePipeline& pipeline_;
  std::vector<ExamplePipeline::Scratch>& scratch_;
};

}  // namespace

int DefaultRowThreads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
}

absl::StatusOr<SourceFormat> StreamRows(const std::string& path, const ExamplePipeline& pipeline,
                                        const RowStreamOptions& options, const RowSink& sink,
                                        const ByteProgress& progress) {
  int64_t bytes_before = 0;
  JsonlReader::Options reader_options;
  reader_options.keep_on = [&] { return progress(bytes_before); };
  ASSIGN_OR_RETURN(const std::unique_ptr<JsonlReader> reader,
                   JsonlReader::Open(path, std::move(reader_options)));
  std::vector<ExamplePipeline::Scratch> scratch(
      static_cast<size_t>(std::max(1, options.num_threads)));
  Round round(pipeline, scratch);
  std::vector<JsonlLine> lines;
  std::vector<TokenRow> rows;
  ExamplePipeline::RowOptions row{.index = options.first_index, .keep_text = options.keep_text};
  bool format_known = pipeline.fixed_format().has_value();
  row.format = pipeline.fixed_format().value_or(SourceFormat::kMessages);
  int64_t left = options.max_rows;
  while (left != 0) {
    bytes_before = reader->bytes_done();
    RETURN_IF_ERROR(reader->ReadBlock(&lines));
    if (lines.empty()) break;
    for (size_t i = 0; i < lines.size() && !format_known; ++i) {
      const auto format = scratch[0].parser.Detect(lines[i].text);
      format_known = format.has_value();
      row.format = format.value_or(SourceFormat::kMessages);
    }
    if (left > 0 && static_cast<int64_t>(lines.size()) > left) {
      lines.resize(static_cast<size_t>(left));
    }
    size_t count = 0;
    for (size_t begin = 0; begin < lines.size(); begin += count) {
      count = RoundSize(lines, begin);
      round.Run(&lines[begin], count, row, &rows);
      for (size_t i = 0; i < count; ++i) {
        RETURN_IF_ERROR(sink(std::move(rows[i]), lines[begin + i].number));
      }
      row.index += static_cast<int64_t>(count);
      const double share = static_cast<double>(begin + count) / static_cast<double>(lines.size());
      RETURN_IF_ERROR(progress(
          bytes_before +
          static_cast<int64_t>(share * static_cast<double>(reader->bytes_done() - bytes_before))));
    }
    if (left > 0) left -= static_cast<int64_t>(lines.size());
  }
  return row.format;
}

}  // namespace trainerd::engine
