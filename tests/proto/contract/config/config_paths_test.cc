// SPDX-License-Identifier: Apache-2.0
// Expectations: written by hand.
#include "proto/contract/config/config_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "trainerd/v1/job_config.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {
namespace {

using ::testing::ElementsAre;

TEST(ConfigPathsTest, NamesWhatIsSetInFieldOrder) {
  v1::JobConfig config;
  config.mutable_train()->set_seed(0);
  config.mutable_data()->add_train()->set_path("a");
  config.mutable_data()->add_train()->set_weight(2);
  (*config.mutable_labels())["z"] = "1";
  (*config.mutable_labels())["a"] = "1";
  config.mutable_optimizer()->add_betas(0.1);
  config.mutable_limits()->mutable_stop_grace();
  config.mutable_evaluation();
  EXPECT_THAT(FieldPaths(config),
              ElementsAre("labels.a", "labels.z", "data.train[0].path", "data.train[1].weight",
                          "train.seed", "optimizer.betas", "limits.stop_grace"));
}

TEST(ForEachTextTest, VisitsTheTextsInFieldOrderWithTheirPlaces) {
  v1::JobConfig config;
  config.set_name("n");
  (*config.mutable_labels())["not"] = "visited";
  config.set_priority(3);
  config.mutable_data()->add_train()->set_weight(2);
  config.mutable_data()->add_train()->set_path("b");
  config.mutable_train()->add_freeze("x");
  config.mutable_train()->add_freeze("y");
  config.mutable_limits()->mutable_stop_grace()->set_seconds(1);
  std::vector<std::string> found;
  ForEachText(config, [&](const TextPlace& place) {
    std::string scratch;
    found.push_back(place.path.Text() + "=" + place.Value(&scratch));
  });
  EXPECT_THAT(found, ElementsAre("name=n", "data.train[1].path=b", "train.freeze[0]=x",
                                 "train.freeze[1]=y"));
}

TEST(MakePathsAbsoluteTest, ChangesRelativePathsOnly) {
  v1::JobConfig config;
  config.mutable_model()->set_path("models/m/");
  config.mutable_data()->add_train()->set_path("../data/./a.jsonl");
  config.mutable_data()->add_train()->set_path("/abs/b.jsonl");
  config.mutable_data()->set_validation("v.jsonl");
  config.mutable_data()->set_chat_template("t/x.jinja");
  config.mutable_samples()->set_prompts("p.jsonl");
  config.mutable_output()->set_path("out");
  config.set_name("not/a/path");
  MakePathsAbsolute("/home/u/jobs", &config);
  EXPECT_EQ(config.model().path(), "/home/u/jobs/models/m");
  EXPECT_EQ(config.data().train(0).path(), "/home/u/data/a.jsonl");
  EXPECT_EQ(config.data().train(1).path(), "/abs/b.jsonl");
  EXPECT_EQ(config.data().validation(), "/home/u/jobs/v.jsonl");
  EXPECT_EQ(config.data().chat_template(), "/home/u/jobs/t/x.jinja");
  EXPECT_EQ(config.samples().prompts(), "/home/u/jobs/p.jsonl");
  EXPECT_EQ(config.output().path(), "/home/u/jobs/out");
  EXPECT_EQ(config.name(), "not/a/path");
  EXPECT_FALSE(config.has_init_from());
}

TEST(MakePathsAbsoluteTest, WordsAndResourceNamesStay) {
  for (const char* word : {"model", "chatml"}) {
    v1::JobConfig config;
    config.mutable_data()->set_chat_template(word);
    MakePathsAbsolute("/j", &config);
    EXPECT_EQ(config.data().chat_template(), word);
  }
  const std::vector<std::pair<std::string, std::string>> checkpoints = {
      {"jobs/4f/checkpoints/c", "jobs/4f/checkpoints/c"},
      {"./jobs/4f", "/j/jobs/4f"},
      {"../c", "/c"},
      {"/c", "/c"},
      {"", ""}};
  for (const auto& [before, after] : checkpoints) {
    v1::JobConfig config;
    config.mutable_init_from()->set_checkpoint(before);
    MakePathsAbsolute("/j", &config);
    EXPECT_EQ(config.init_from().checkpoint(), after);
  }
}

TEST(MakePathsAbsoluteTest, UploadsStayWhereAFileIsNamed) {
  const std::string upload = "files/" + std::string(64, 'a') + "/x.jinja";
  v1::JobConfig config;
  config.mutable_model()->set_path(upload);
  config.mutable_output()->set_path(upload);
  config.mutable_data()->add_train()->set_path(upload);
  config.mutable_data()->add_train()->set_path("files/x.jsonl");
  config.mutable_data()->set_validation(upload);
  config.mutable_data()->set_chat_template(upload);
  config.mutable_samples()->set_prompts(upload);
  MakePathsAbsolute("/j", &config);
  EXPECT_EQ(config.model().path(), "/j/" + upload);
  EXPECT_EQ(config.output().path(), "/j/" + upload);
  EXPECT_EQ(config.data().train(0).path(), upload);
  EXPECT_EQ(config.data().train(1).path(), "/j/files/x.jsonl");
  EXPECT_EQ(config.data().validation(), upload);
  EXPECT_EQ(config.data().chat_template(), upload);
  EXPECT_EQ(config.samples().prompts(), upload);
}

TEST(ReplaceUploadsTest, ChangesUploadsAndNothingElse) {
  const std::string upload = "files/" + std::string(64, 'a') + "/x.jsonl";
  v1::JobConfig config;
  config.set_name(upload);
  config.mutable_model()->set_path(upload);
  config.mutable_data()->add_train()->set_path(upload);
  config.mutable_data()->add_train()->set_path("/y.jsonl");
  config.mutable_data()->set_chat_template("chatml");
  v1::JobConfig files = config;
  ReplaceUploads(&config, [](const UploadPath& path) { return "/store/" + path.file_name; });
  EXPECT_EQ(config.name(), upload);
  EXPECT_EQ(config.model().path(), upload);
  EXPECT_EQ(config.data().train(0).path(), "/store/x.jsonl");
  EXPECT_EQ(config.data().train(1).path(), "/y.jsonl");
  EXPECT_EQ(config.data().chat_template(), "chatml");
  ReplaceFiles(&files, [](const std::string& path) { return path + "!"; });
  EXPECT_EQ(files.model().path(), upload);
  EXPECT_EQ(files.data().train(0).path(), upload);
  EXPECT_EQ(files.data().train(1).path(), "/y.jsonl!");
  EXPECT_EQ(files.data().chat_template(), "chatml");
}

TEST(MakePathsAbsoluteTest, LeadingTildeIsTheHomeFolder) {
  v1::JobConfig config;
  config.mutable_model()->set_path("~/models/a");
  config.mutable_data()->add_train()->set_path("~other/b.jsonl");
  config.mutable_init_from()->set_checkpoint("~/c/");
  v1::JobConfig homeless = config;
  MakePathsAbsolute("/j", &config, "/home/u");
  EXPECT_EQ(config.model().path(), "/home/u/models/a");
  EXPECT_EQ(config.data().train(0).path(), "/j/~other/b.jsonl");
  EXPECT_EQ(config.init_from().checkpoint(), "/home/u/c");
  MakePathsAbsolute("/j", &homeless);
  EXPECT_EQ(homeless.model().path(), "/j/~/models/a");
}

TEST(MakePathsAbsoluteTest, ServesTheDaemonsSettingsToo) {
  v1::ServerConfig config;
  config.set_state_dir("state");
  config.add_listen("unix");
  MakePathsAbsolute("/etc/trainerd", &config);
  EXPECT_EQ(config.state_dir(), "/etc/trainerd/state");
  EXPECT_EQ(config.listen(0), "unix");
}

TEST(MakePathsAbsoluteTest, ServesListsOfPaths) {
  v1::ServerConfig config;
  config.add_allow_paths("data/");
  config.add_allow_paths("/srv/./x/../y");
  MakePathsAbsolute("/etc/trainerd", &config);
  EXPECT_EQ(config.allow_paths(0), "/etc/trainerd/data");
  EXPECT_EQ(config.allow_paths(1), "/srv/y");
}

// What the client sends for the same text in a job file that lies in /.
TEST(NormalizeAbsolutePathsTest, GivesAbsolutePathsTheirNormalForm) {
  for (const auto& [before, after] :
       std::vector<std::pair<std::string, std::string>>{{"/a/b", "/a/b"},
                                                        {"/a/b/", "/a/b"},
                                                        {"/a//b", "/a/b"},
                                                        {"//a/b", "/a/b"},
                                                        {"/a/./b/.", "/a/b"},
                                                        {"/a/../b", "/b"},
                                                        {"/../../b", "/b"},
                                                        {"/a/b/..", "/a"},
                                                        {"/..", "/"},
                                                        {"/", "/"},
                                                        {"/a b/ü", "/a b/ü"}}) {
    v1::JobConfig config;
    config.mutable_model()->set_path(before);
    config.mutable_data()->add_train()->set_path(before);
    config.mutable_init_from()->set_checkpoint(before);
    v1::JobConfig by_client = config;
    NormalizeAbsolutePaths(&config);
    MakePathsAbsolute("/", &by_client);
    EXPECT_EQ(config.model().path(), after) << before;
    EXPECT_EQ(config.SerializeAsString(), by_client.SerializeAsString()) << before;
  }
}

TEST(NormalizeAbsolutePathsTest, LeavesEverythingElse) {
  for (const char* text : {"a/../b", "./jobs/4f", "../x", "~/m", "jobs/4f", ".", "~", ""}) {
    v1::JobConfig config;
    config.mutable_model()->set_path(text);
    config.mutable_init_from()->set_checkpoint(text);
    config.mutable_data()->set_chat_template("model");
    const v1::JobConfig before = config;
    NormalizeAbsolutePaths(&config);
    EXPECT_EQ(config.SerializeAsString(), before.SerializeAsString()) << text;
  }
}

}  // namespace
}  // namespace trainerd
