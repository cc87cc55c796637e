// SPDX-License-Identifier: Apache-2.0
// Expected texts are written by hand from the messages.
#include "client/view/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "client/view/event_text.h"
#include "client/view/report_text.h"
#include "client/view/text_width.h"
#include "proto/contract/job/event_text.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(OutputTest, AlignsTableColumnsByDisplayWidth) {
  Table table({"ID", "NAME", "STATE"});
  table.AddRow({"4f", "日本", "RUNNING"});
  table.AddRow({"longer", "x", "\x1b[32mOK\x1b[0m"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "ID      NAME  STATE\n"
            "4f      日本  RUNNING\n"
            "longer  x     \x1b[32mOK\x1b[0m\n");
  std::ostringstream narrow;
  table.Print(narrow, 10);
  EXPECT_EQ(narrow.str().substr(0, narrow.str().find('\n')), "ID      N…");
}

TEST(OutputTest, PrintsAnyMessageAsYaml) {
  v1::Job job;
  job.set_name("jobs/4f");
  job.set_state(v1::Job::RUNNING);
  job.set_config_digest("\x01\xff");
  (*job.mutable_config()->mutable_labels())["team"] = "x \"y\"";
  job.mutable_config()->mutable_data()->add_train()->set_path("/a\nb");
  job.mutable_config()->mutable_optimizer()->set_learning_rate(2e-5);
  job.add_conditions()->set_type("Stalled");
  job.mutable_create_time()->set_seconds(1700000000);
  std::ostringstream out;
  PrintMessage(job, OutputForm::kYaml, out);
  EXPECT_EQ(out.str(),
            "name: jobs/4f\n"
            "config:\n"
            "  labels:\n"
            "    team: \"x \\\"y\\\"\"\n"
            "  data:\n"
            "    train:\n"
            "      - path: \"/a\\nb\"\n"
            "  optimizer:\n"
            "    learning_rate: 2.0e-05\n"
            "config_digest: \"01ff\"\n"
            "state: RUNNING\n"
            "conditions:\n"
            "  - type: Stalled\n"
            "create_time: \"2023-11-14T22:13:20Z\"\n");
}

TEST(OutputTest, PrintsProtoNamesAsJson) {
  v1::Event event;
  event.set_seq(17);
  event.mutable_metrics()->set_target_tokens(5);
  std::ostringstream out;
  PrintMessage(event, OutputForm::kJsonl, out);
  EXPECT_EQ(out.str(), "{\"seq\":17,\"metrics\":{\"target_tokens\":5,\"learning_rates\":{}}}\n");
}

TEST(OutputTest, JsonNamesTheFinalModelOfAJobThatSucceeded) {
  v1::ListJobsResponse response;
  v1::Job& to_output = *response.add_jobs();
  to_output.set_state(v1::Job::SUCCEEDED);
  to_output.set_run_dir("/state/runs/a");
  to_output.mutable_config()->mutable_output()->set_path("/models/a");
  v1::Job& in_run_dir = *response.add_jobs();
  in_run_dir.set_state(v1::Job::SUCCEEDED);
  in_run_dir.set_run_dir("/state/runs/b");
  response.add_jobs()->set_state(v1::Job::FAILED);
  std::ostringstream out;
  PrintMessage(response, OutputForm::kJson, out);
  const auto list = nlohmann::json::parse(out.str());
  EXPECT_EQ(list["jobs"][0]["final_path"], "/models/a");
  EXPECT_EQ(list["jobs"][1]["final_path"], "/state/runs/b/final");
  EXPECT_FALSE(list["jobs"][2].contains("final_path"));
  std::ostringstream one;
  PrintMessage(response.jobs(1), OutputForm::kJsonl, one);
  EXPECT_EQ(nlohmann::json::parse(one.str())["final_path"], "/state/runs/b/final");
}

