// SPDX-License-Identifier: Apache-2.0
// PrepareData with a cache folder: hits, what makes another entry, damage, eviction, and what
// happens when nothing can be written.
#include "engine/data/store/token_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <utility>

#include "rapidcheck.h"
#include "tests/engine/data/test_data.h"
#include "tests/engine/text/random_text.h"

namespace trainerd::engine {
namespace {

class TokenCacheTest : public ::testing::Test {
 protected:
  TokenCacheTest() : model_(WriteByteTokenizer(folder_, "")), cache_(folder_.path() + "/cache") {
    std::string rows;
    for (int i = 0; i < 300; ++i) {
      rows += Row("question " + std::to_string(i), std::string(i % 40, 'a'));
    }
    config_ = BaseConfig(
        model_, folder_.Write("train.jsonl", rows + Row("same", "same") + Row("same", "same")));
  }
  PreparedData Prepare(const v1::JobConfig& config) {
    absl::StatusOr<TextPipeline> text = OpenTextPipeline(config);
    EXPECT_TRUE(text.ok()) << text.status();
    auto data =
        PrepareData(config, *text, nullptr,
                    {.num_threads = 1, .cache_folder = cache_, .scratch_folder = folder_.path()});
    EXPECT_TRUE(data.ok()) << data.status();
    return *std::move(data);
  }
  std::vector<std::string> Files(const std::string& end) const {
    std::vector<std::string> files;
    std::error_code error;
    for (const auto& file : std::filesystem::directory_iterator(cache_, error)) {
      const std::string path = file.path().string();
      if (path.size() >= end.size() && path.substr(path.size() - end.size()) == end)
        files.push_back(path);
    }
    return files;
  }
  size_t Temporaries() const {
    size_t count = 0;
    for (const auto& file : std::filesystem::directory_iterator(cache_)) {
      count += file.path().filename().string().find(".tmp-") != std::string::npos;
    }
    return count;
  }

