// SPDX-License-Identifier: Apache-2.0
// Counts of what was found in the data, by kind, with the first places.
#pragma once

#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

// Thread-safety: one owner at a time.
class Findings {
 public:
  // Places that are kept for each kind.
  static constexpr int kPlaces = 10;

  // One more of kind `code` at `place` ("file:line"; "" = no place). The first message of a kind is
  // the one that is shown.
  void Add(const std::string& code, bool error, const std::string& place,
           const std::string& message);

  int64_t Count(const std::string& code) const;
  bool HasErrors() const;
  // Appends all kinds in the order in which they were first seen.
  void AppendTo(v1::DataReport* report) const;

 private:
  std::vector<v1::DataReport::Finding> findings_;
};

}  // namespace trainerd::engine
