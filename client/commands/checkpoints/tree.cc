// SPDX-License-Identifier: Apache-2.0
// trainctl tree: the jobs that were made from checkpoints of others, from the first one on.
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 500;

struct Node {
  v1::Job job;
  std::vector<Node> children;
};

// The first job of the line that leads to `name`. A job of it that was deleted ends the line.
absl::StatusOr<v1::Job> FindRoot(const std::string& name, Connection& connection) {
  ASSIGN_OR_RETURN(v1::Job job, connection.GetJob(name));
  while (!job.base().empty()) {
    absl::StatusOr<v1::Job> base = connection.GetJob(JobName(JobId(job.base())));
    if (base.status().code() == absl::StatusCode::kNotFound) break;
    if (!base.ok()) return base.status();
    job = *std::move(base);
  }
  return job;
}

// Adds what was made from the checkpoints of the node's job, oldest first. No job is its own base:
// it names a checkpoint that existed when it was submitted.
absl::Status AddChildren(Connection& connection, Node* node) {
  v1::ListJobsRequest request;
  request.set_base(node->job.name());
  request.set_page_size(kPageSize);
  RETURN_IF_ERROR(
      ForEachPage<v1::ListJobsResponse>(connection, request, [&](const v1::ListJobsResponse& page) {
        for (const v1::Job& job : page.jobs()) {
          if (JobName(JobId(job.base())) != node->job.name()) continue;
          node->children.insert(node->children.begin(), Node{job, {}});
        }
        return true;
      }));
  for (Node& child : node->children) RETURN_IF_ERROR(AddChildren(connection, &child));
  return absl::OkStatus();
}

absl::StatusOr<Node> ReadTree(const std::string& name, Connection& connection) {
  Node root;
  ASSIGN_OR_RETURN(root.job, FindRoot(name, connection));
  RETURN_IF_ERROR(AddChildren(connection, &root));
  return root;
}

// `indent` precedes the lines below this one.
void PrintNode(const Node& node, const std::string& marked, const std::string& indent,
               const Context& context) {
  const v1::Job& job = node.job;
  context.out() << PlainText(job.name()) << " " << PlainText(job.config().name()) << " "
                << ColorByState(job.state(), DescribeState(job), context.env.color);
  if (!job.base().empty()) context.out() << " from " << PlainText(CheckpointId(job.base()));
  if (job.has_best_value())
    context.out() << ", best " << PlainText(CheckpointId(job.best_checkpoint()));
  context.out() << (job.name() == marked && (!indent.empty() || !node.children.empty()) ? " *" : "")
                << "\n";
  const bool utf8 = context.env.utf8;
  for (size_t i = 0; i < node.children.size(); ++i) {
    const bool last = i + 1 == node.children.size();
    context.out() << indent << (last ? (utf8 ? "└─ " : "`- ") : (utf8 ? "├─ " : "|- "));
    PrintNode(node.children[i], marked, absl::StrCat(indent, last ? "   " : (utf8 ? "│  " : "|  ")),
              context);
  }
}

// Parents before their children.
void Collect(const Node& node, v1::ListJobsResponse* all) {
  *all->add_jobs() = node.job;
  for (const Node& child : node.children) Collect(child, all);
}

}  // namespace

int RunTree(const std::string& job, const Context& context) {
  const absl::StatusOr<FoundJob> found = FindJob(job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  const absl::StatusOr<Node> root = ReadTree(found->name, *found->connection);
  if (!root.ok()) return PrintError(root.status(), context);
  if (IsForPeople(context.form)) {
    PrintNode(*root, found->name, "", context);
    return kDone;
  }
  v1::ListJobsResponse all;
  Collect(*root, &all);
  PrintList(all, all.jobs(), context.form, context.out());
  return kDone;
}

}  // namespace trainerd::client