  const TempDir folder_;
  const std::string model_, cache_;
  v1::JobConfig config_;
};

TEST_F(TokenCacheTest, TheSecondRunReadsWhatTheFirstOneMade) {
  const PreparedData first = Prepare(config_), second = Prepare(config_);
  EXPECT_FALSE(first.from_cache);
  EXPECT_TRUE(second.from_cache);
  EXPECT_EQ(first.report.SerializeAsString(), second.report.SerializeAsString());
  EXPECT_EQ(*FirstRowsDigest(first, config_, 1000), *FirstRowsDigest(second, config_, 1000));
  EXPECT_EQ(Files(".tokens").size(), 1u);
  EXPECT_EQ(Temporaries(), 0u);
}

// Between two parts of a hash, at its end and before the first row, progress is reported as 0.
TEST_F(TokenCacheTest, HashesEachFileOnce) {
  const TextPipeline text = *OpenTextPipeline(config_);
  const auto zeros = [&](const std::string& cache) {
    int count = 0;
    const PrepareProgress progress = [&](double fraction) {
      count += fraction == 0;
      return absl::OkStatus();
    };
    EXPECT_TRUE(
        PrepareData(config_, text, progress, {.num_threads = 1, .cache_folder = cache}).ok());
    return count;
  };
  const int without_hash = zeros("");
  EXPECT_EQ(zeros(cache_), without_hash + 1);
  EXPECT_EQ(Files(".tokens").size(), 1u);
  EXPECT_EQ(zeros(cache_), 1) << "the file is found, so no row is read";
}

// Over random rows (rapidcheck; a failure prints the RC_PARAMS that repeat it).
TEST_F(TokenCacheTest, WhatComesBackIsWhatWasMade) {
  EXPECT_TRUE(rc::check("cache round trip", [&] {
    std::string rows = Row("q", "a");
    for (int count = *rc::gen::inRange(0, 12); count > 0; --count) {
      rows += Row(*::trainerd::testing::RandomText(), *::trainerd::testing::RandomText());
    }
    v1::JobConfig config = BaseConfig(model_, folder_.Write("random.jsonl", rows));
    config.mutable_data()->set_max_length(*rc::gen::inRange(64, 1000));
    std::filesystem::remove_all(cache_);
    const PreparedData first = Prepare(config), second = Prepare(config);
    RC_ASSERT(!first.from_cache);
    RC_ASSERT(second.from_cache);
    RC_ASSERT(first.report.SerializeAsString() == second.report.SerializeAsString());
    RC_ASSERT(first.train == second.train);
    for (size_t i = 0; i < first.train.size(); ++i) {
      const TokenExample made = TrainExample(first, i), read = TrainExample(second, i);
      RC_ASSERT(made.ids == read.ids);
      RC_ASSERT(made.labels == read.labels);
      RC_ASSERT(made.index == read.index);
      RC_ASSERT(made.target_spans == read.target_spans);
      RC_ASSERT(made.span_tokens == read.span_tokens);
    }
  }));
}

TEST_F(TokenCacheTest, WhatComesAfterTheTokensSharesAnEntry) {
  Prepare(config_);
  v1::JobConfig config = config_;
  config.mutable_train()->set_seed(7);
  config.mutable_train()->set_batch_size(3);
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_NONE);
  config.mutable_data()->set_shuffle(false);
  config.mutable_data()->set_validation_fraction(0.1);
  config.mutable_data()->mutable_train(0)->set_weight(0.5);
  config.mutable_data()->set_now("2027-01-01 00:00:00");
  EXPECT_TRUE(Prepare(config).from_cache);
  std::filesystem::rename(folder_.path() + "/train.jsonl", folder_.path() + "/moved.jsonl");
  config.mutable_data()->mutable_train(0)->set_path(folder_.path() + "/moved.jsonl");
  const PreparedData moved = Prepare(config);
  EXPECT_TRUE(moved.from_cache);
  for (const auto& finding : moved.report.findings()) {
    EXPECT_EQ(finding.first_places(0).find(folder_.path() + "/moved.jsonl:"), 0u);
  }
}

TEST_F(TokenCacheTest, WhatTheTokensDependOnMakesAnotherEntry) {
  Prepare(config_);
  const auto expect_new = [&](const char* what, const std::function<void(v1::DataConfig*)>& edit) {
    v1::JobConfig config = config_;
    edit(config.mutable_data());
    EXPECT_FALSE(Prepare(config).from_cache) << what;
    EXPECT_TRUE(Prepare(config).from_cache) << what;
  };
  expect_new("max_length", [](v1::DataConfig* data) { data->set_max_length(64); });
  expect_new("too_long",
             [](v1::DataConfig* data) { data->set_too_long(v1::DataConfig::TOO_LONG_SKIP); });
  expect_new("bfd_split",
             [](v1::DataConfig* data) { data->set_packing(v1::DataConfig::PACKING_BFD_SPLIT); });
  expect_new("train_on",
             [](v1::DataConfig* data) { data->set_train_on(v1::DataConfig::TRAIN_ON_ALL); });
  expect_new("profile",
             [](v1::DataConfig* data) { data->set_profile(v1::DataConfig::PROFILE_REGIME3); });
  expect_new("system_prompt", [](v1::DataConfig* data) { data->set_system_prompt("s"); });
  expect_new("bad_rows",
             [](v1::DataConfig* data) { data->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP); });
  expect_new("empty_answer", [](v1::DataConfig* data) {
    data->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
    data->mutable_findings()->set_empty_answer(v1::FindingsConfig::REACTION_ERROR);
  });
  expect_new("control_tokens", [](v1::DataConfig* data) {
    data->set_control_tokens(v1::DataConfig::CONTROL_TOKENS_AS_TEXT);
  });
  const std::string other = folder_.Write("other.jsonl", Row("x", "y"));
  expect_new("second file", [&](v1::DataConfig* data) { data->add_train()->set_path(other); });
  expect_new("validation", [&](v1::DataConfig* data) { data->set_validation(other); });
  const std::string path =
      folder_.Write("t.jinja", ChatTemplate::ChatMlSource() +
                                   "{% if false %}{{ strftime_now('%d') }}{% endif %}");
  expect_new("template", [&](v1::DataConfig* data) { data->set_chat_template(path); });
  expect_new("now, for a template that uses it", [&](v1::DataConfig* data) {
    data->set_chat_template(path);
    data->set_now("2027-01-01 00:00:00");
  });
  folder_.Write("train.jsonl", Row("q", "changed"));
  expect_new("contents", [](v1::DataConfig*) {});
  std::ofstream(model_ + "/tokenizer_config.json", std::ios::app) << " ";
  expect_new("tokenizer_config.json", [](v1::DataConfig*) {});
}