TEST(EventTextTest, PrintsTimeJobAttemptKindAndContent) {
  v1::Event event;
  event.set_job("jobs/4f01");
  event.set_attempt(2);
  event.mutable_time()->set_seconds(1700000000);
  v1::Metrics& metrics = *event.mutable_metrics();
  metrics.set_step(3);
  metrics.set_total_steps(10);
  metrics.set_loss(1.931);
  metrics.set_tokens(4096);
  metrics.set_target_tokens(1711);
  const std::string line = EventLine(event);
  EXPECT_THAT(line, HasSubstr("2023-11-1"));
  EXPECT_THAT(line, HasSubstr("  4f01  a2  metrics"));
  EXPECT_THAT(line, HasSubstr("step 3/10  loss 1.9310  tokens 4096 (1711 target)"));
  EXPECT_THAT(line, Not(HasSubstr("lr"))) << "it was not measured";
  metrics.set_learning_rate(0.02);
  EXPECT_THAT(EventLine(event), HasSubstr("loss 1.9310  lr 0.02  tokens"));
  metrics.mutable_learning_rates()->insert({{"muon", 0.02}, {"adamw", 3e-4}});
  EXPECT_THAT(EventLine(event), HasSubstr("loss 1.9310  lr adamw 0.0003, muon 0.02  tokens"));
  metrics.mutable_preference()->set_margin(-0.25);
  metrics.mutable_preference()->set_accuracy(0.75);
  EXPECT_THAT(EventLine(event), HasSubstr("loss 1.9310  margin -0.2500  accuracy 75 %  lr"));
}

TEST(EventTextTest, PrintsEachKindOnOneLineWithoutControlCharacters) {
  const auto* descriptor = v1::Event::descriptor()->FindOneofByName("body");
  for (int i = 0; i < descriptor->field_count(); ++i) {
    v1::Event event;
    // An empty body and one with every text set to something hostile.
    google::protobuf::Message* body =
        event.GetReflection()->MutableMessage(&event, descriptor->field(i));
    EXPECT_EQ(EventKind(event), descriptor->field(i)->name());
    EXPECT_FALSE(EventContent(event).empty()) << EventKind(event);
    for (int f = 0; f < body->GetDescriptor()->field_count(); ++f) {
      const auto* field = body->GetDescriptor()->field(f);
      if (field->type() == google::protobuf::FieldDescriptor::TYPE_STRING &&
          !field->is_repeated()) {
        body->GetReflection()->SetString(body, field, "evil\x1b[2J\nline");
      }
    }
    EXPECT_EQ(EventLine(event).find_first_of("\n\x1b"), std::string::npos) << EventKind(event);
  }
}

TEST(EventTextTest, PrintsTheReasonOfAStateChange) {
  v1::Event event;
  v1::StateChanged& change = *event.mutable_state_changed();
  change.set_from_state(v1::Job::RUNNING);
  change.set_to_state(v1::Job::QUEUED);
  change.set_wait_reason(v1::Job::BACKOFF);
  change.mutable_error()->set_code("WORKER_CRASHED");
  change.mutable_error()->set_message("signal 9");
  EXPECT_EQ(EventContent(event), "RUNNING -> QUEUED (BACKOFF; WORKER_CRASHED: signal 9)");
}

TEST(ReportTextTest, PrintsCountAndLocationOfFindings) {
  v1::DataReport report;
  report.set_examples(1200);
  v1::DataReport::Finding& finding = *report.add_findings();
  finding.set_code("TOO_LONG");
  finding.set_count(12);
  finding.set_message("longer than max_length 64");
  finding.add_first_places("a.jsonl:3");
  finding.add_first_places("a.jsonl:9");
  EXPECT_FALSE(HasErrors(report));
  std::ostringstream out;
  PrintReport(report, out);
  EXPECT_THAT(out.str(), HasSubstr("examples          1,200\n"));
  EXPECT_THAT(
      out.str(),
      HasSubstr(
          "warning TOO_LONG (12 times): longer than max_length 64 [a.jsonl:3, a.jsonl:9, …]\n"));
  finding.set_error(true);
  EXPECT_TRUE(HasErrors(report));
}

// A quick report of files of 2 training rows and 1 validation row, all of them read.
v1::DataReport QuickReport() {
  v1::DataReport report;
  report.set_quick(true);
  report.set_examples(2);
  report.set_validation_examples(1);
  report.mutable_tokens()->set_count(3);
  report.mutable_tokens()->set_total(640);
  // Of a daemon that still estimates them.
  report.mutable_tokens()->set_p50(26);
  return report;
}

std::string Printed(const v1::DataReport& report, const JobFile* job = nullptr) {
  std::ostringstream out;
  PrintReport(report, out, job);
  return out.str();
}

