// SPDX-License-Identifier: Apache-2.0
// Speed of the text path, measured inside one process: loading and encoding are timed by
// themselves, so no figure is a difference between two processes. Prints one JSON line of medians.
// text_bench.py and data_bench.py give it its inputs and run the peers beside it.
//
// usage: text_bench tokenizer --tokenizer DIR --input FILE.jsonl [--rounds 3]
//        text_bench rows --job JOB.yaml [--rounds 3] [--threads 1]
//        text_bench pack --documents N [--rounds 3]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/data/batches/packing.h"
#include "engine/data/prepare.h"
#include "engine/data/source/jsonl_reader.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "proto/base/status_macros.h"
#include "proto/contract/job_file/job_file.h"

namespace trainerd::engine {
namespace {

// At least so much is encoded between two readings of the clock.
constexpr size_t kTimedBytes = 8 << 20;

using Json = nlohmann::ordered_json;

struct Flags {
  std::string mode, tokenizer, input, job;
  int rounds = 3, threads = 1;
  int64_t documents = 0;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The "text" of each line.
absl::StatusOr<std::vector<std::string>> ReadTexts(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<JsonlReader> reader, JsonlReader::Open(path));
  std::vector<std::string> texts;
  for (std::vector<JsonlLine> lines;;) {
    RETURN_IF_ERROR(reader->ReadBlock(&lines));
    if (lines.empty()) return texts;
    for (const JsonlLine& line : lines) {
      const Json row = Json::parse(line.text, nullptr, /*allow_exceptions=*/false);
      const auto text = row.is_object() ? row.find("text") : row.end();
      if (text == row.end() || !text->is_string()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ":", line.number, ": expected {\"text\": …}"));
      }
      texts.push_back(text->get<std::string>());
    }
  }
}

using Ids = std::vector<std::vector<int32_t>>;

// Encodes texts first, first + step, … into *ids, which has a place for each text.
absl::Status EncodeShare(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                         size_t first, size_t step, Ids* ids) {
  Encoding encoding;
  for (size_t i = first; i < texts.size(); i += step) {
    RETURN_IF_ERROR(tokenizer.Encode(texts[i], &encoding));
    (*ids)[i] = encoding.ids;
  }
  return absl::OkStatus();
}

// Seconds for all texts on `threads` threads: of one pass out of `passes`, without which a small
// input would measure the start of the threads.
absl::StatusOr<double> EncodeAll(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                                 size_t threads, int passes, Ids* ids) {
  ids->assign(texts.size(), {});
  std::vector<absl::Status> statuses(threads);
  const auto work = [&](size_t t) {
    for (int i = 0; i < passes && statuses[t].ok(); ++i)
      statuses[t] = EncodeShare(tokenizer, texts, t, threads, ids);
  };
  const double begin = Now();
  std::vector<std::thread> others;
  for (size_t t = 1; t < threads; ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& thread : others) thread.join();
  const double seconds = (Now() - begin) / passes;
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return seconds;
}

absl::Status BenchTokenizer(const Flags& flags) {
  std::vector<double> load, one, two;
  std::unique_ptr<Tokenizer> tokenizer;
  for (int i = 0; i < flags.rounds; ++i) {
    tokenizer.reset();
    const double begin = Now();
    ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(flags.tokenizer));
    load.push_back(Now() - begin);
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, ReadTexts(flags.input));
  size_t bytes = 1;
  for (const std::string& text : texts) bytes += text.size();
  const int passes = static_cast<int>(kTimedBytes / bytes) + 1;
  Ids ids, ids_of_two;
  for (int i = 0; i < flags.rounds; ++i) {
    ASSIGN_OR_RETURN(const double seconds_two,
                     EncodeAll(*tokenizer, texts, 2, passes, &ids_of_two));
    ASSIGN_OR_RETURN(const double seconds_one, EncodeAll(*tokenizer, texts, 1, passes, &ids));
    one.push_back(seconds_one);
    two.push_back(seconds_two);
  }
  if (ids != ids_of_two) return absl::InternalError("two threads gave other ids than one");
  const Json result = {{"load_seconds", Median(load)},
                       {"seconds", Median(one)},
                       {"fastest_seconds", *std::min_element(one.begin(), one.end())},
                       {"two_threads_seconds", Median(two)},
                       {"ids", ids}};
  std::printf("%s\n", result.dump().c_str());
  return absl::OkStatus();
}