TEST_F(TokenCacheTest, DamagedEntriesAreMadeAnew) {
  const PreparedData first = Prepare(config_);
  const std::string entry = Files(".tokens").at(0);
  const auto size = std::filesystem::file_size(entry);
  const auto expect_rebuilt = [&](const char* what) {
    const PreparedData again = Prepare(config_);
    EXPECT_FALSE(again.from_cache) << what;
    ASSERT_EQ(again.notes.size(), 1u) << what;
    EXPECT_EQ(again.notes[0].find("cached tokens are recomputed: "), 0u) << again.notes[0];
    EXPECT_EQ(again.report.SerializeAsString(), first.report.SerializeAsString());
    EXPECT_TRUE(Prepare(config_).from_cache) << what;
  };
  std::filesystem::resize_file(entry, size / 2);
  expect_rebuilt("half a file");
  std::filesystem::resize_file(entry, 0);
  expect_rebuilt("an empty file");
  std::fstream file(entry, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size) / 3);
  file.put('!');
  file.close();
  expect_rebuilt("a changed byte");
}

TEST_F(TokenCacheTest, DataThatChangesUnderAnOpenStoreIsAnErrorAndNoSignal) {
  const PreparedData data = Prepare(config_);
  std::filesystem::resize_file(Files(".tokens").at(0), 100);
  EXPECT_EQ(data.store->Read(5).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(TokenCacheTest, EntriesBeyondTheLimitGoLeastRecentlyUsedFirstButNoneInUse) {
  const TokenCache cache({.folder = cache_, .limit_bytes = 2500});
  const auto key = [](char name) { return std::string(kStoreKeyBytes, name); };
  const auto publish = [&](char name, size_t tokens) {
    const auto entry = cache.Begin(key(name));
    EXPECT_TRUE(entry.ok()) << entry.status();
    TokenStoreWriter writer(StoreFile::Of(entry->fd, entry->path, {}),
                            {.id_bytes = 2, .key = key(name)});
    const std::vector<int32_t> ids(tokens, 1);
    EXPECT_TRUE(writer.Add({.ids = ids, .labels = ids}, {}).ok());
    internal::TokenSetSummary summary;
    summary.mutable_train()->set_examples(1);
    auto store = writer.Finish(summary);
    const absl::Status status =
        cache.Publish(*entry, key(name), (*store)->file().fd(), (*store)->file().size());
    EXPECT_TRUE((*store)->Read(0).ok()) << "usable whatever became of the entry";
    return status;
  };
  ASSERT_TRUE(publish('a', 300).ok());
  ASSERT_TRUE(publish('a', 300).ok()) << "a second writer of the same rows";
  ASSERT_TRUE(publish('b', 300).ok());
  ASSERT_TRUE(cache.Find(key('a')).ok());  // now used after b
  ASSERT_TRUE(publish('c', 300).ok());
  EXPECT_TRUE(cache.Find(key('a')).ok());
  EXPECT_TRUE(absl::IsNotFound(cache.Find(key('b')).status())) << "used longest ago";
  EXPECT_EQ(Files(".used").size(), 2u);

  const auto in_use = cache.Find(key('a'));
  ASSERT_TRUE(cache.Find(key('c')).ok());
  ASSERT_TRUE(publish('d', 300).ok());
  EXPECT_TRUE(cache.Find(key('a')).ok()) << "older than c, but being read";
  EXPECT_TRUE(absl::IsNotFound(cache.Find(key('c')).status()));
  EXPECT_EQ(publish('e', 5000).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::IsNotFound(cache.Find(key('e')).status()));
  EXPECT_EQ(Temporaries(), 0u);
  ASSERT_TRUE((*in_use)->Read(0).ok());
}

TEST_F(TokenCacheTest, CacheAndItsLimitAreObeyed) {
  v1::JobConfig config = config_;
  config.mutable_data()->set_cache(false);
  EXPECT_FALSE(Prepare(config).from_cache);
  EXPECT_TRUE(Files(".tokens").empty());
  std::string rows;
  for (int i = 0; i < 2000; ++i) rows += Row(std::to_string(i), std::string(1000, 'x'));
  config = BaseConfig(model_, folder_.Write("large.jsonl", rows));
  config.mutable_data()->set_max_length(2000);
  config.mutable_data()->set_cache_limit(1);
  const PreparedData data = Prepare(config);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_NE(data.notes[0].find("data.cache_limit is 1 MB"), std::string::npos) << data.notes[0];
  EXPECT_TRUE(Files(".tokens").empty());
  config.mutable_data()->set_cache_limit(10);
  Prepare(config);
  EXPECT_EQ(Files(".tokens").size(), 1u);
}

TEST_F(TokenCacheTest, AFolderThatCannotBeWrittenIsSaidAndTheRunGoesOn) {
  folder_.Write("cache", "a file where the folder should be");
  const PreparedData data = Prepare(config_);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_EQ(data.notes[0].find("the tokens are not kept for the next job: "), 0u);
  EXPECT_EQ(data.train.size(), 302u);
}

// In a child, because a limit on file sizes holds for the whole process.
TEST_F(TokenCacheTest, WithoutRoomForFilesSmallSetsStayInMemory) {
  const std::string expected = *FirstRowsDigest(Prepare(config_), config_, 1000);
  std::filesystem::remove_all(cache_);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 4096, .rlim_max = 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    const PreparedData data = Prepare(config_);
    const bool right = data.notes.size() == 1 && data.store->file().fd() == -1 &&
                       *FirstRowsDigest(data, config_, 1000) == expected;
    _exit(right && Files(".tokens").empty() && Temporaries() == 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// The writer is killed once its temporary file has grown.
TEST_F(TokenCacheTest, AKilledWriterLeavesNothingThatIsRead) {
  const pid_t child = fork();
  if (child == 0) {
    const TokenCache cache({.folder = cache_, .limit_bytes = 1 << 20});
    const auto entry = cache.Begin(std::string(kStoreKeyBytes, 'x'));
    if (!entry.ok() || write(entry->fd, "half", 4) != 4) _exit(1);
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(Temporaries(), 1u);
  const TokenCache cache({.folder = cache_, .limit_bytes = 1 << 20});
  EXPECT_TRUE(absl::IsNotFound(cache.Find(std::string(kStoreKeyBytes, 'x')).status()));
  EXPECT_FALSE(Prepare(config_).from_cache);
  EXPECT_EQ(Temporaries(), 0u) << "removed by the next writer";
  EXPECT_EQ(Files(".tokens").size(), 1u);
}

TEST_F(TokenCacheTest, AFileThatChangesWhileItIsReadIsNotKeptUnderItsOldName) {
  const TextPipeline text = *OpenTextPipeline(config_);
  const std::string path = folder_.path() + "/train.jsonl";
  const std::function<void()> changes[] = {
      [&] { std::ofstream(path, std::ios::app) << Row("late", "row"); },
      // The same size.
      [&] { std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).put(' '); },
      // The same bytes in another file.
      [&] {
        std::filesystem::copy_file(path, path + ".new");
        std::filesystem::rename(path + ".new", path);
      }};
  for (const std::function<void()>& change : changes) {
    bool changed = false;
    const PrepareProgress progress = [&](double fraction) {
      if (fraction > 0 && !std::exchange(changed, true)) change();
      return absl::OkStatus();
    };
    folder_.Write("train.jsonl", Row("question", "answer"));
    const auto data =
        PrepareData(config_, text, progress, {.num_threads = 1, .cache_folder = cache_});
    ASSERT_TRUE(data.ok()) << data.status();
    ASSERT_EQ(data->notes.size(), 1u);
    EXPECT_NE(data->notes[0].find("a data file was changed while it was read"), std::string::npos);
    EXPECT_TRUE(Files(".tokens").empty());
    EXPECT_EQ(Temporaries(), 0u);
  }
}

TEST_F(TokenCacheTest, DataWithErrorsIsNotKept) {
  v1::JobConfig config = config_;
  config.mutable_data()->mutable_train(0)->set_path(
      folder_.Write("bad.jsonl", Row("a", "b") + "nope\n"));
  const TextPipeline text = *OpenTextPipeline(config);
  ASSERT_TRUE(
      PrepareData(config, text, nullptr, {.keep_going = true, .cache_folder = cache_}).ok());
  EXPECT_TRUE(Files(".tokens").empty());
  EXPECT_FALSE(PrepareData(config, text, nullptr, {.cache_folder = cache_}).ok());
  EXPECT_EQ(Temporaries(), 0u);
}

TEST(TokenCacheFolderTest, FollowsTheEnvironment) {
  EXPECT_EQ(TokenCacheFolder("/t", "/x", "/h"), "/t/tokens");
  EXPECT_EQ(TokenCacheFolder("", "/x", "/h"), "/x/trainerd/tokens");
  EXPECT_EQ(TokenCacheFolder(nullptr, nullptr, "/h"), "/h/.cache/trainerd/tokens");
  EXPECT_EQ(TokenCacheFolder(nullptr, "relative", nullptr), "");
}

}  // namespace
}  // namespace trainerd::engine