TEST(ReportTextTest, PrintsWhatTheJobWritesAndWhatIsFree) {
  constexpr int64_t kMib = 1 << 20;
  v1::DataReport report;
  std::ostringstream none;
  PrintDiskUse(report, none);
  EXPECT_EQ(none.str(), "");
  v1::DataReport::DiskUse& disk = *report.mutable_disk();
  disk.set_folder("/state/runs");
  disk.set_checkpoint_bytes(1800 * kMib);
  disk.set_checkpoint_count(4);
  disk.set_final_bytes(256 * kMib);
  disk.set_needed_bytes((4 * 1800 + 256) * kMib);
  disk.set_free_bytes(30 * 1024 * kMib);
  std::ostringstream out;
  PrintDiskUse(report, out);
  EXPECT_EQ(out.str(),
            "disk: at most 7.3 GiB: up to 4 checkpoints of 1.8 GiB and the final model of 256 MiB; "
            "30.0 GiB are free in /state/runs\n");
  disk.set_checkpoint_count(1);
  disk.set_needed_bytes((1800 + 2 * 256) * kMib);
  disk.clear_free_bytes();
  std::ostringstream copied;
  PrintReport(report, copied);
  EXPECT_THAT(copied.str(),
              HasSubstr("disk              at most 2.3 GiB: a checkpoint of 1.8 GiB and the final "
                        "model of 256 MiB with its copy in output.path\n"));
  disk.set_output_free_bytes(5 * 1024 * kMib);
  std::ostringstream other;
  PrintDiskUse(report, other);
  EXPECT_THAT(other.str(), HasSubstr(", 5.0 GiB for output.path\n"));
}

TEST(ReportTextTest, MarksEstimatesOfAQuickReport) {
  EXPECT_EQ(
      Printed(QuickReport()),
      "examples          2\n"
      "validation        1\n"
      "tokens            about 640 (estimated by size, without what the chat template adds; "
      "trainctl validate --full counts them)\n"
      "no findings in the data that was read\n"
      "all records were read, but without tokenizer and template; trainctl validate --full applies "
      "them\n");
}

TEST(ReportTextTest, MakesNoClaimAboutAnUnreadableFile) {
  v1::DataReport report = QuickReport();
  EXPECT_THAT(Printed(report), HasSubstr("all records were read"));
  report.add_findings()->set_code("BAD_FILE");
  EXPECT_THAT(Printed(report), Not(HasSubstr("all records were read")));
}

TEST(ReportTextTest, ReportsThatAQuickReportReadAPart) {
  v1::DataReport report = QuickReport();
  report.set_validation_examples(2);
  EXPECT_FALSE(AllWasRead(report));
  std::string text = Printed(report);
  EXPECT_THAT(text, HasSubstr("examples          about 2 (estimated: a part of the data was read)\n"
                              "validation        about 2\n"));
  EXPECT_THAT(text,
              HasSubstr("no findings in the data that was read\n"
                        "only the beginning and end of each file were read; trainctl validate "
                        "--full reads all data\n"));
  report.add_findings()->set_code("X");
  text = Printed(report);
  EXPECT_THAT(text, Not(HasSubstr("no findings")));
  EXPECT_THAT(text, HasSubstr("reads all data\n"));
}

TEST(ReportTextTest, PrintsExactCountsOfAFullReport) {
  v1::DataReport report = QuickReport();
  report.set_quick(false);
  report.mutable_tokens()->set_count(1);  // bad rows have no length
  EXPECT_TRUE(AllWasRead(report));
  const std::string text = Printed(report);
  EXPECT_THAT(text, HasSubstr("tokens            640; a conversation has p50 26, "));
  EXPECT_THAT(text, HasSubstr("\nno findings\n"));
  EXPECT_THAT(text, Not(HasSubstr("--full")));
  EXPECT_THAT(text, Not(HasSubstr("about")));
}

TEST(ReportTextTest, PrintsTheLineOfAKeyInTheJobFile) {
  v1::DataReport report;
  v1::DataReport::Finding& finding = *report.add_findings();
  finding.set_code("MODEL_FOLDER");
  finding.set_error(true);
  finding.set_count(1);
  finding.set_message("no weights");
  finding.add_first_places("/m");
  JobFile job{.path = "job.yaml", .lines = {{"model", 1}, {"model.path", 2}}};
  EXPECT_THAT(Printed(report, &job),
              HasSubstr("error MODEL_FOLDER: no weights [job.yaml:2, /m]\n"));
  EXPECT_THAT(Printed(report), HasSubstr("error MODEL_FOLDER: no weights [/m]\n"));
  job.lines.erase("model.path");  // --set gave it
  EXPECT_THAT(Printed(report, &job), HasSubstr("no weights [/m]\n"));
  finding.set_code("BAD_JSON");
  job.lines["model.path"] = 2;
  EXPECT_THAT(Printed(report, &job), Not(HasSubstr("job.yaml")));
}

}  // namespace
}  // namespace trainerd::client
