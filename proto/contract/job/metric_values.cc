// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/metric_values.h"

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

bool IsMetric(const FieldDescriptor& field) {
  static const std::set<std::string>& others =
      *new std::set<std::string>{"step", "total_steps", "merged"};
  return !field.is_repeated() && others.count(std::string(field.name())) == 0;
}

// The numeric fields that are set. A number without presence is set where it is not 0.
void AddFields(const Message& message, const std::string& prefix,
               std::vector<MetricValue>* values) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (!IsMetric(*field)) continue;
    const std::string name = absl::StrCat(prefix, field->name());
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      values->push_back({name, reflection.GetDouble(message, field)});
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
      values->push_back({name, static_cast<double>(reflection.GetInt64(message, field))});
    }
  }
}

}  // namespace

std::vector<MetricValue> MetricValues(const v1::Event& event) {
  std::vector<MetricValue> values;
  if (event.has_metrics()) {
    const v1::Metrics& metrics = event.metrics();
    AddFields(metrics, "", &values);
    // A map has no order.
    const std::map<std::string, double> rates(metrics.learning_rates().begin(),
                                              metrics.learning_rates().end());
    for (const auto& [group, rate] : rates)
      values.push_back({absl::StrCat("learning_rates.", group), rate});
    if (metrics.has_preference()) AddFields(metrics.preference(), "preference.", &values);
  } else if (event.has_eval()) {
    AddFields(event.eval(), absl::StrCat("eval.", event.eval().set(), "."), &values);
  }
  return values;
}

int64_t MetricStep(const v1::Event& event) {
  if (event.has_metrics()) return event.metrics().step();
  return event.has_eval() ? event.eval().step() : 0;
}

bool IsLoss(const std::string& metric) {
  return metric == "loss" || absl::EndsWith(metric, ".loss");
}

}  // namespace trainerd
