// SPDX-License-Identifier: Apache-2.0
// Exports of jobs that were trained here. merged is what a job with output.form merged writes; a
// BF16 GGUF file holds the rounded weights of the model, in which the adapter is merged.
#include "engine/cli/export_command.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/matmul.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "engine/formats/gguf/gguf_file.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/gguf/import_model.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using testing::FileHash;
using ::testing::HasSubstr;
using testing::Ran;
using testing::TinyJob;
using testing::WriteText;

constexpr char kLora[] =
    "lora: {r: 4, target_modules: [q_proj, down_proj]}\ntrain: {max_steps: 4}\n"
    "checkpoint: {every_steps: 2}\n";

std::set<std::string> Names(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

class ExportCommandTest : public ::testing::Test {
 protected:
  // Trains a job in the run directory `run`; returns its final/.
  std::string Train(const std::string& run, const std::string& overrides) {
    Ran ran;
    testing::RunAttempt(job_.Spec(run, 1, overrides), &ran);
    EXPECT_TRUE(std::filesystem::exists(dir_ / (run + "/final"))) << ran.record.DebugString();
    return dir_ / (run + "/final");
  }
  std::string Error(const ExportOptions& options) {
    const absl::Status status = ExportModel(options);
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  }
  void ExpectExport(const ExportOptions& options) {
    const absl::Status status = ExportModel(options);
    ASSERT_TRUE(status.ok()) << status;
    // Nothing but the output is left.
    for (const std::string& name : Names(dir_ / "out")) EXPECT_NE(name[0], '.') << name;
  }
  TempDir dir_;
  TinyJob job_{dir_};
  const std::string out_ = dir_ / "out/model";
};

TEST_F(ExportCommandTest, CopiesWholeModelOfACheckpointWithoutItsState) {
  const std::string final = Train("run", "train: {max_steps: 4}\ncheckpoint: {every_steps: 2}\n");
  const std::string checkpoint = dir_ / "run/checkpoints/step-00000004-a1";
  ASSERT_TRUE(std::filesystem::exists(checkpoint));
  ExpectExport({.model_folder = checkpoint, .output = out_, .form = "hf"});
  EXPECT_EQ(Names(out_), Names(final));
  EXPECT_EQ(FileHash(out_ + "/model.safetensors"), FileHash(final + "/model.safetensors"));
  EXPECT_EQ(FileHash(out_ + "/tokenizer.json"), FileHash(final + "/tokenizer.json"));
  EXPECT_THAT(Error({.model_folder = final, .output = out_, .form = "hf"}),
              HasSubstr("already exists"));
  EXPECT_THAT(Error({.model_folder = final, .output = out_ + "2", .form = "merged"}),
              HasSubstr("holds a whole model; use --form hf or gguf"));
}

TEST_F(ExportCommandTest, WritesGgufFileThatHoldsTheModel) {
  const std::string final = Train("run", "train: {max_steps: 3}\n");
  const std::string file = dir_ / "out/model.gguf", imported = dir_ / "imported";
  ExpectExport({.model_folder = final, .output = file, .form = "gguf", .type = "f32"});
  ASSERT_TRUE(ImportGguf(file, imported).ok());
  const auto before = HfFolder::Open(final), after = HfFolder::Open(imported);
  ASSERT_TRUE(before.ok() && after.ok());
  for (const std::string& name : (*before)->Names()) {
    const auto& shape = (*before)->Find(name)->shape;
    EXPECT_EQ(*(*before)->Bytes(name, shape), *(*after)->Bytes(name, shape)) << name;
  }
  EXPECT_THAT(Error({.model_folder = final, .output = file, .form = "gguf"}),
              HasSubstr("already exists"));
}

TEST_F(ExportCommandTest, MergesAdapters) {
  const std::string adapter = Train("lora", kLora);
  const std::string merged = Train("merged", std::string(kLora) + "output: {form: merged}\n");
  ExpectExport({.model_folder = adapter, .output = out_, .form = "merged"});
  EXPECT_EQ(FileHash(out_ + "/model.safetensors"), FileHash(merged + "/model.safetensors"));
  EXPECT_EQ(Names(out_), Names(merged));

  const std::string file = dir_ / "out/model.gguf", same = dir_ / "out/same.gguf";
  const std::string checkpoint = dir_ / "lora/checkpoints/step-00000004-a1";
  ExpectExport({.model_folder = checkpoint, .output = file, .form = "gguf"});
  ExpectExport({.model_folder = merged, .output = same, .form = "gguf"});
  const auto a = GgufFile::Open(file), b = GgufFile::Open(same);
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  ASSERT_EQ((*a)->tensors().size(), (*b)->tensors().size());
  for (const GgufTensor& tensor : (*a)->tensors())
    EXPECT_EQ((*a)->Bytes(tensor), (*b)->Bytes(*(*b)->Find(tensor.name))) << tensor.name;
}

// The adapter is added to the full model, whatever it was trained on: what peft does that loads the
// model without quantization.
TEST_F(ExportCommandTest, MergesTheAdapterOfAQuantizedModelIntoTheFullOne) {
  const std::string qlora = std::string(kLora) + "model: {quantization: nf4}\n";
  const std::string adapter = Train("qlora", qlora);
  ExpectExport({.model_folder = adapter, .output = out_, .form = "merged"});
  const auto model = *HfFolder::Open(dir_ / "model"), merged = *HfFolder::Open(out_),
             trained_on = *HfFolder::Open(Train("merged", qlora + "output: {form: merged}\n"));
  const auto file = *SafetensorsFile::Open(adapter + "/adapter_model.safetensors");
  const auto config = nlohmann::json::parse(testing::ReadText(adapter + "/adapter_config.json"));
  const double scale = config["lora_alpha"].get<double>() / config["r"].get<double>();
  const auto tensor = [](std::string_view bytes, const std::vector<int64_t>& shape) {
    return at::from_blob(const_cast<char*>(bytes.data()), shape, at::kFloat);
  };
  int adapted = 0;
  for (const std::string& name : model->Names()) {
    const std::vector<int64_t>& shape = model->Find(name)->shape;
    const std::string_view before = *model->Bytes(name, shape), after = *merged->Bytes(name, shape);
    const std::string module = "base_model.model." + name.substr(0, name.rfind(".weight"));
    const TensorInfo* a = file->Find(module + ".lora_A.weight");
    const TensorInfo* b = file->Find(module + ".lora_B.weight");
    if (a == nullptr) {
      EXPECT_EQ(before, after) << name;
      continue;
    }
    ++adapted;
    const at::Tensor expected =
        tensor(before, shape) +
        at::matmul(tensor(file->Bytes(*b), b->shape), tensor(file->Bytes(*a), a->shape)) * scale;
    EXPECT_TRUE(at::allclose(tensor(after, shape), expected, 1e-6, 1e-7)) << name;
    // The job itself adds it to the 4-bit matrix that it trained on.
    EXPECT_GT((tensor(*trained_on->Bytes(name, shape), shape) - expected).abs().max().item<float>(),
              1e-4F)
        << name;
  }
  EXPECT_EQ(adapted, 4);
}

TEST_F(ExportCommandTest, CopiesAdapters) {
  const std::string adapter = Train("lora", kLora);
  const std::string checkpoint = dir_ / "lora/checkpoints/step-00000002-a1";
  ExpectExport({.model_folder = checkpoint, .output = out_, .form = "adapter"});
  EXPECT_EQ(Names(out_), Names(adapter));
  EXPECT_EQ(FileHash(out_ + "/adapter_model.safetensors"),
            FileHash(checkpoint + "/adapter_model.safetensors"));
  EXPECT_THAT(Error({.model_folder = adapter, .output = out_ + "2", .form = "hf"}),
              HasSubstr("holds an adapter; use --form merged, adapter or gguf"));
  std::filesystem::rename(dir_ / "model", dir_ / "moved");
  EXPECT_THAT(Error({.model_folder = adapter, .output = out_ + "2", .form = "merged"}),
              AllOf(HasSubstr(dir_ / "model"), HasSubstr("base_model_name_or_path")));
  EXPECT_EQ(Names(dir_ / "out"), std::set<std::string>{"model"});
}

TEST_F(ExportCommandTest, RefusesDamagedFilesAndUnknownForms) {
  const std::string final = Train("run", "train: {max_steps: 3}\n");
  EXPECT_THAT(Error({.model_folder = final, .output = out_, .form = "onnx"}),
              HasSubstr("--form onnx is not known; use hf, merged, adapter or gguf"));
  EXPECT_THAT(Error({.model_folder = final, .output = out_, .form = "gguf", .type = "q4"}),
              HasSubstr("use f32, bf16 or q8_0"));
  EXPECT_THAT(Error({.model_folder = final, .output = out_, .form = "hf", .type = "f32"}),
              HasSubstr("--type is for --form gguf only"));
  EXPECT_THAT(Error({.model_folder = dir_ / "model", .output = out_, .form = "hf"}),
              HasSubstr("has no MANIFEST.json"));
  EXPECT_THAT(Error({.model_folder = dir_ / "none", .output = out_, .form = "hf"}),
              HasSubstr("is no folder"));
  WriteText(final + "/model.safetensors", "damaged");
  EXPECT_THAT(Error({.model_folder = final, .output = out_, .form = "hf"}),
              HasSubstr("model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out"));
}

}  // namespace
}  // namespace trainerd::engine
