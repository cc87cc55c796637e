// SPDX-License-Identifier: Apache-2.0
// trainctl version: versions of this program and of the daemon. An older daemon is reported, not
// refused.
#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/revision.h"
#include "proto/contract/job_file/output_json.h"

namespace trainerd::client {
namespace {

void PrintText(const Connection* connection, const Context& context) {
  context.out() << "trainctl " << TRAINERD_VERSION << " (API revision " << kApiRevision << ")\n";
  if (connection == nullptr) return;
  const v1::ServerInfo& info = connection->server_info();
  context.out() << "trainerd "
                << (info.version().empty() ? "of unknown version" : PlainText(info.version()))
                << " (API revision " << info.api_revision() << ") at "
                << PlainText(connection->address().display);
  if (info.pid() > 0) context.out() << ", pid " << info.pid();
  if (info.draining()) context.out() << ", draining";
  if (info.draining() || info.active_attempts() > 0)
    context.out() << ", " << Counted(info.active_attempts(), "active attempt");
  context.out() << "\n";
  if (!info.principal().empty())
    context.out() << "you are " << PlainText(info.principal()) << ", role " << EnumText(info.role())
                  << "\n";
  for (const v1::Job::Condition& condition : info.conditions()) {
    if (condition.active())
      context.out() << PlainText(condition.type()) << ": " << PlainText(condition.message())
                    << "\n";
  }
  if (!info.state_dir().empty())
    context.out() << "state directory " << PlainText(info.state_dir()) << "\n";
  for (const v1::Device& device : info.devices()) {
    std::string text = absl::StrCat("device ", device.name(), ": ", device.model());
    if (device.memory_bytes() > 0) absl::StrAppend(&text, ", ", FormatBytes(device.memory_bytes()));
    absl::StrAppend(&text, !device.unavailable().empty()
                               ? absl::StrCat(", cannot be used: ", device.unavailable())
                           : device.job().empty() ? ", free"
                                                  : absl::StrCat(", in use by ", device.job()));
    context.out() << PlainText(text) << "\n";
  }
}

void PrintDocument(const Connection* connection, const Context& context) {
  if (context.form == OutputForm::kYaml) {
    context.out() << "client: {version: \"" << TRAINERD_VERSION
                  << "\", api_revision: " << kApiRevision << "}\n";
    if (connection != nullptr)
      context.out() << "daemon: " << OutputJsonLine(connection->server_info()) << "\n";
    return;
  }
  context.out() << "{\"client\":{\"version\":\"" << TRAINERD_VERSION
                << "\",\"api_revision\":" << kApiRevision << "}";
  if (connection != nullptr)
    context.out() << ",\"daemon\":" << OutputJsonLine(connection->server_info());
  context.out() << "}\n";
}

}  // namespace

int RunVersion(const Context& context) {
  const absl::StatusOr<Address> address = ResolveAddress(context.address, context.env);
  const absl::StatusOr<std::unique_ptr<Connection>> connection =
      address.ok() ? Connection::OpenAny(*address)
                   : absl::StatusOr<std::unique_ptr<Connection>>(address.status());
  const Connection* daemon = connection.ok() ? connection->get() : nullptr;
  if (IsForPeople(context.form)) {
    PrintText(daemon, context);
  } else {
    PrintDocument(daemon, context);
  }
  context.out().flush();
  if (!connection.ok()) return PrintError(connection.status(), context);
  if (daemon->server_info().api_revision() < kApiRevision) {
    context.err()
        << "trainctl: the daemon is older than this trainctl, which refuses other commands; "
           "update and restart the daemon"
        << std::endl;
  }
  return kDone;
}

}  // namespace trainerd::client
