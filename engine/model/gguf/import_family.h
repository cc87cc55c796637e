// SPDX-License-Identifier: Apache-2.0
// The keys of config.json in which the families of GGUF files differ. No LibTorch.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/formats/gguf/gguf_value.h"
#include "engine/model/gguf/architecture.h"

namespace trainerd::engine {

// The double that is written with the fewest digits which still give the same fp32 number: 1e-05
// for the fp32 number next to it.
double ShortestDouble(double number);

// Metadata "ARCHITECTURE.NAME". Remembers the names that were read. Errors: as GgufMetadata; a
// number that is not positive and finite is InvalidArgument.
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufMetadata& metadata, std::string prefix)
      : metadata_(metadata), prefix_(std::move(prefix)) {}

  absl::StatusOr<int64_t> Count(const std::string& name);
  absl::StatusOr<int64_t> CountOr(const std::string& name, int64_t fallback);
  // ShortestDouble of it.
  absl::StatusOr<double> Number(const std::string& name);
  absl::StatusOr<double> NumberOr(const std::string& name, double fallback);
  absl::StatusOr<std::optional<double>> OptionalNumber(const std::string& name);
  absl::StatusOr<std::optional<std::string>> OptionalText(const std::string& name);

  // Unimplemented for a number other than 0 that has a meaning and was not read.
  absl::Status CheckAllRead() const;
  const std::string& prefix() const { return prefix_; }

 private:
  std::string Key(const std::string& name);

  const GgufMetadata& metadata_;
  const std::string prefix_;
  std::set<std::string> read_;
};

struct ImportedSizes {
  int64_t hidden = 0, intermediate = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  // Elements of a head that RoPE rotates.
  int64_t rotary_dim = 0;
};

// Whether the file has biases of the attention's output, and of the MLP.
struct ImportedBiases {
  bool attention = false, mlp = false;
};

// Adds the keys of the family of `architecture` to `config`.
absl::Status AddFamilyKeys(const GgufArchitecture& architecture, const ImportedSizes& sizes,
                           const ImportedBiases& biases, ArchitectureKeys& keys,
                           nlohmann::ordered_json& config);

}  // namespace trainerd::engine