absl::Status BenchRows(const Flags& flags) {
  ASSIGN_OR_RETURN(const v1::ResolvedJobConfig job, ReadResolvedJob({.path = flags.job}));
  const v1::JobConfig& config = job.config();
  std::vector<double> load, taken;
  int64_t rows = 0, conversations = 0;
  for (int i = 0; i < flags.rounds; ++i) {
    const double begin = Now();
    ASSIGN_OR_RETURN(const TextPipeline text, OpenTextPipeline(config));
    const double opened = Now();
    ASSIGN_OR_RETURN(const PreparedData data,
                     PrepareData(config, text, nullptr, {.num_threads = flags.threads}));
    load.push_back(opened - begin);
    taken.push_back(Now() - opened);
    rows = data.report.rows();
    conversations = data.report.examples();
  }
  const Json result = {{"load_seconds", Median(load)},
                       {"seconds", Median(taken)},
                       {"threads", flags.threads},
                       {"conversations", conversations},
                       {"rows", rows}};
  std::printf("%s\n", result.dump().c_str());
  return absl::OkStatus();
}

// Lengths as instruction sets have them: many short, few long.
absl::Status BenchPack(const Flags& flags) {
  constexpr int64_t kRowTokens = 4096;
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> length(5.3, 0.9);
  std::vector<int32_t> lengths(static_cast<size_t>(flags.documents));
  int64_t tokens = 0;
  for (int32_t& l : lengths) {
    l = static_cast<int32_t>(std::clamp(length(random), 1.0, double{kRowTokens}));
    tokens += l;
  }
  std::vector<double> taken;
  int64_t rows = 0;
  for (int i = 0; i < flags.rounds; ++i) {
    const double begin = Now();
    ASSIGN_OR_RETURN(const PackedSequences packed, PackBestFitDecreasing(lengths, kRowTokens));
    taken.push_back(Now() - begin);
    rows = packed.size();
    if (packed.num_documents() != flags.documents) return absl::InternalError("a document is lost");
  }
  const Json result = {
      {"documents", flags.documents},
      {"row_tokens", kRowTokens},
      {"seconds", Median(taken)},
      {"rows", rows},
      {"fill", static_cast<double>(tokens) / static_cast<double>(rows * kRowTokens)}};
  std::printf("%s\n", result.dump().c_str());
  return absl::OkStatus();
}

bool Parse(int argc, char** argv, Flags& flags) {
  if (argc < 2 || argc % 2 != 0) return false;
  flags.mode = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const char* value = argv[i + 1];
    if (name == "--tokenizer")
      flags.tokenizer = value;
    else if (name == "--input")
      flags.input = value;
    else if (name == "--job")
      flags.job = value;
    else if (name == "--rounds")
      flags.rounds = std::atoi(value);
    else if (name == "--documents")
      flags.documents = std::atoll(value);
    else if (name == "--threads")
      flags.threads = std::atoi(value);
    else
      return false;
  }
  if (flags.rounds < 1 || flags.threads < 1) return false;
  if (flags.mode == "tokenizer") return !flags.tokenizer.empty() && !flags.input.empty();
  if (flags.mode == "pack") return flags.documents > 0;
  return flags.mode == "rows" && !flags.job.empty();
}

}  // namespace
}  // namespace trainerd::engine

int main(int argc, char** argv) {
  trainerd::engine::Flags flags;
  if (!trainerd::engine::Parse(argc, argv, flags)) {
    std::fprintf(stderr, "usage: see the head of text_bench.cc\n");
    return 2;
  }
  const absl::Status status = flags.mode == "rows"   ? trainerd::engine::BenchRows(flags)
                              : flags.mode == "pack" ? trainerd::engine::BenchPack(flags)
                                                     : trainerd::engine::BenchTokenizer(flags);
  if (!status.ok()) std::fprintf(stderr, "text_bench: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
