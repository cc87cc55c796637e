// SPDX-License-Identifier: Apache-2.0
// trainctl audit: lists the audit log, and verifies its hash chain.
#include "absl/strings/str_cat.h"
#include "client/commands/access/audit_chain.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 1000;

std::string ResultText(int code) {
  if (code == 0) return "ok";
  return code == static_cast<int>(absl::StatusCode::kPermissionDenied) ? "denied"
                                                                       : absl::StrCat(code);
}

void AddRow(const v1::AuditEntry& entry, Table* table) {
  table->AddRow({absl::StrCat(entry.seq()), FormatTimestamp(entry.time()),
                 PlainText(entry.principal()), PlainText(entry.peer()), PlainText(entry.method()),
                 PlainText(entry.resource()), ResultText(entry.code())});
}

}  // namespace

int RunAuditLs(const AuditOptions& options, const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::ListAuditEntriesRequest request;
  request.set_page_size(kPageSize);
  request.set_principal(options.principal);
  request.set_resource(options.resource);
  Table table({"SEQ", "TIME", "PRINCIPAL", "PEER", "METHOD", "RESOURCE", "RESULT"});
  v1::ListAuditEntriesResponse all;
  const absl::Status read = ForEachPage<v1::ListAuditEntriesResponse>(
      **connection, request, [&](const v1::ListAuditEntriesResponse& page) {
        all.set_start_hash(page.start_hash());
        for (const v1::AuditEntry& entry : page.entries()) {
          if (context.form == OutputForm::kJsonl) {
            PrintMessage(entry, context.form, context.out());
          } else if (IsForPeople(context.form)) {
            AddRow(entry, &table);
          } else {
            *all.add_entries() = entry;
          }
        }
        return true;
      });
  if (!read.ok()) return PrintError(read, context);
  if (IsForPeople(context.form)) {
    table.Print(context.out(), context.table_columns(), context.env.utf8);
  } else if (context.form != OutputForm::kJsonl) {
    PrintMessage(all, context.form, context.out());
  }
  context.out().flush();
  return kDone;
}

int RunAuditVerify(const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::ListAuditEntriesRequest request;
  request.set_page_size(kPageSize);
  AuditChain chain;
  AuditChain::Result result;
  const absl::Status read = ForEachPage<v1::ListAuditEntriesResponse>(
      **connection, request, [&](const v1::ListAuditEntriesResponse& page) {
        result = chain.Add(page);
        return result.bad_seq == 0;
      });
  if (!read.ok()) return PrintError(read, context);
  if (result.bad_seq != 0) {
    return PrintError(absl::DataLossError(absl::StrCat("the audit log is damaged at entry ",
                                                       result.bad_seq, ": ", result.problem)),
                      context);
  }
  if (IsForPeople(context.form)) {
    context.out() << Counted(chain.count(), "entry", "entries") << " verified, up to entry "
                  << chain.last_seq() << " with the hash " << ToHex(chain.last_hash())
                  << "; note it elsewhere to find entries that are removed from the end"
                  << std::endl;
  } else {
    context.out() << "{\"entries\":" << chain.count() << ",\"last_seq\":" << chain.last_seq()
                  << ",\"last_hash\":\"" << ToHex(chain.last_hash()) << "\"}" << std::endl;
  }
  return kDone;
}

}  // namespace trainerd::client
